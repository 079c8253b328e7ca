"""A program of two processes: `python -m tests.training.two_ranks FOLDER`."""

import sys

import torch
from torch import nn

from rcan_plugin.training.ranks import average_gradients, several_ranks, share_weights


def worker(rank: int, folder: str) -> None:
    """One of two ranks; writes what it ends with."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    assert several_ranks()
    torch.manual_seed(rank)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    net[1].num_batches_tracked += rank
    share_weights(net)
    gradients = [torch.full((2, 3, 2, 2), rank + 1.0).to(memory_format=torch.channels_last), torch.arange(3.0) * rank]
    gradients[0][0, 1, 0, 1] = 10 * rank
    average_gradients(gradients)
    average_gradients([])
    torch.save((net.state_dict(), gradients), f"{folder}/{rank}.pt")


if __name__ == "__main__":
    torch.multiprocessing.start_processes(worker, (sys.argv[1],), 2, start_method="fork")
