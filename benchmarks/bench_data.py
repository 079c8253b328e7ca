"""Compare the time for preparing and reading training data with BasicSR's: x4, HR crops of 192 pixels.

    python benchmarks/bench_data.py [--images 24] [--repeats 5] [--folder FOLDER]

Makes its data, about 80 MB per image, in FOLDER or a temporary folder: 2040x1356 mosaics of the photographs that ship
with scikit-image, their 480-pixel sub-images (step 240, as in BasicSR's recipe for DIV2K), and LMDBs of both. The
variants take turns, so that changes of the machine's load affect all of them; every figure is the median of the turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import metadata, resources
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when NumPy is imported
    os.environ[_variable] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import rcan_plugin  # noqa: E402
from rcan_plugin import autoload  # noqa: E402
from rcan_plugin.degradations import Degradation, noise_rng  # noqa: E402
from rcan_plugin.degradations.record import Recipe  # noqa: E402
from rcan_plugin.images.sources import find_images  # noqa: E402
from rcan_plugin.preparation.items import SubImages  # noqa: E402
from rcan_plugin.preparation.prepare import Job, prepare  # noqa: E402

autoload.supply_functional_tensor()  # if the plugin is not installed, the import of BasicSR fails without it
from basicsr.data import build_dataloader, build_dataset  # noqa: E402
from basicsr.data.data_sampler import EnlargedSampler  # noqa: E402

rcan_plugin.register()

HEIGHT, WIDTH, SUB, STEP = 1356, 2040, 480, 240
SCALE, CROP, BATCH, WORKERS = 4, 192, 16, 2

BASICSR = f"PairedImageDataset, PNG LMDB of {SUB}-pixel sub-images"
READERS = {
    BASICSR: ("PairedImageDataset", "sub_png", True),
    "PairedImageDataset, raw LMDB of sub-images": ("PairedImageDataset", "sub_raw", True),
    "ours, PNG LMDB of sub-images": ("DegradationPairedDataset", "sub_png", True),
    "ours, raw LMDB of sub-images": ("DegradationPairedDataset", "sub_raw", True),
    "ours, raw LMDB of whole images": ("DegradationPairedDataset", "whole_raw", True),
    "ours, raw LMDB of whole images, HR alone (BI made)": ("DegradationPairedDataset", "whole_raw", False),
}
DATA = {"sub_png": "sub-images, PNG", "sub_raw": "sub-images, raw", "whole_raw": "whole images, raw"}
LOADED = [BASICSR, *list(READERS)[-2:]]


def photographs() -> list[np.ndarray]:
    """The 8-bit colour photographs inside scikit-image."""
    folder = resources.files("skimage") / "data"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith((".png", ".jpg", ".jpeg")))
    images = [cv2.imdecode(np.frombuffer((folder / name).read_bytes(), np.uint8), cv2.IMREAD_COLOR) for name in names]
    return [image for image in images if image is not None and min(image.shape[:2]) >= 340]


def mosaic(pieces: list[np.ndarray], seed: int) -> np.ndarray:
    """A 2040x1356 image of 6x4 crops of photographs, which takes as long to decode as a photograph."""
    rng = noise_rng(seed, "mosaic")
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for top in range(0, HEIGHT, 339):
        for left in range(0, WIDTH, 340):
            piece = pieces[rng.integers(len(pieces))]
            y, x = (int(rng.integers(side - 340 + 1)) for side in piece.shape[:2])
            image[top : top + 339, left : left + 340] = piece[y : y + 339, x : x + 340]
    return image


def time_preparing(folder: Path, repeats: int) -> None:
    """Measure images per second written to an LMDB; each program runs in a separate process, and they take turns."""
    basicsr = (
        "from basicsr.utils.lmdb_util import make_lmdb_from_imgs as make; import os; "
        "names = sorted(os.listdir('{0}')); make('{0}', 'made/HR.lmdb', names, [n.split('.png')[0] for n in names])"
    )
    script = str(ROOT / "scripts/create_lmdb.py")
    rows = []
    for images in ("many", "sub/HR"):
        commands = {"BasicSR": [sys.executable, "-c", basicsr.format(images)]}
        for codec in ("png", "raw"):
            commands[codec] = [sys.executable, script, images, "--out", "made", "--codec", codec]
        count = len(list((folder / images).iterdir()))
        start = {name: _seconds(_start_of(name), folder) for name in commands}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, command in commands.items():
                shutil.rmtree(folder / "made", ignore_errors=True)
                (folder / "made").mkdir()
                times[name].append(_seconds(command, folder) - start[name])
        shutil.rmtree(folder / "made")
        rate = {name: count / statistics.median(values) for name, values in times.items()}
        rows.append((images, count, rate))
    print("Preparing, images a second, the start of Python left out\n")
    print("| | BasicSR `make_lmdb_from_imgs` | ours, png | ours, raw |\n| --- | --- | --- | --- |")
    for images, count, rate in rows:
        size = "2040x1356" if images == "many" else f"{SUB}x{SUB}"
        cells = [f"{rate[name]:.0f} ({rate[name] / rate['BasicSR']:.1f}x)" for name in ("png", "raw")]
        print(f"| {count} images of {size} | {rate['BasicSR']:.0f} | {' | '.join(cells)} |")


def _start_of(name: str) -> list[str]:
    modules = "basicsr.utils.lmdb_util" if name == "BasicSR" else "rcan_plugin.preparation.prepare"
    return [sys.executable, "-c", f"import {modules}"]


def _seconds(command: list[str], folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - began


def make_data(folder: Path, images: int) -> None:
    """The mosaics, their sub-images as files, and the LMDBs."""
    pieces, sub_images = photographs(), SubImages.for_scales(SUB, STEP, [SCALE])
    for path in (folder / "HR", folder / "many", folder / "sub/HR"):
        path.mkdir(parents=True)
    for number in range(images):
        image = mosaic(pieces, number)
        cv2.imwrite(str(folder / f"HR/{number:04d}.png"), image)
        for again in range(4):  # repeated, to have enough files for timing
            (folder / f"many/{number:04d}_{again}.png").symlink_to(folder.resolve() / f"HR/{number:04d}.png")
        for index, (top, left) in enumerate(sub_images.windows(HEIGHT, WIDTH)):
            part = image[top : top + SUB, left : left + SUB]
            cv2.imwrite(str(folder / f"sub/HR/{number:04d}_s{index + 1:03d}.png"), part)
    hr, recipes = find_images(folder / "HR"), [Recipe(Degradation("BI"))]
    with redirect_stdout(sys.stderr):
        prepare(Job(folder / "whole_raw", recipes, [SCALE]), hr)
        prepare(Job(folder / "sub_raw", recipes, [SCALE], "raw", (SUB, STEP)), hr)
        prepare(Job(folder / "sub_png", recipes, [SCALE], "png", (SUB, STEP)), hr)


def options(folder: Path, reader: str) -> dict[str, Any]:
    """The data set's options, as an option file has them."""
    kind, data, pairs = READERS[reader]
    opt: dict[str, Any] = {"name": reader, "type": kind, "phase": "train", "scale": SCALE, "gt_size": CROP}
    opt |= {"dataroot_gt": str(folder / data / "HR.lmdb"), "use_hflip": True, "use_rot": True}
    opt |= {"dataset_enlarge_ratio": 10000, "batch_size_per_gpu": BATCH, "num_worker_per_gpu": WORKERS}
    if kind == "PairedImageDataset":
        opt["io_backend"] = {"type": "lmdb"}
    if pairs:
        opt["dataroot_lq"] = str(folder / data / f"LRBI_x{SCALE}.lmdb")
    if not pairs:
        opt["degradation"] = {"type": "BI"}
    return opt


def one_reader(folder: Path, reader: str, samples: int, cold: bool) -> float:
    """Milliseconds per sample, read one after the other in this process."""
    dataset = build_dataset(options(folder, reader))
    order = random.Random(0).choices(range(len(dataset)), k=samples)
    if cold:
        _forget(folder / READERS[reader][1])
    else:
        _read_through(folder / READERS[reader][1])
        for index in order[: max(20, samples // 4)]:
            dataset[index]
    began = time.perf_counter()
    for index in order:
        dataset[index]
    return (time.perf_counter() - began) / samples * 1e3


def _read_through(folder: Path) -> None:
    """Read the files of a folder into the page cache."""
    for path in folder.rglob("data.mdb"):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


def _forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for path in folder.rglob("data.mdb"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def loaded(folder: Path, reader: str, batches: int) -> float:
    """Milliseconds per sample through BasicSR's `build_dataloader`, batch 16, 2 workers."""
    opt = options(folder, reader)
    dataset = build_dataset(opt)
    _read_through(folder / READERS[reader][1])
    sampler = EnlargedSampler(dataset, 1, 0, opt["dataset_enlarge_ratio"])
    loader = iter(build_dataloader(dataset, opt, num_gpu=0, dist=False, sampler=sampler, seed=0))
    for _ in range(6):
        next(loader)
    began = time.perf_counter()
    for _ in range(batches):
        next(loader)
    seconds = time.perf_counter() - began
    del loader
    return seconds / batches / BATCH * 1e3


def in_turn(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """The median of each measure; the measures take turns."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: statistics.median(values) for name, values in found.items()}


def in_process(folder: Path, reader: str, what: str, count: int) -> float:
    """Run a measure in a separate process, in which no LMDB is open yet."""
    command = [sys.executable, __file__, "--folder", str(folder), "--measure", what, reader, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return float(done.stdout.split()[-1])


def table(title: str, times: Mapping[str, float], rivals: str = BASICSR) -> None:
    """Print a table of milliseconds and of ratios."""
    print(f"\n{title}\n\n| reader | ms a sample | times BasicSR's rate |\n| --- | --- | --- |")
    for name, milliseconds in times.items():
        print(f"| {name} | {milliseconds:.3f} | {times[rivals] / milliseconds:.1f} |")


def main() -> int:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="an empty or new folder; its files are kept")
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "READER", "COUNT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.measure:
        what, reader, count = args.measure
        if what == "loaded":
            print(loaded(args.folder, reader, int(count)))
        else:
            print(one_reader(args.folder, reader, int(count), what == "cold"))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not (folder / "sub_png/HR.lmdb").is_dir():
            make_data(folder, args.images)
        versions = [f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "lmdb", "basicsr")]
        machine = f"{os.cpu_count()} CPU cores; Python {platform.python_version()}"
        print(
            f"{args.images} images, {args.repeats} turns; {machine}, {', '.join(versions)}, OpenCV {cv2.__version__}\n"
        )
        time_preparing(folder, args.repeats)

        def measure(what: str, reader: str) -> Callable[[], float]:
            slow = reader == BASICSR or "PairedImage" in reader or "PNG" in reader
            count = {"loaded": 40 if slow else 200, "cold": 100, "warm": 300 if slow else 3000}[what]
            return lambda: in_process(folder, reader, what, count)

        warm = in_turn({name: measure("warm", name) for name in READERS}, args.repeats)
        table(f"One worker, x{SCALE}, {CROP}-pixel HR crops, page cache warm", warm)
        cold = in_turn({name: measure("cold", name) for name in READERS}, args.repeats)
        table("The same, page cache cold, the first 100 samples", cold)
        together = in_turn({name: measure("loaded", name) for name in LOADED}, args.repeats)
        table(f"Through BasicSR's build_dataloader, batch {BATCH}, {WORKERS} workers", together)
        print("\nSize on disk, HR and LR x4\n\n| LMDBs | MB | of the PNG files' size |\n| --- | --- | --- |")
        files = sum(file.stat().st_size for file in (folder / "HR").iterdir())
        for name, title in DATA.items():
            size = sum(file.stat().st_size for file in (folder / name).rglob("data.mdb"))
            print(f"| {title} | {size / 1e6:.0f} | {size / files:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
