#!/bin/sh
# Train under Slurm, one task for each GPU; usage below.
#
# BasicSR's own Slurm launcher: `srun` starts the tasks, and from SLURM_PROCID, SLURM_NTASKS and SLURM_NODELIST each
# finds its rank, its GPU and the first node, so that nothing need be known of the nodes before. That wants all GPUs of
# a node visible to each of its tasks (--gres, and no binding), or one to each.
# `-m rcan_plugin.train`, because Slurm sends SIGTERM at the time limit and when it takes the nodes for another job: the
# run saves, and the next job goes on with --auto_resume. Exit code: srun's.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: scripts/slurm_train.sh GPUS OPTION_FILE [more arguments, such as --auto_resume]" >&2
    echo "GPUS: of each node. In the environment, if wanted:" >&2
    echo "  NNODES (1)  CPUS_PER_TASK (8)  MASTER_PORT  SRUN_ARGS, such as '--partition gpu --time 24:00:00'" >&2
    exit 2
fi
gpus=$1
options=$2
shift 2

nodes=${NNODES:-1}
# Of jobs that share a node each needs its own.
MASTER_PORT=${MASTER_PORT:-$((20000 + $$ % 10000))}
export MASTER_PORT

# Unquoted: several words.
exec srun --nodes "$nodes" --ntasks "$((nodes * gpus))" --ntasks-per-node "$gpus" --gres "gpu:$gpus" \
    --cpus-per-task "${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u -m rcan_plugin.train -opt "$options" --launcher slurm "$@"
