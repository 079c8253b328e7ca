"""Networks: one file each, pure torch modules, usable without BasicSR.

To add one, write `NAME_arch.py` with a class `NAMEArch`: it is found by that name, as BasicSR finds its own networks.
"""

from __future__ import annotations

import importlib
import pkgutil

from torch import nn

from rcan_plugin.archs.luma_only import LumaOnly


def find_networks() -> tuple[type[nn.Module], ...]:
    """Return the classes named `...Arch` of all modules of this package named `..._arch`, in alphabetical order."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name.endswith("_arch"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(
        member
        for module in modules
        for name, member in vars(module).items()
        if name.endswith("Arch") and isinstance(member, type) and member.__module__ == module.__name__
    )


NETWORKS = (*find_networks(), LumaOnly)
"""The networks that an option file may name as `network_g: type`."""
