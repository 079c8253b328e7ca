"""Show which packages are installed, what is imported and registered, and how to correct what is wrong.

Exit code: 0, or 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

from rcan_plugin import autoload
from rcan_plugin._version import __version__
from rcan_plugin.cli import stopping_at_once

PACKAGES = ("torch", "torchvision", "numpy", "lmdb", "scikit-image", "tensorboard")
BASICSR = 'pip install wheel "setuptools<85"; pip install --no-deps --no-build-isolation basicsr==1.4.2'
BASICSR_OF_AN_OLDER_PYTHON = """BasicSR's own set-up fails on Python 3.13: let an older Python make its wheel:
      python3.12 -m venv older; older/bin/python -m pip install wheel "setuptools<85"
      older/bin/python -m pip wheel --no-deps --no-build-isolation basicsr==1.4.2
      pip install --no-deps basicsr-1.4.2-*.whl"""
"""On 3.13 a function's `exec` no longer adds to its `locals()` (PEP 667), which BasicSR's setup.py expects."""
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


class Report:
    """Prints the report line by line and counts the problems."""

    def __init__(self) -> None:
        self.problems = 0

    def add(self, what: str, value: object) -> None:
        print(f"  {what:<22} {value}")

    def add_problem(self, what: str, value: object, remedy: str) -> None:
        self.problems += 1
        print(f"✗ {what:<22} {value}\n    → {remedy}")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report.

    Args:
        argv: arguments (only `--help` is accepted); by default those of the process.

    Returns:
        0, or 1 if something is wrong.
    """
    parser = argparse.ArgumentParser(prog="rcan doctor", description=__doc__.splitlines()[0])
    parser.parse_args(argv)
    report = Report()
    _versions(report)
    torch = _imported(report, "torch", "install it: pip install torch torchvision")
    if torch is not None:
        _autoload(report, torch)
        _device(report, torch)
        _imported(
            report, "torchvision", "install the torchvision that goes with this torch: pip install -U torchvision"
        )
        _imported(
            report,
            "cv2",
            "without libGL (slim images): pip uninstall opencv-python; pip install opencv-python-headless",
        )
        basicsr = _imported(report, "basicsr", f"install it: {_basicsr()}")
        if basicsr is not None:
            _copies(report, Path(str(basicsr.__file__)).parent)
            _registered(report)
    for problem in autoload.problems:
        report.add_problem(
            "autoload", problem, "please report this line; until then call rcan_plugin.register() yourself"
        )
    print(f"\n{report.problems} problem(s)." if report.problems else "\nNo problems.")
    return 1 if report.problems else 0


def _versions(report: Report) -> None:
    version = platform.python_version()
    if (3, 10) <= sys.version_info < (3, 14):
        report.add("Python", f"{version} ({sys.executable})")
    else:
        report.add_problem("Python", version, "use Python 3.10, 3.11, 3.12 or 3.13")
    report.add("rcan_plugin", f"{__version__} ({Path(__file__).parents[1]})")
    for package in PACKAGES:
        if (installed := _version(package)) is not None:
            report.add(package, installed)
        else:
            report.add_problem(package, "not installed", f"pip install {package}")
    opencv = [f"{name} {installed}" for name in OPENCV if (installed := _version(name))]
    if len(opencv) == 1:
        report.add("OpenCV", opencv[0])
    elif not opencv:
        report.add_problem("OpenCV", "not installed", "pip install opencv-python (or opencv-python-headless)")
    else:
        report.add_problem(
            "OpenCV", " and ".join(opencv), "they share one folder: pip uninstall all but one, reinstall that"
        )
    installed = _version("basicsr")
    if installed is None or installed.startswith("1.4."):
        report.add("basicsr", installed or "not installed as a package (a checkout on PYTHONPATH will do)")
    else:
        report.add_problem("basicsr", installed, f"the plugin is made for 1.4.2: {_basicsr()}")


def _basicsr() -> str:
    """How to install BasicSR with this Python."""
    return BASICSR if sys.version_info < (3, 13) else BASICSR_OF_AN_OLDER_PYTHON


def _autoload(report: Report, torch: ModuleType) -> None:
    entries = [entry for entry in metadata.entry_points(group="torch.backends") if entry.name == "rcan_plugin"]
    # The plugin's switch is off at 0, torch's at any value but 1 (`torch._is_device_backend_autoload_enabled`).
    off = [f"{autoload.SWITCH}=0"] * (os.environ.get(autoload.SWITCH) == "0")
    if (torch_switch := os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1")) != "1":
        off.append(f"TORCH_DEVICE_BACKEND_AUTOLOAD={torch_switch}")
    autoload.supply_functional_tensor()  # otherwise the same problem would be reported again below
    if not hasattr(torch, "_is_device_backend_autoload_enabled"):
        report.add_problem("autoload", f"torch {torch.__version__} has none", "use torch 2.5 or later")
    elif not entries:
        report.add_problem(
            "autoload", "the plugin is not installed", "pip install --no-deps -e . in the plugin's folder"
        )
    elif off:
        report.add_problem("autoload", f"switched off by {off[0]}", f"unset {off[0].split('=')[0]}")
    else:
        report.add("autoload", "on")


def _device(report: Report, torch: ModuleType) -> None:
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        report.add("GPU", f"none available ({built}); training runs on the CPU")
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        bf16 = "bf16" if properties.major >= 8 else "no bf16"
        report.add(f"GPU {number}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}")
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # a private function; not in every version
    report.add("bf16 on the CPU", "not known" if supported is None else "yes" if supported() else "emulated (slow)")


def _imported(report: Report, name: str, remedy: str) -> ModuleType | None:
    try:
        with stopping_at_once():
            module = importlib.import_module(name)
    except Exception as error:  # a damaged package may raise any exception; the report shows it
        report.add_problem(f"import {name}", f"{type(error).__name__}: {error}", remedy)
        return None
    report.add(f"import {name}", module.__file__)
    return module


def _copies(report: Report, imported: Path) -> None:
    candidates = {Path(folder or ".", "basicsr") for folder in sys.path} | {imported}
    copies = {folder.resolve() for folder in candidates if (folder / "archs").is_dir()}
    if len(copies) > 1:
        others = ", ".join(str(folder) for folder in sorted(copies - {imported.resolve()}))
        report.add_problem(
            "copies of basicsr",
            f"{imported} was imported, {others} is on sys.path as well",
            "which one runs depends on the folder you start from: uninstall one, or put the one you want on PYTHONPATH",
        )
    else:
        report.add("copies of basicsr", "one")


def _registered(report: Report) -> None:
    registries = importlib.import_module("basicsr.utils.registry")
    names = ("ARCH_REGISTRY", "DATASET_REGISTRY", "LOSS_REGISTRY", "MODEL_REGISTRY")
    # Before the import of `registration`, which registers what is missing.
    registered = {name: set(getattr(registries, name).keys()) for name in names}
    classes = importlib.import_module("rcan_plugin.registration").CLASSES
    for name in names:
        plugin_classes = [cls.__name__ for cls in classes[name]]
        if missing := [cls for cls in plugin_classes if cls not in registered[name]]:
            report.add_problem(
                name, f"{', '.join(missing)} missing", "see autoload above, or call rcan_plugin.register()"
            )
        else:
            report.add(name, ", ".join(plugin_classes))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
