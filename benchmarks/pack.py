"""Pack what a machine without network needs to run `gpu.py`: wheels and a copy of the project, less than 60 MB.

    python benchmarks/pack.py OUT                                     # for this machine's Python and platform
    python benchmarks/pack.py OUT --python 3.12 --wheels-only         # for Linux x86-64 with another Python
    python benchmarks/pack.py OUT --data datasets                     # with the images of the part `runs`

OUT/wheels gets BasicSR, its small dependencies, spandrel and this project, OUT/project the project's files, OUT/data
the training images as T490.zip, and the test sets (training/card/README.md says which). The machine must have torch,
torchvision, NumPy, OpenCV, Pillow, PyYAML, requests, SciPy, scikit-image, tensorboard, tqdm, filelock, pytest, and
safetensors and einops for spandrel. Wheels that are there already are kept; the project's is always built anew. On the
machine, in OUT/project:

    python3 -m pip install --no-index --no-deps --target /tmp/site ../wheels/*.whl
    PYTHONPATH=$PWD:/tmp/site python3 benchmarks/gpu.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 60e6
WHEELS = ("addict", "future", "lmdb", "platformdirs", "spandrel", "yapf")
BASICSR = "basicsr==1.4.2"
MANYLINUX = [f"manylinux_2_{minor}" for minor in (39, 35, 34, 31, 28, 27, 24, 17)] + ["manylinux2014", "manylinux1"]


def main() -> int:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument(
        "--python", metavar="X.Y", help="Python of the target, on Linux (default: this one and its system)"
    )
    parser.add_argument("--machine", default="x86_64", help="processor of the target, with --python (default x86_64)")
    parser.add_argument(
        "--wheels-only", action="store_true", help="no copy of the project; the wheels go to OUT itself"
    )
    parser.add_argument(
        "--data", metavar="DATASETS", type=Path, help="folder with T490src, benchmark/Set5/HR and benchmark/Set14/HR"
    )
    args = parser.parse_args()
    if args.data:
        pack_data(args.data, args.out / "data")
    wheels = args.out if args.wheels_only else args.out / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    download_wheels(wheels, args.python, args.machine)
    if not list(wheels.glob("basicsr-*.whl")):
        build_basicsr(wheels)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project)
        for old in wheels.glob("rcan_plugin-*.whl"):
            old.unlink()
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(project))
    if not args.wheels_only:
        shutil.rmtree(args.out / "project", ignore_errors=True)
        copy_project(args.out / "project")
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB, {', '.join(sorted(file.name for file in wheels.glob('*.whl')))}")
    if size > LARGEST:
        print(f"That is more than {LARGEST / 1e6:.0f} MB.", file=sys.stderr)
        return 1
    return 0


def pack_data(datasets: Path, out: Path) -> None:
    """Pack the training images and the test sets; ends this process if they are not there."""
    source, sets = datasets / "T490src", [Path(f"benchmark/{name}/HR") for name in ("Set5", "Set14")]
    if missing := [str(folder) for folder in (source, *(datasets / each for each in sets)) if not folder.is_dir()]:
        sys.exit(
            f"--data: there is no folder {', '.join(missing)}; benchmarks/training/card/README.md says what is in it."
        )
    out.mkdir(parents=True, exist_ok=True)
    part = out / "T490.zip.part"
    with zipfile.ZipFile(part, "w", zipfile.ZIP_LZMA) as archive:  # of ZIP's methods the smallest, for BMP
        for file in sorted(file for file in source.iterdir() if file.is_file()):
            archive.write(file, file.name)
    part.replace(out / "T490.zip")
    for each in sets:
        shutil.rmtree(out / each, ignore_errors=True)
        shutil.copytree(datasets / each, out / each)


def download_wheels(wheels: Path, python: str | None, machine: str) -> None:
    """Download the wheels of the small dependencies that are not there yet."""
    missing = [name for name in WHEELS if not list(wheels.glob(f"{name}-*.whl"))]
    if not missing:
        return
    target = []
    if python:
        target = ["--python-version", python, "--implementation", "cp"]
        target += [f"--platform={name}_{machine}" for name in MANYLINUX]
    pip("download", "--no-deps", "--only-binary=:all:", *target, "--dest", str(wheels), *missing)


def build_basicsr(wheels: Path) -> None:
    """Build the wheel of the unmodified BasicSR, which PyPI does not have, as set-up does."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from setup_steps import OLD_EXEC

    with tempfile.TemporaryDirectory() as folder:
        variables: dict[str, str] = {}
        if sys.version_info >= (3, 13):
            (Path(folder) / "sitecustomize.py").write_text(OLD_EXEC, encoding="utf-8")
            variables["PYTHONPATH"] = folder
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), BASICSR, **variables)


def copy_project(target: Path) -> None:
    """Copy the files of a clone that git tracks or would add; in a folder without git, all but caches."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        ignored = shutil.ignore_patterns(
            "__pycache__", ".*", "*.egg-info", "build", "datasets", "experiments", "results"
        )
        shutil.copytree(ROOT, target, ignore=ignored, symlinks=True)
        return
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def pip(*arguments: str, **variables: str) -> None:
    """Run this Python's pip; ends this process if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}.")


if __name__ == "__main__":
    sys.exit(main())
