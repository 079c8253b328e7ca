#!/bin/sh
# Train in several processes, one for each GPU; usage below. Output goes where `python basicsr/train.py` puts it.
# Without a GPU the processes run on the CPU, by `-m rcan_plugin.train`. Exit code: torchrun's.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: scripts/dist_train.sh GPUS OPTION_FILE [more arguments, such as --auto_resume]" >&2
    echo "GPUS: of this node. On several nodes start it on each, with these in the environment:" >&2
    echo "  NNODES  NODE_RANK (0, 1, ...)  MASTER_ADDR (of node 0)  MASTER_PORT (29500 if not set)" >&2
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
    nodes=--standalone # it finds a free port
fi
if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    program=basicsr/train.py
else
    program="-m rcan_plugin.train"
fi

# `exec`: a signal for this script is torchrun's. Unquoted: several words each.
exec "$python" -m torch.distributed.run $nodes --nproc_per_node "$gpus" \
    $program -opt "$options" --launcher pytorch "$@"
