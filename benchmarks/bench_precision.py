"""Compare the PSNR of a small RCAN x2 trained in float32 and in bf16 from the same seeds.

    python benchmarks/bench_precision.py [--seeds 0 1 2] [--iterations 2000]

Data, network and schedule are those of the quickstart (`options/quickstart_RCAN_x2.yml`); runs of one seed train on the
same samples. PSNR is measured on Y of the held-out photographs, with the network in float32.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import yaml
from torch.utils.data import DataLoader
from tqdm import tqdm

import rcan_plugin
from benchmarks.common import ROOT, machine, table

rcan_plugin.register()

from rcan_plugin.cli import quickstart  # noqa: E402
from rcan_plugin.data.paired_dataset import DegradationPairedDataset  # noqa: E402
from rcan_plugin.data.stream import StreamSampler  # noqa: E402
from rcan_plugin.models.accelerated_model import AcceleratedSRModel  # noqa: E402

PRECISIONS = {"float32": None, "bf16": "bf16"}


def train(options: dict[str, Any], seed: int, amp: str | None, iterations: int) -> float:
    """PSNR in dB at the end of one run."""
    opt = copy.deepcopy(options)
    opt |= {"is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": int(torch.cuda.is_available())}
    opt["train"] |= {"amp": amp, "total_iter": iterations}
    opt["train"]["scheduler"]["periods"] = [iterations]
    for phase, data in opt["datasets"].items():
        data |= {"phase": phase, "scale": opt["scale"]}
    torch.manual_seed(seed)
    opt["path"] |= {"models": tempfile.gettempdir(), "training_states": tempfile.gettempdir()}
    model = AcceleratedSRModel(opt)
    model.save_networks = lambda number: None  # type: ignore[method-assign]
    data = DegradationPairedDataset(opt["datasets"]["train"])
    batch = opt["datasets"]["train"]["batch_size_per_gpu"]
    sampler = StreamSampler(data, 1, 0, -(-iterations * batch // len(data)), seed)
    loader = DataLoader(data, batch, sampler=sampler, num_workers=0, drop_last=True)
    title = f"seed {seed}, {amp or 'float32'}"
    for iteration, item in enumerate(tqdm(loader, title, iterations, unit="step"), start=1):
        if iteration > iterations:
            break
        model.update_learning_rate(iteration)
        model.feed_data(item)
        model.optimize_parameters(iteration)
    model.validation(DataLoader(DegradationPairedDataset(opt["datasets"]["val"])), iterations, None)
    return float(model.metric_results["psnr"])


def main() -> int:
    """Train all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=2000)
    args = parser.parse_args()
    options = yaml.safe_load((ROOT / quickstart.OPTIONS).read_text())
    logging.getLogger("basicsr").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            quickstart.build_data()
        rows = {
            seed: {name: train(options, seed, amp, args.iterations) for name, amp in PRECISIONS.items()}
            for seed in args.seeds
        }
        os.chdir(ROOT)
    network = options["network_g"]
    print(machine() + "\n")
    print(
        f"RCAN x2, {network['num_group']} groups of {network['num_block']} blocks, {network['num_feat']} features, "
        f"{args.iterations} iterations\n"
    )
    differences = {seed: row["bf16"] - row["float32"] for seed, row in rows.items()}
    cells = [
        [seed, f"{row['float32']:.3f}", f"{row['bf16']:.3f}", f"{differences[seed]:+.3f}"] for seed, row in rows.items()
    ]
    print(table(["seed", "float32, dB", "bf16, dB", "difference"], cells))
    print(
        f"\nbf16 minus float32: mean {statistics.mean(differences.values()):+.3f} dB, standard deviation "
        f"{_deviation(differences.values()):.3f} dB; float32 over the seeds: standard deviation "
        f"{_deviation(row['float32'] for row in rows.values()):.3f} dB."
    )
    return 0


def _deviation(values: Iterable[float]) -> float:
    series = list(values)
    return statistics.stdev(series) if len(series) > 1 else 0.0


if __name__ == "__main__":
    sys.exit(main())
