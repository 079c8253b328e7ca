#!/bin/sh
# Train under Slurm, one task per GPU; usage below.
#
# Uses BasicSR's Slurm launcher: `srun` starts the tasks, and each task reads its rank, its GPU and the first node from
# SLURM_PROCID, SLURM_NTASKS and SLURM_NODELIST. Each task must see all GPUs of its node (--gres without binding) or
# only its own.
# `-m rcan_plugin.train` saves and stops on SIGTERM, which Slurm sends at the time limit and before preemption; the next
# job continues with --auto_resume. Exit code: srun's.
set -eu

usage() {
    echo "usage: scripts/slurm_train.sh GPUS OPTION_FILE [more arguments, such as --auto_resume]"
    echo "GPUS: number of GPUs of each node. Optional environment variables, with defaults:"
    echo "  NNODES (1)  CPUS_PER_TASK (8)  MASTER_PORT  SRUN_ARGS, such as '--partition gpu --time 24:00:00'"
}
case ${1:-} in
-h | --help)
    usage
    exit
    ;;
'' | *[!0-9]*)
    usage >&2
    exit 2
    ;;
esac
if [ $# -lt 2 ]; then
    usage >&2
    exit 2
fi
gpus=$1
options=$2
shift 2

nodes=${NNODES:-1}
# Jobs on the same node need different ports.
MASTER_PORT=${MASTER_PORT:-$((20000 + $$ % 10000))}
export MASTER_PORT

# Unquoted SRUN_ARGS holds several words.
exec srun --nodes "$nodes" --ntasks "$((nodes * gpus))" --ntasks-per-node "$gpus" --gres "gpu:$gpus" \
    --cpus-per-task "${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u -m rcan_plugin.train -opt "$options" --launcher slurm "$@"
