"""Training steps of RCAN and others: BasicSR as shipped, traiNNer-redux's network, and AcceleratedSRModel.

    python benchmarks/bench_train.py                                   # a GPU: x2 and x4, batch 16, LR patch 48
    python benchmarks/bench_train.py --trainner PATH_OF_A_CHECKOUT     # and traiNNer-redux's RCAN; needs spandrel
    python benchmarks/bench_train.py --batch 2 --steps 9 --scales 4    # a CPU: a minute or two a row

Each row is a model with its network, optimiser and loss, fed the same batch over and over: `feed_data`,
`update_learning_rate` and `optimize_parameters`, as BasicSR's loop calls them, to the end of the work on the GPU. After
warming up, the rows take turns; the table has medians, and ratios to the row before of BasicSR's own network and model.
"Of the peak" counts the multiplications and additions of one forward and two for backward, of the plain network,
against the card's bf16 peak (--peak, in TFLOPS, dense).
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import importlib.util
import logging
import statistics
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from tqdm import tqdm  # noqa: E402

import rcan_plugin  # noqa: E402

rcan_plugin.register()

from basicsr.archs import build_network  # noqa: E402
from basicsr.models import build_model  # noqa: E402
from basicsr.utils.registry import ARCH_REGISTRY  # noqa: E402

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}  # TFLOPS in bf16, dense, by NVIDIA's data sheets
RGB = {"num_in_ch": 3, "num_out_ch": 3}
RCAN = {**RGB, "num_feat": 64, "num_group": 10, "num_block": 20, "squeeze_factor": 16}
FAST = {"amp": "bf16", "channels_last": True, "compile": True, "guard": {"factor": 100, "stop_after": 100}}
OTHERS = {
    "EDSR": {"type": "EDSR", **RGB, "num_feat": 64, "num_block": 16},
    "SwinIR": {
        "type": "SwinIR", "img_size": 48, "window_size": 8, "embed_dim": 60, "depths": [6] * 4, "num_heads": [6] * 4,
        "mlp_ratio": 2, "upsampler": "pixelshuffledirect", "resi_connection": "1conv",
    },
}  # fmt: skip


def rows(trainner: Path | None, networks: bool) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Network and training options of each row, by its title; the first is what the others are compared with."""
    theirs, ours = {"type": "RCAN", **RCAN}, {"type": "RCANArch", **RCAN}
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {"BasicSR: RCAN, SRModel": (theirs, {})}
    if trainner:
        load_trainner(trainner)
        # As its template for RCAN has it; and compiled, which it has as an option.
        best = {"amp": "bf16", "channels_last": True}
        found["traiNNer-redux: RCAN, bf16, channels-last"] = ({"type": "TraiNNerRCAN"}, best)
        found["the same, compiled"] = ({"type": "TraiNNerRCAN"}, {**best, "compile": True})
    found["ours: RCANArch, float32"] = (ours, {"guard": FAST["guard"]})
    found["ours: bf16, channels-last"] = (ours, {key: FAST[key] for key in ("amp", "channels_last", "guard")})
    found["ours: and compiled (the _fast files)"] = (ours, FAST)
    found["ours: and CUDA graphs"] = (ours, {**FAST, "compile": "reduce-overhead"})
    found["ours: _fast, use_checkpoint"] = ({**ours, "use_checkpoint": True}, FAST)
    if not GPU:
        del found["ours: and CUDA graphs"]
    if networks:
        for name, network in OTHERS.items():
            found[f"BasicSR: {name}, SRModel"] = (network, {})
            found[f"ours: {name}, bf16, channels-last"] = (network, {"amp": "bf16", "channels_last": True})
    return found


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


def options(network: dict[str, Any], train: dict[str, Any], scale: int) -> dict[str, Any]:
    """As BasicSR's `parse_options` gives them."""
    accelerated = bool(train)
    optimiser = {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99], **({"fused": True} if accelerated else {})}
    return {
        "model_type": "AcceleratedSRModel" if accelerated else "SRModel", "scale": scale, "num_gpu": int(GPU),
        "is_train": True, "dist": False, "rank": 0, "world_size": 1, "path": {}, "val": {},
        "network_g": {**copy.deepcopy(network), "upscale": scale},
        "train": {
            "optim_g": optimiser, "scheduler": {"type": "MultiStepLR", "milestones": [10**6]},
            "pixel_opt": {"type": "L1Loss"}, **copy.deepcopy(train),
        },
    }  # fmt: skip


class Row:
    """A model, and what its steps took."""

    def __init__(self, opt: dict[str, Any], data: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self.model, self.data, self.seconds, self.done = build_model(opt), data, list[float](), 0
        self.peak = 0.0

    def steps(self, count: int) -> float:
        """Seconds a step."""
        _wait()
        began = time.perf_counter()
        for _ in range(count):
            self.done += 1
            self.model.update_learning_rate(self.done)
            self.model.feed_data(self.data)
            self.model.optimize_parameters(self.done)
        _wait()
        return (time.perf_counter() - began) / count


def measure(title: str, opt: dict[str, Any], data: dict[str, Any], args: argparse.Namespace) -> Row | None:
    """Warm one row up, alone, and note its peak memory; None if it cannot run here."""
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    try:
        row = Row(opt, data)
        row.steps(args.warm_up)
    except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
        print(f"{title}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    if GPU:
        row.peak = (torch.cuda.max_memory_allocated() - before) / 2**30
    return row


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _wait() -> None:
    if GPU:
        torch.cuda.synchronize()


def flops(network: dict[str, Any], scale: int, args: argparse.Namespace) -> float:
    """Of one training step: a forward pass and two for backward."""
    with torch.device("meta"):
        net = build_network({**copy.deepcopy(network), "upscale": scale})
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(torch.empty(args.batch, 3, args.patch, args.patch, device="meta"))
    return 3.0 * counter.get_total_flops()


def main() -> int:
    """Measure, and print a table for each scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=48, help="side of the LR patch")
    parser.add_argument("--warm-up", type=int, default=20 if GPU else 1)
    parser.add_argument("--steps", type=int, default=60 if GPU else 3, help="measured steps of each row")
    parser.add_argument("--only", nargs="+", help="rows whose title has one of these words, beside the first")
    parser.add_argument("--networks", action="store_true", help="EDSR and SwinIR too")
    parser.add_argument("--trainner", type=Path, help="a checkout of traiNNer-redux")
    parser.add_argument("--peak", type=float, help="TFLOPS of the card in bf16, dense")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # as BasicSR's training sets it
    name = torch.cuda.get_device_name() if GPU else f"CPU, {torch.get_num_threads()} threads"
    peak = args.peak or next((value for card, value in PEAKS.items() if card in name), None)
    print(f"{name}, torch {torch.__version__}, batch {args.batch}, LR patch {args.patch}, {args.steps} steps a row")
    for scale in args.scales:
        lq, gt = (torch.rand(args.batch, 3, side, side, device=DEVICE) for side in (args.patch, args.patch * scale))
        data = {"lq": lq, "gt": gt, "lq_path": [""] * args.batch, "gt_path": [""] * args.batch}
        chosen = rows(args.trainner, args.networks)
        first = next(iter(chosen))
        if args.only:
            chosen = {
                title: row for title, row in chosen.items() if title == first or any(w in title for w in args.only)
            }
        running: dict[str, Row] = {}
        with _quiet():
            for title, (network, train) in tqdm(chosen.items(), f"x{scale}: warming up", unit="row"):
                row = measure(title, options(network, train, scale), data, args)
                if row:
                    running[title] = row
            turns = max(3, args.steps // 20)
            for _ in tqdm(range(turns), f"x{scale}: measuring", unit="turn"):
                for row in running.values():
                    row.seconds.append(row.steps(max(1, args.steps // turns)))
        print(f"\n### x{scale}\n\n| | ms a step | images a second | times BasicSR's | peak GiB | of BasicSR's | "
              "of the peak |\n| --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
        peer = running[first]
        for title, row in running.items():
            if title.startswith("BasicSR:"):
                peer = row  # of those that follow
            seconds, base = statistics.median(row.seconds), statistics.median(peer.seconds)
            memory = f"{row.peak:.2f} | {row.peak / peer.peak:.2f}" if row.peak else "- | -"
            share = f"{flops(chosen[title][0], scale, args) / seconds / 1e12 / peak:.0%}" if peak else "-"
            rate = args.batch / seconds
            print(f"| {title} | {seconds * 1e3:.1f} | {rate:.1f} | {base / seconds:.2f} | {memory} | {share} |")
        del running
    return 0


if __name__ == "__main__":
    sys.exit(main())
