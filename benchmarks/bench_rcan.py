"""RCANArch beside BasicSR's RCAN, full size: a training step and a forward pass, time and memory.

    python benchmarks/bench_rcan.py                  # the GPU if there is one, else the CPU (minutes)
    python benchmarks/bench_rcan.py --batch 2 --repeats 3

Every row is timed in turn, `--repeats` times over, so that what else the machine does meets all rows alike; the table
gives the median and the ratio of medians to BasicSR's. With the same weights both give the same output (last column).
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import time
from collections.abc import Callable

import torch
from basicsr.archs.rcan_arch import RCAN
from tqdm import tqdm

from rcan_plugin.archs.rcan_arch import RCANArch

Net = Callable[[torch.Tensor], torch.Tensor]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upscale", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="side of the LR patch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="add torch.compile(fullgraph=True) rows (minutes more)")
    args = parser.parse_args()

    torch.backends.cudnn.benchmark = True  # as BasicSR's training sets it
    torch.manual_seed(0)
    theirs = RCAN(3, 3, num_block=20, upscale=args.upscale).to(DEVICE)
    nets: dict[str, Net] = {"BasicSR RCAN": theirs}
    nets["RCANArch"] = like(theirs, args.upscale)
    nets["RCANArch channels-last"] = like(theirs, args.upscale).to(memory_format=torch.channels_last)
    nets["RCANArch use_checkpoint"] = like(theirs, args.upscale, use_checkpoint=True)
    if args.compile:
        nets["BasicSR RCAN compiled"] = torch.compile(theirs)
        nets["RCANArch compiled"] = torch.compile(like(theirs, args.upscale), fullgraph=True)

    lr = torch.rand(args.batch, 3, args.patch, args.patch, device=DEVICE)
    hr = torch.rand(args.batch, 3, args.patch * args.upscale, args.patch * args.upscale, device=DEVICE)
    steps: dict[str, list[float]] = {name: [] for name in nets}
    forwards: dict[str, list[float]] = {name: [] for name in nets}
    for repeat in tqdm(range(-1, args.repeats), desc="rounds", unit="round"):  # round -1 warms up
        for name, net in nets.items():
            x = lr.to(memory_format=torch.channels_last) if "channels-last" in name else lr
            one_step, one_forward = functools.partial(step, net, x, hr), functools.partial(forward, net, x)
            seconds, again = clock(one_step), clock(one_forward)
            if repeat >= 0:
                steps[name].append(seconds)
                forwards[name].append(again)

    machine = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"\n{machine}, torch {torch.__version__}, float32, x{args.upscale}, batch {args.batch}, patch {args.patch}")
    print(f"{'':<26}{'step ms':>9}{'ratio':>7}{'forward ms':>12}{'ratio':>7}{'max diff':>10}")
    expected = forward(theirs, lr)
    base = next(iter(nets))
    for name, net in nets.items():
        a, b = statistics.median(steps[name]), statistics.median(forwards[name])
        ratio_a, ratio_b = a / statistics.median(steps[base]), b / statistics.median(forwards[base])
        difference = (forward(net, lr) - expected).abs().max().item()
        print(f"{name:<26}{a * 1e3:9.1f}{ratio_a:7.2f}{b * 1e3:12.1f}{ratio_b:7.2f}{difference:10.1e}")

    patches = lr.requires_grad_()
    print("\nkept between forward and backward, MiB:")
    checkpointed = like(theirs, args.upscale, use_checkpoint=True)
    features = torch.rand(args.batch, 64, args.patch, args.patch, requires_grad=True)
    print(f"{'BasicSR RCAN':<26}{kept(theirs, patches):9.0f}")
    print(f"{'RCANArch use_checkpoint':<26}{kept(checkpointed, patches):9.0f}")
    print(f"{'  and one group at a time':<26}{kept(checkpointed.body[0], features):9.0f}")


def like(net: torch.nn.Module, upscale: int, use_checkpoint: bool = False) -> RCANArch:
    """RCANArch with the weights of `net`."""
    ours = RCANArch(upscale=upscale, use_checkpoint=use_checkpoint).to(DEVICE)
    ours.load_state_dict(net.state_dict())
    return ours


def step(net: Net, lr: torch.Tensor, hr: torch.Tensor) -> None:
    """Forward, L1 loss, backward."""
    torch.nn.functional.l1_loss(net(lr), hr).backward()


@torch.no_grad()
def forward(net: Net, lr: torch.Tensor) -> torch.Tensor:
    """One forward pass without gradients."""
    return net(lr)


def clock(work: Callable[[], object]) -> float:
    """Seconds that `work` takes, on the GPU to its end."""
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


def kept(net: torch.nn.Module, lr: torch.Tensor) -> float:
    """MiB that one forward pass keeps for the backward pass, weights aside; counted, not computed."""
    net = copy.deepcopy(net).to("meta")
    weights = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    tensors: dict[int, torch.Tensor] = {}  # held, so that no storage is counted as another one's

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            tensors[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        net(lr.to("meta"))
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values()) / 2**20


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
