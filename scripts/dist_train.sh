#!/bin/sh
# Train with DDP, one process per GPU; usage below. Output goes where `python basicsr/train.py` writes it.
# Without a GPU the processes run `-m rcan_plugin.train` on the CPU. Exit code: torchrun's.
set -eu

usage() {
    echo "usage: scripts/dist_train.sh GPUS OPTION_FILE [more arguments, such as --auto_resume]"
    echo "GPUS: number of GPUs of this node. On several nodes, start the script on each node and set:"
    echo "  NNODES  NODE_RANK (0, 1, ...)  MASTER_ADDR (of node 0)  MASTER_PORT (default 29500)"
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

python=${PYTHON:-python}
if [ "${NNODES:-1}" -gt 1 ]; then
    : "${NODE_RANK:?is not set: the number of this node, 0 to $((NNODES - 1))}"
    : "${MASTER_ADDR:?is not set: the address of node 0}"
    nodes="--nnodes $NNODES --node_rank $NODE_RANK --master_addr $MASTER_ADDR --master_port ${MASTER_PORT:-29500}"
else
    nodes=--standalone # torchrun chooses a free port
fi
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    program=basicsr/train.py
else
    program="-m rcan_plugin.train"
fi

# `exec`: torchrun receives signals sent to this script. Unquoted variables hold several words.
exec "$python" -m torch.distributed.run $nodes --nproc_per_node "$gpus" \
    $program -opt "$options" --launcher pytorch "$@"
