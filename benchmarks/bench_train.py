"""Training steps on a CPU: BasicSR as shipped, traiNNer-redux's network, and AcceleratedSRModel.

    python benchmarks/bench_train.py --batch 2 --steps 9 --scales 4    # a minute or two per row
    python benchmarks/bench_train.py --trainner CHECKOUT               # and traiNNer-redux's RCAN; needs spandrel

Each row is a model with its network, optimizer and loss, fed the same batch again and again by `feed_data`,
`update_learning_rate` and `optimize_parameters`, as in BasicSR's loop. The rows are timed in turns; the table has
medians, and ratios to the nearest row of BasicSR above. For GPUs: `gpu.py`.
"""

from __future__ import annotations

import argparse
import copy
import functools
import importlib.util
import logging
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from basicsr.utils.registry import ARCH_REGISTRY

from benchmarks.common import in_turns, machine, medians, seconds, table
from benchmarks.gpu_parts.network_options import NETWORKS, OURS, network
from benchmarks.gpu_parts.networks import model, options

Options = tuple[dict[str, Any], dict[str, Any]]


def rows(scale: int, trainner: Path | None, networks: bool) -> dict[str, Options]:
    """Network and training options of each row by its title. Without training options the model is SRModel."""
    theirs, ours = (network(name, scale, dry_run=False) for name in ("RCAN", "RCANArch"))
    half = {key: OURS[key] for key in ("amp", "channels_last")}
    chosen: dict[str, Options] = {"BasicSR: RCAN, SRModel": (theirs, {})}
    if trainner:
        load_trainner(trainner)
        chosen["traiNNer-redux: RCAN, bf16, channels-last"] = ({"type": "TraiNNerRCAN", "upscale": scale}, half)
    chosen["ours: RCANArch, float32"] = (ours, {"guard": OURS["guard"]})
    chosen["ours: bf16, channels-last"] = (ours, OURS)
    chosen["ours: and blocks compiled"] = (ours, {**OURS, "compile": "blocks"})
    chosen["ours: bf16, channels-last, use_checkpoint"] = ({**ours, "use_checkpoint": True}, OURS)
    if networks:
        for name in NETWORKS:
            chosen[f"BasicSR: {name}, SRModel"] = (network(name, scale, dry_run=False), {})
            chosen[f"ours: {name}, bf16, channels-last"] = (network(name, scale, dry_run=False), half)
    return chosen


def load_trainner(checkout: Path) -> None:
    """Register the RCAN of a checkout of traiNNer-redux, without the rest of it."""
    registry = types.ModuleType("traiNNer.utils.registry")
    registry.ARCH_REGISTRY = types.SimpleNamespace(register=lambda: lambda cls: cls)  # type: ignore[attr-defined]
    for name in ("traiNNer", "traiNNer.utils"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["traiNNer.utils.registry"] = registry
    path = checkout / "traiNNer/archs/rcan_arch.py"
    spec = importlib.util.spec_from_file_location("trainner_rcan", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"{path} is not there: name a checkout of traiNNer-redux.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class TraiNNerRCAN(torch.nn.Module):
        """With the argument's name that BasicSR gives."""

        def __init__(self, upscale: int) -> None:
            super().__init__()
            self.net = module.RCAN(scale=upscale)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.clone())  # it multiplies its input in place

    ARCH_REGISTRY.register(TraiNNerRCAN)


class Row:
    """A model and its steps."""

    def __init__(self, network_g: dict[str, Any], train: dict[str, Any], data: dict[str, Any]) -> None:
        self.model, self.data, self.iteration = model(options(network_g, train=train, ours=bool(train))), data, 0

    def steps(self, count: int) -> None:
        """Train for some steps on the same batch."""
        for _ in range(count):
            self.iteration += 1
            self.model.update_learning_rate(self.iteration)
            self.model.feed_data(self.data)
            self.model.optimize_parameters(self.iteration)

    def step_seconds(self, count: int) -> float:
        """Seconds per step."""
        return seconds(functools.partial(self.steps, count)) / count


def main() -> int:
    """Measure, and print a table for each scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="side of the LR patch")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each row")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="the first row, and rows with a WORD in their title")
    parser.add_argument("--networks", action="store_true", help="EDSR and SwinIR too")
    parser.add_argument("--trainner", type=Path, metavar="CHECKOUT", help="a checkout of traiNNer-redux")
    args = parser.parse_args()
    print(f"{machine()}\n\nBatch {args.batch}, LR patch {args.patch}, {args.steps} steps per row")
    for scale in args.scales:
        lq, gt = (torch.rand(args.batch, 3, side, side) for side in (args.patch, args.patch * scale))
        data = {"lq": lq, "gt": gt, "lq_path": [""] * args.batch, "gt_path": [""] * args.batch}
        chosen = rows(scale, args.trainner, args.networks)
        first = next(iter(chosen))
        if args.only:
            chosen = {t: row for t, row in chosen.items() if t == first or any(word in t for word in args.only)}
        running: dict[str, Row] = {}
        logging.disable(logging.CRITICAL)
        for title, (network_g, train) in chosen.items():
            try:
                running[title] = Row(copy.deepcopy(network_g), train, data)
                running[title].steps(1)
            except (RuntimeError, ValueError, torch._dynamo.exc.TorchDynamoException) as error:
                running.pop(title, None)
                print(f"{title}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        turns = min(3, args.steps)
        measures = {title: functools.partial(row.step_seconds, args.steps // turns) for title, row in running.items()}
        times = medians(in_turns(measures, turns, progress=f"x{scale}"))
        logging.disable(logging.NOTSET)
        cells, peer = [], times[first]
        for title, value in times.items():
            if title.startswith("BasicSR:"):
                peer = value  # of the rows that follow
            cells.append([title, f"{value * 1e3:.1f}", f"{args.batch / value:.1f}", f"{peer / value:.2f}"])
        print(f"\n### x{scale}\n\n" + table(["", "ms per step", "images per s", "times BasicSR's"], cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
