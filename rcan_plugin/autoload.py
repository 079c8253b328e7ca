"""What `import torch` runs, so that an unmodified BasicSR knows the plugin.

torch 2.5 and later calls every entry point of the group `torch.backends` at the end of `import torch`, and BasicSR
imports torch before anything else. `load` is such an entry point. It imports nothing and only leaves two finders:

- one, last in line, for `torchvision.transforms.functional_tensor`, which BasicSR 1.4.2 imports and torchvision dropped
  in 0.17: without it `import basicsr` fails. Last in line, it is asked only where torchvision really lacks the module;
- one that waits for `basicsr.models`, the last package with a registry that `basicsr/__init__.py` imports, and then
  calls `connect`. It waits for that and not for `basicsr` because under `python -m basicsr.train` the import of
  `basicsr` has begun before torch comes in.

`RCAN_PLUGIN_AUTOLOAD=0` switches all of it off. An exception here would break `import torch` for everybody in the
environment, so none leaves this module: what went wrong is kept in `problems`, for `python -m rcan_plugin.doctor`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SWITCH = "RCAN_PLUGIN_AUTOLOAD"
DROPPED = "torchvision.transforms.functional_tensor"
KEPT = "torchvision.transforms._functional_tensor"
LAST_REGISTRY = "basicsr.models"

problems: list[str] = []
"""What went wrong while loading, one text each, in this process."""


class _FunctionalTensor(MetaPathFinder, Loader):
    """Gives torchvision's own, renamed module under its former name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == DROPPED else None

    def exec_module(self, module: ModuleType) -> None:
        # The whole module, not a copy of the one function BasicSR wants: whoever else asks gets all of it.
        sys.modules[DROPPED] = importlib.import_module(KEPT)


class _AfterImport(MetaPathFinder):
    """Calls a function each time after `name` was imported, by whichever finder finds it."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self.name, self.then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                self.then()

            # On this one loader object: it keeps its class and all else that tools ask of it.
            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def load() -> None:
    """The entry point. Imports nothing, never raises."""
    try:
        if os.environ.get(SWITCH, "1") != "0":
            supply_functional_tensor()
            if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
                sys.meta_path.insert(0, _AfterImport(LAST_REGISTRY, _connect_quietly))
    except Exception as error:
        problems.append(f"loading at `import torch` failed: {error!r}")


def supply_functional_tensor() -> None:
    """Let `torchvision.transforms.functional_tensor` be found where torchvision no longer has it."""
    if not any(isinstance(finder, _FunctionalTensor) for finder in sys.meta_path):
        sys.meta_path.append(_FunctionalTensor())


def connect() -> None:
    """Make BasicSR know the plugin. All that differs from BasicSR alone is named here:

    1. our classes are in its registries (`rcan_plugin.registration`);
    2. after `parse_options`, data and weights that an option file with a class of ours names are looked for, because
       BasicSR renames an earlier run of the same name before it looks (`rcan_plugin.options.check`). Option
       files in which nothing is ours pass untouched.

    Raises:
        ImportError: BasicSR, or something it needs, is not installed.
    """
    importlib.import_module("rcan_plugin.registration")
    options = importlib.import_module("rcan_plugin.options.check")
    importlib.import_module("basicsr.utils.options")
    for name in ("basicsr.utils.options", "basicsr.train", "basicsr.test"):
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "parse_options"):  # basicsr.train may be half imported
            vars(module)["parse_options"] = options.checked(module.parse_options)


def _connect_quietly() -> None:
    try:
        connect()
    except Exception as error:
        problems.append(f"registering in BasicSR failed: {error!r}")
        print(f"rcan_plugin could not register itself ({error!r}): run `python -m rcan_plugin.doctor`", file=sys.stderr)
