"""Quickstart: build a small data set, train a small RCAN, compare it with bicubic. Takes minutes on two CPU cores."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import yaml

import rcan_plugin
from rcan_plugin.cli import _exit_codes
from rcan_plugin.cli.compare import print_report
from rcan_plugin.compare import compare
from rcan_plugin.compare.spec import read_spec
from rcan_plugin.degradations import Degradation
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation.prepare import Job, prepare

OPTIONS = Path("options/quickstart_RCAN_x2.yml")
DATA = Path("datasets/quickstart")
COMPARISON = "options/compare/quickstart.yml"
SCALE = 2
PHOTOGRAPHS = {
    "train": (
        "brick",
        "camera",
        "coins",
        "gravel",
        "hubble_deep_field",
        "ihc",
        "motorcycle_left",
        "motorcycle_right",
        "rocket",
    ),
    "held_out": ("astronaut", "chelsea", "coffee"),
}
"""Photographs in the scikit-image wheel; others would have to be downloaded."""

EXPECTED_GAIN = 1.0
"""Mean gain over bicubic in dB. The run reaches about 1.3."""


def main(argv: Sequence[str] | None = None) -> int:
    """Build the data, train and report, in the current folder. Completed steps are kept.

    Args:
        argv: command line arguments; by default those of the process.

    Returns:
        0; 1 if the mean gain over bicubic is less than `EXPECTED_GAIN`; 2 if a file cannot be read or written; 130
        after Ctrl-C.

    Raises:
        SystemExit: the current folder is not the project's root, or a step failed.
    """
    parser = argparse.ArgumentParser(
        description="Train a small RCAN x2 on the photographs inside scikit-image and compare it with bicubic (minutes "
        "on two CPU cores). Run it in the project's root. A second run skips completed steps."
    )
    parser.parse_args(argv)
    return _exit_codes.run(make, " Run the same command again to resume.")


def make() -> int:
    """Build the data, train and report; returns and raises as `main`."""
    if not OPTIONS.is_file() or not Path("basicsr/train.py").is_file():
        sys.exit(
            f"{OPTIONS} or basicsr/train.py is missing in {Path.cwd()}: run `make quickstart` in the project's root."
        )
    _say("1/3 data")
    build_data()
    _say("2/3 training")
    train()
    _say("3/3 result")
    gain = report()
    if gain < EXPECTED_GAIN:
        print(f"\nRCAN gained {gain:.2f} dB, expected at least {EXPECTED_GAIN} dB: check the loss in TensorBoard.")
        return 1
    return 0


def build_data() -> None:
    """Create `datasets/quickstart/{train,held_out}/{HR,LRBI_x2}.lmdb`. Existing ones are kept or completed.

    Raises:
        SystemExit: an existing LMDB was made from other images, or writing failed.
    """
    with resources.as_file(resources.files("skimage") / "data") as folder:
        # Without the modification time, which is that of the installation.
        photographs = {image.stem: replace(image, stamp=(image.stamp[0], 0)) for image in find_images(folder)}
        for split, names in PHOTOGRAPHS.items():
            job = Job(DATA / split, [Recipe(Degradation("BI"))], [SCALE])
            try:
                prepare(job, [photographs[name] for name in names])
            except (OSError, RuntimeError) as error:
                sys.exit(f"{error}\n{DATA} may be deleted: this command creates it again.")
    print(f"{DATA}: {', '.join(f'{len(names)} {split}' for split, names in PHOTOGRAPHS.items())} images, from "
          f"scikit-image {metadata.version('scikit-image')}.")  # fmt: skip


def train() -> None:
    """Train with `python basicsr/train.py`. A completed run is kept; a stopped run is resumed.

    Raises:
        SystemExit: training failed.
    """
    folder = _experiment()
    copied_options = folder / OPTIONS.name
    same_options = copied_options.is_file() and copied_options.read_text().endswith(OPTIONS.read_text())
    command = ["python", "basicsr/train.py", "-opt", str(OPTIONS)]
    if same_options and (folder / "models/net_g_latest.pth").is_file():
        print(f"{folder} is trained already: kept. To train again, delete it.")
        return
    if same_options and any(folder.glob("training_states/*.state")):
        print(f"{folder} was stopped: resuming from its last state.")
        # basicsr/train.py cannot resume without a GPU.
        command = ["python", "-m", "rcan_plugin.train", "-opt", str(OPTIONS), "--auto_resume"]
    elif folder.exists():
        print(f"{folder} has other options or no saved state: BasicSR renames it.")
    print("$", " ".join(command), flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if code := subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode:
        sys.exit(
            f"Training failed with exit code {code} (see above). `rcan doctor` checks the "
            f"installation. To train again from the start, delete {folder}."
        )


def report() -> float:
    """Compare RCAN with bicubic on the held-out images, as `rcan compare` does, and print where to look.

    Returns:
        mean PSNR gain of RCAN over bicubic, in dB, on the Y channel without `SCALE` border pixels.
    """
    report = compare(read_spec(COMPARISON), say=print, before_work=rcan_plugin.register)
    print_report(report)
    rows = {row["method"]: row for row in report.results["rows"]}
    bicubic, rcan = rows["Bicubic"], rows["RCAN"]
    for name, values in rcan["images"].items():
        print(f"  {name:<12}{values['psnr'] - bicubic['images'][name]['psnr']:+.2f} dB")
    gain = float(rcan["mean"]["psnr"] - bicubic["mean"]["psnr"])
    print(f"  {'mean':<12}{gain:+.2f} dB\n")
    print(f"Pictures, tables and plots, in a browser:  {report.folder / 'index.html'}")
    print(f"Weights, log and options of the run:       {_experiment()}")
    tensorboard = os.path.relpath(Path(sys.executable).parent / "tensorboard")
    print(f"Curves:  {tensorboard} --logdir tb_logger/{_experiment().name}")
    return gain


def _experiment() -> Path:
    return Path("experiments", _options()["name"])


def _options() -> dict[str, Any]:
    return yaml.safe_load(OPTIONS.read_text())


def _say(title: str) -> None:
    print(f"\n=== {title}", flush=True)
