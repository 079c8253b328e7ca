"""The main job in minutes: data from photographs at hand, a small RCAN, a table and pictures of what it gained."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from PIL import Image, ImageDraw, ImageFont

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
"""Photographs inside scikit-image's wheel; it would have to download the others."""

WANTED_GAIN = 1.0
"""dB over bicubic that the run is known to reach, with room to spare."""


def main() -> int:
    """Run the whole job in the current folder, the project's root; what is done already is kept, and said to be.

    Returns:
        0, or 1 if the network ends less than `WANTED_GAIN` above bicubic.
    """
    if not OPTIONS.is_file() or not Path("basicsr/train.py").is_file():
        sys.exit(f"{OPTIONS} or basicsr/train.py is not in {Path.cwd()}: run `make quickstart` in the project's root.")
    _say("1/3 data")
    build_data()
    _say("2/3 training")
    train()
    _say("3/3 result")
    gain = report()
    if gain < WANTED_GAIN:
        print(f"\nRCAN gained {gain:.2f} dB, expected {WANTED_GAIN} or more: look at the loss in TensorBoard.")
        return 1
    return 0


def build_data() -> None:
    """Make `datasets/quickstart/{train,held_out}/{HR,LRBI_x2}.lmdb`, or keep or complete what is there.

    Raises:
        SystemExit: something else stands there.
    """
    with resources.as_file(resources.files("skimage") / "data") as folder:
        # Their date is that of the installation.
        photographs = {one.stem: replace(one, stamp=(one.stamp[0], 0)) for one in find_images(folder)}
        for split, names in PHOTOGRAPHS.items():
            job = Job(DATA / split, [Recipe(Degradation("BI"))], [SCALE])
            try:
                prepare(job, [photographs[name] for name in names])
            except (OSError, RuntimeError) as error:
                sys.exit(f"{error}\nAll of {DATA} can be made again by this command.")
    print(f"{DATA}: {', '.join(f'{len(names)} {split}' for split, names in PHOTOGRAPHS.items())} images, from "
          f"scikit-image {metadata.version('scikit-image')}.")  # fmt: skip


def train() -> None:
    """Run the literal command, or keep a run that ended, or go on with one that was stopped.

    Raises:
        SystemExit: training failed.
    """
    folder = _experiment()
    used = folder / OPTIONS.name
    same_options = used.is_file() and used.read_text().endswith(OPTIONS.read_text())
    command = ["python", "basicsr/train.py", "-opt", str(OPTIONS)]
    if same_options and (folder / "models/net_g_latest.pth").is_file():
        print(f"{folder} is trained already: kept. To train anew, remove it.")
        return
    if same_options and any(folder.glob("training_states/*.state")):
        print(f"{folder} was stopped half-way: going on from its last state.")
        # Not BasicSR's own file, which cannot resume without a GPU.
        command = ["python", "-m", "rcan_plugin.train", "-opt", str(OPTIONS), "--auto_resume"]
    elif folder.exists():
        print(f"{folder} stems from other options, or from a run stopped early: BasicSR moves it aside.")
    print("$", " ".join(command), flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if code := subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode:
        sys.exit(
            f"training ended with exit code {code}: see above; `python -m rcan_plugin.doctor` may help. "
            f"To start anew, remove {folder}."
        )


def report() -> float:
    """Compare bicubic and RCAN on the held-out images: print the table, write the picture strips.

    Returns:
        RCAN's mean gain over bicubic in PSNR (dB, Y channel, without a border of `SCALE` pixels).
    """
    net = _trained_network()
    STRIPS.mkdir(parents=True, exist_ok=True)
    hr_store, lr_store = (ImageStore(DATA / "held_out" / name) for name in ("HR.lmdb", f"LRBI_x{SCALE}.lmdb"))
    print(f"{'':<12}{'bicubic':^18}{'RCAN':^18}\n{'image':<12}" + f"{'PSNR':>9}{'SSIM':>9}" * 2 + f"{'gain':>9}")
    rows = []
    for name in hr_store.names:
        hr, lr = hr_store.read(name), lr_store.read(name)
        hr = np.ascontiguousarray(hr[: lr.shape[0] * SCALE, : lr.shape[1] * SCALE])
        panels = [Panel("bicubic", imresize(lr, SCALE), hr), Panel("RCAN", _enlarge(net, lr), hr)]
        rows.append([value for panel in panels for value in (panel.psnr, panel.ssim)])
        print(_row(hr_store.stem(name), rows[-1]))
        draw_strip(panels, hr, STRIPS / f"{hr_store.stem(name)}.png")
    means = [float(np.mean(column)) for column in zip(*rows, strict=True)]
    print(_row("mean", means))
    print(f"\nPicture strips (bicubic, RCAN, original):  {STRIPS}/*.png (written anew)")
    print(f"Weights, log and options of the run:       {_experiment()}")
    tensorboard = os.path.relpath(Path(sys.executable).parent / "tensorboard")
    print(f"Curves:  {tensorboard} --logdir tb_logger/{_experiment().name}")
    return means[2] - means[0]


@dataclass(frozen=True)
class Panel:
    """One enlarged image beside its original; images H x W x 3, uint8, B, G, R."""

    title: str
    image: np.ndarray
    original: np.ndarray

    @property
    def psnr(self) -> float:
        """dB on Y, without a border of `SCALE` pixels, by BasicSR."""
        from basicsr.metrics import calculate_psnr

        return float(calculate_psnr(self.image, self.original, crop_border=SCALE, test_y_channel=True))

    @property
    def ssim(self) -> float:
        """On Y, without a border of `SCALE` pixels, by BasicSR."""
        from basicsr.metrics import calculate_ssim

        return float(calculate_ssim(self.image, self.original, crop_border=SCALE, test_y_channel=True))


def draw_strip(panels: list[Panel], original: np.ndarray, path: Path, window: int = 64, zoom: int = 6) -> None:
    """Write a picture: the panels and the original side by side, below each the same window enlarged.

    The window, of `window` pixels a side, is the one in which the last panel gains most over the first.
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
def _enlarge(net: torch.nn.Module, lr: np.ndarray) -> np.ndarray:
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
