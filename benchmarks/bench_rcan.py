"""Compare RCANArch with BasicSR's RCAN on a CPU, full size: time and memory of a training step and a forward pass.

    python benchmarks/bench_rcan.py --batch 2 --repeats 5      # minutes

Each row is timed `--repeats` times, in turns with the others; the table has medians, and ratios to BasicSR's. With the
same weights both networks give the same output (last column). For GPUs: `gpu.py`.
"""

from __future__ import annotations

import argparse
import copy
import functools
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import rcan_plugin
from benchmarks.common import in_turns, machine, medians, ratios, seconds

rcan_plugin.register()

from basicsr.archs.rcan_arch import RCAN  # noqa: E402

from rcan_plugin.archs.rcan_arch import RCANArch  # noqa: E402

Net = Callable[[torch.Tensor], torch.Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upscale", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="side of the LR patch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="add torch.compile(fullgraph=True) rows (minutes more)")
    args = parser.parse_args()

    torch.manual_seed(0)
    theirs = RCAN(3, 3, num_block=20, upscale=args.upscale)
    nets: dict[str, Net] = {"BasicSR RCAN": theirs}
    nets["RCANArch"] = like(theirs, args.upscale)
    nets["RCANArch channels-last"] = like(theirs, args.upscale).to(memory_format=torch.channels_last)
    nets["RCANArch use_checkpoint"] = like(theirs, args.upscale, use_checkpoint=True)
    if args.compile:
        nets["BasicSR RCAN compiled"] = torch.compile(theirs)
        nets["RCANArch compiled"] = torch.compile(like(theirs, args.upscale), fullgraph=True)

    lr = torch.rand(args.batch, 3, args.patch, args.patch)
    hr = torch.rand(args.batch, 3, args.patch * args.upscale, args.patch * args.upscale)
    measures: dict[tuple[str, str], Callable[[], float]] = {}
    for name, net in nets.items():
        x = lr.to(memory_format=torch.channels_last) if "channels-last" in name else lr
        measures[name, "step"] = functools.partial(seconds, functools.partial(step, net, x, hr))
        measures[name, "forward"] = functools.partial(seconds, functools.partial(forward, net, x))
    times = medians(in_turns(measures, args.repeats, warm_up=True, progress="rounds"))

    print(f"\n{machine()}\n\nfloat32, x{args.upscale}, batch {args.batch}, patch {args.patch}\n")
    print(f"{'':<26}{'step ms':>9}{'ratio':>7}{'forward ms':>12}{'ratio':>7}{'max diff':>10}")
    expected = forward(theirs, lr)
    step_ratios = ratios(times, ("BasicSR RCAN", "step"))
    forward_ratios = ratios(times, ("BasicSR RCAN", "forward"))
    for name, net in nets.items():
        steps = f"{times[name, 'step'] * 1e3:9.1f}{step_ratios[name, 'step']:7.2f}"
        forwards = f"{times[name, 'forward'] * 1e3:12.1f}{forward_ratios[name, 'forward']:7.2f}"
        difference = (forward(net, lr) - expected).abs().max().item()
        print(f"{name:<26}{steps}{forwards}{difference:10.1e}")

    patches = lr.requires_grad_()
    print("\nkept between forward and backward, MiB:")
    checkpointed = like(theirs, args.upscale, use_checkpoint=True)
    features = torch.rand(args.batch, 64, args.patch, args.patch, requires_grad=True)
    print(f"{'BasicSR RCAN':<26}{kept(theirs, patches):9.0f}")
    print(f"{'RCANArch use_checkpoint':<26}{kept(checkpointed, patches):9.0f}")
    print(f"{'  and one group at a time':<26}{kept(checkpointed.body[0], features):9.0f}")


def like(net: torch.nn.Module, upscale: int, use_checkpoint: bool = False) -> RCANArch:
    """RCANArch with the weights of `net`."""
    ours = RCANArch(upscale=upscale, use_checkpoint=use_checkpoint)
    ours.load_state_dict(net.state_dict())
    return ours


def step(net: Net, lr: torch.Tensor, hr: torch.Tensor) -> None:
    """Forward, L1 loss, backward."""
    torch.nn.functional.l1_loss(net(lr), hr).backward()


@torch.no_grad()
def forward(net: Net, lr: torch.Tensor) -> torch.Tensor:
    """One forward pass without gradients."""
    return net(lr)


def kept(net: torch.nn.Module, lr: torch.Tensor) -> float:
    """MiB that one forward pass keeps for the backward pass, without the weights. Counted on the meta device."""
    net = copy.deepcopy(net).to("meta")
    weights = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    tensors: dict[int, torch.Tensor] = {}  # keeps the tensors alive, so that no address is used twice

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in weights:
            tensors[storage] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        net(lr.to("meta"))
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values()) / 2**20


if __name__ == "__main__":
    main()
