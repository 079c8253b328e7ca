"""Runs at `import torch`, so that an unmodified BasicSR knows the plugin.

torch 2.5 and later calls every entry point of the group `torch.backends` at the end of `import torch`, and BasicSR
imports torch before anything else. `load` is such an entry point. It imports nothing; it adds two finders to
`sys.meta_path`:

- one at the end, for `torchvision.transforms.functional_tensor`, which BasicSR 1.4.2 imports and torchvision removed in
  0.17: without it `import basicsr` fails. At the end of the list it is used only if torchvision lacks the module;
- one that calls `connect` after the import of `basicsr.models`, the last package with a registry that
  `basicsr/__init__.py` imports. It does not wait for `basicsr` because with `python -m basicsr.train` the import of
  `basicsr` is already under way when torch is imported.

`RCAN_PLUGIN_AUTOLOAD=0` turns all of it off. An exception here would break `import torch` for every program of the
environment. So exceptions are caught and recorded in `problems`, which `rcan doctor` prints.
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
OLD_MODULE = "torchvision.transforms.functional_tensor"
NEW_MODULE = "torchvision.transforms._functional_tensor"
LAST_REGISTRY = "basicsr.models"

problems: list[str] = []
"""Errors while loading in this process, one text each."""


class _FunctionalTensor(MetaPathFinder, Loader):
    """Provides torchvision's renamed module under its former name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == OLD_MODULE else None

    def exec_module(self, module: ModuleType) -> None:
        # The whole module, not only the one function that BasicSR needs: other importers need the rest.
        sys.modules[OLD_MODULE] = importlib.import_module(NEW_MODULE)


class _AfterImport(MetaPathFinder):
    """Calls a function after each import of the module `name`; the other finders load the module itself."""

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

            # Only on this loader object, which keeps its class and other attributes.
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
    """Make `torchvision.transforms.functional_tensor` importable where torchvision no longer has it."""
    if not any(isinstance(finder, _FunctionalTensor) for finder in sys.meta_path):
        sys.meta_path.append(_FunctionalTensor())


def connect() -> None:
    """Register the plugin in BasicSR. These are all changes to BasicSR at run time:

    1. the plugin's classes are in its registries (`rcan_plugin.registration`);
    2. if an option file uses a class of the plugin, its data and weights are checked right after `parse_options`
       (`rcan_plugin.options.check`), since BasicSR renames an earlier run of the same name before it looks for them.
       Other option files are not checked;
    3. before BasicSR compares the keys of a file of weights with those of a plugin's network, the official key names
       are renamed to the network's (`rcan_plugin.models.loading`).

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
    base_model = importlib.import_module("basicsr.models.base_model").BaseModel
    loading = importlib.import_module("rcan_plugin.models.loading")
    base_model._print_different_keys_loading = loading.with_own_keys(base_model._print_different_keys_loading)


def _connect_quietly() -> None:
    try:
        connect()
    except Exception as error:
        problems.append(f"registering in BasicSR failed: {error!r}")
        print(f"rcan_plugin could not register itself ({error!r}): run `rcan doctor`", file=sys.stderr)
