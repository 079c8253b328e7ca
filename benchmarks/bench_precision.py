"""Does bf16 cost quality? Train a small RCAN x2 in float32 and in bf16 from the same seeds, and compare the PSNR.

    python benchmarks/bench_precision.py [--seeds 0 1 2] [--iterations 2000]

Data, network and schedule are those of the quickstart (`options/quickstart_RCAN_x2.yml`); every run draws the same
samples from its seed. PSNR on Y over the held-out photographs, validated in float32.
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import yaml  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from tqdm import tqdm  # noqa: E402

import rcan_plugin  # noqa: E402

rcan_plugin.register()

from rcan_plugin import quickstart  # noqa: E402
from rcan_plugin.data.paired_dataset import DegradationPairedDataset  # noqa: E402
from rcan_plugin.data.stream import StreamSampler  # noqa: E402
from rcan_plugin.models.accelerated_model import AcceleratedSRModel  # noqa: E402

PRECISIONS = {"float32": None, "bf16": "bf16"}


def train(options: dict[str, Any], seed: int, amp: str | None, iterations: int) -> float:
    """One run; PSNR at its end."""
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
    """Train all, print the table."""
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
    print(f"RCAN x2, {network['num_group']} groups of {network['num_block']} blocks, {network['num_feat']} features, "
          f"{args.iterations} iterations; torch {torch.__version__}, "
          f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}\n")  # fmt: skip
    print("| seed | float32, dB | bf16, dB | difference |\n| --- | --- | --- | --- |")
    for seed, row in rows.items():
        print(f"| {seed} | {row['float32']:.3f} | {row['bf16']:.3f} | {row['bf16'] - row['float32']:+.3f} |")
    differences = [row["bf16"] - row["float32"] for row in rows.values()]
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    print(f"\nbf16 less float32: mean {statistics.mean(differences):+.3f} dB, standard deviation {spread:.3f} dB; of "
          f"float32 over the seeds {statistics.stdev(row['float32'] for row in rows.values()):.3f} dB.")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
