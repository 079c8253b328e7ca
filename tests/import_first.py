"""Imports a module of the plugin first, as in a new Python but faster: other packages are loaded once, then forked.

As a program: reads names of modules, one per line, and answers each with a line of JSON: the error, or null. Each fork
removes `torch` from `sys.modules`; the next `import torch` returns the same module and then runs the entry points of
`torch.backends`, as torch does. So the plugin loads itself while the named module is being imported.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGES = (
    "torch.utils.tensorboard", "torch.distributed", "torchvision", "cv2", "lmdb", "scipy.stats", "skimage", "requests",
    "setuptools", "tqdm", "yaml",
)  # fmt: skip
"""Most of the time of `import basicsr`. None of them imports BasicSR or the plugin."""

CHECK = """
import sys
import basicsr
from basicsr.utils import registry
assert "RCANArch" in registry.ARCH_REGISTRY and "DegradationPairedDataset" in registry.DATASET_REGISTRY
assert "EuclideanLoss" in registry.LOSS_REGISTRY and "AcceleratedSRModel" in registry.MODEL_REGISTRY
assert sys.modules["rcan_plugin.autoload"].problems == []
"""
"""Run after the import, here and in new Pythons."""


class TorchAgain(MetaPathFinder, Loader):
    """Imports torch as if for the first time: the module that is loaded, then the entry points."""

    def __init__(self, torch: ModuleType) -> None:
        self.torch = torch

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname == "torch" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.torch

    def exec_module(self, module: ModuleType) -> None:
        for entry in metadata.entry_points(group="torch.backends"):
            entry.load()()


def import_first(module: str) -> str | None:
    """Import `module` and run `CHECK`, in a fork. Returns the error, or None."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        error = None
        try:
            sys.meta_path.insert(0, TorchAgain(sys.modules.pop("torch")))
            importlib.import_module(module)
            exec(CHECK, {})
        except BaseException:
            error = traceback.format_exc()
        with os.fdopen(writer, "w") as pipe:
            json.dump(error, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(answer) if answer else f"the fork ended with status {status}"


class Importer:
    """The running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def error(self, module: str) -> str | None:
        """What goes wrong if a program's first import is `module`, or None."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(module + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def importer() -> Iterator[Importer]:
    """Start the program, and end it."""
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Importer(process)


def main() -> None:
    for package in PACKAGES:
        importlib.import_module(package)
    ours = [name for name in sys.modules if name.partition(".")[0] in ("basicsr", "rcan_plugin")]
    assert not ours, ours
    del os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what modules print at import
    for line in sys.stdin:
        print(json.dumps(import_first(line.strip())), file=answers, flush=True)


if __name__ == "__main__":
    main()
