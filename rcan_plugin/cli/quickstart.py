"""Quickstart: build a small data set, train a small RCAN, compare it with bicubic. Takes minutes on two CPU cores."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw, ImageFont

from rcan_plugin.cli import _exit_codes
from rcan_plugin.degradations import Degradation, imresize
from rcan_plugin.degradations.record import Recipe
from rcan_plugin.images.sources import find_images
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.prepare import Job, prepare

OPTIONS = Path("options/quickstart_RCAN_x2.yml")
DATA = Path("datasets/quickstart")
STRIPS = Path("results/quickstart")
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
        "on two CPU cores). Run it in the project's root. Run again, it keeps completed steps."
    )
    parser.parse_args(argv)
    return _exit_codes.run(make, " Run the command again to continue.")


def make() -> int:
    """Take the three steps. Returns and raises what `main` does."""
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
    """Compare RCAN with bicubic on the held-out images: print a table, write picture strips.

    Returns:
        mean PSNR gain of RCAN over bicubic, in dB, on the Y channel without `SCALE` border pixels.
    """
    net = _trained_network()
    STRIPS.mkdir(parents=True, exist_ok=True)
    hr_store, lr_store = (ImageStore(DATA / "held_out" / name) for name in ("HR.lmdb", f"LRBI_x{SCALE}.lmdb"))
    print(f"{'':<12}{'bicubic':^18}{'RCAN':^18}\n{'image':<12}" + f"{'PSNR':>9}{'SSIM':>9}" * 2 + f"{'gain':>9}")
    rows = []
    for name in hr_store.names:
        hr, lr = hr_store.read(name), lr_store.read(name)
        hr = np.ascontiguousarray(hr[: lr.shape[0] * SCALE, : lr.shape[1] * SCALE])
        panels = [Panel("bicubic", imresize(lr, SCALE), hr), Panel("RCAN", _upscale(net, lr), hr)]
        rows.append([value for panel in panels for value in (panel.psnr, panel.ssim)])
        print(_row(hr_store.stem(name), rows[-1]))
        draw_strip(panels, hr, STRIPS / f"{hr_store.stem(name)}.png")
    means = [float(np.mean(column)) for column in zip(*rows, strict=True)]
    print(_row("mean", means))
    print(f"\nPicture strips (bicubic, RCAN, original):  {STRIPS}/*.png")
    print(f"Weights, log and options of the run:       {_experiment()}")
    tensorboard = os.path.relpath(Path(sys.executable).parent / "tensorboard")
    print(f"Curves:  {tensorboard} --logdir tb_logger/{_experiment().name}")
    return means[2] - means[0]


@dataclass(frozen=True)
class Panel:
    """An upscaled image and its original, both H x W x 3, uint8, in BGR order."""

    title: str
    image: np.ndarray
    original: np.ndarray

    @property
    def psnr(self) -> float:
        """BasicSR's PSNR in dB, on the Y channel without `SCALE` border pixels."""
        from basicsr.metrics import calculate_psnr

        return float(calculate_psnr(self.image, self.original, crop_border=SCALE, test_y_channel=True))

    @property
    def ssim(self) -> float:
        """BasicSR's SSIM, on the Y channel without `SCALE` border pixels."""
        from basicsr.metrics import calculate_ssim

        return float(calculate_ssim(self.image, self.original, crop_border=SCALE, test_y_channel=True))


def draw_strip(panels: list[Panel], original: np.ndarray, path: Path, window: int = 64, zoom: int = 6) -> None:
    """Write a picture of the panels and the original side by side, with a zoomed window below each.

    The window is the one in which the last panel's squared error is lowest compared with the first panel's.

    Args:
        panels: images to compare.
        original: H x W x 3, uint8, in BGR order.
        path: image file to write.
        window: side of the window in pixels.
        zoom: magnification of the window.
    """
    errors = [((panel.image.astype(float) - original) ** 2).mean(axis=2) for panel in panels]
    gained = cv2.boxFilter(errors[0] - errors[-1], -1, (window, window), borderType=cv2.BORDER_CONSTANT)
    half, (height, width) = window // 2, original.shape[:2]
    inner = gained[half : height - half, half : width - half]
    top, left = (int(value) for value in np.unravel_index(inner.argmax(), inner.shape))

    side, gap, caption = window * zoom, 12, 28
    shown = side * height // width
    canvas = Image.new("RGB", ((side + gap) * (len(panels) + 1) + gap, caption + shown + gap + side + gap), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    titled = [(f"{panel.title}  {panel.psnr:.2f} dB  {panel.ssim:.4f}", panel.image) for panel in panels]
    for column, (title, image) in enumerate([*titled, ("original", original)]):
        x = gap + column * (side + gap)
        draw.text((x, 5), title, "black", font)
        whole = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
        canvas.paste(whole.resize((side, shown), Image.Resampling.LANCZOS), (x, caption))
        corner = (x + left * side // width, caption + top * side // width)
        draw.rectangle(
            [corner, (corner[0] + side * window // width, corner[1] + side * window // width)], None, "red", 2
        )
        crop = whole.crop((left, top, left + window, top + window))
        canvas.paste(crop.resize((side, side), Image.Resampling.NEAREST), (x, caption + shown + gap))
    canvas.save(path)


def _trained_network() -> torch.nn.Module:
    from basicsr.archs import build_network

    net = build_network(_options()["network_g"])
    weights = torch.load(_experiment() / "models/net_g_latest.pth", map_location="cpu", weights_only=True)
    net.load_state_dict(weights["params"])
    return net.eval()


@torch.no_grad()
def _upscale(net: torch.nn.Module, lr: np.ndarray) -> np.ndarray:
    from basicsr.utils import img2tensor, tensor2img

    return tensor2img(net(img2tensor(lr / 255.0)[None]))


def _experiment() -> Path:
    return Path("experiments", _options()["name"])


def _options() -> dict[str, Any]:
    return yaml.safe_load(OPTIONS.read_text())


def _row(name: str, values: list[float]) -> str:
    cells = "".join(f"{psnr:9.2f}{ssim:9.4f}" for psnr, ssim in zip(values[::2], values[1::2], strict=True))
    return f"{name:<12}{cells}{values[2] - values[0]:+9.2f}"


def _say(title: str) -> None:
    print(f"\n=== {title}", flush=True)
