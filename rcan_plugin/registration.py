"""Registers the plugin's classes in BasicSR's registries, when this module is imported; the one place where it is done.

`import basicsr` comes first: it triggers the import of this module (see `autoload`) and must find this module begun and
empty, not one of the modules below with its classes half defined. For the same reason no module imported below imports
BasicSR at its top level; a package that needs it (for a subclass of a BasicSR class) does so first in its `__init__`.
"""

from __future__ import annotations

from collections.abc import Mapping

import basicsr  # noqa: F401
from basicsr.utils import registry

from rcan_plugin.archs import NETWORKS
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.losses import LOSSES
from rcan_plugin.models.accelerated_model import AcceleratedSRModel

CLASSES: Mapping[str, tuple[type, ...]] = {
    "ARCH_REGISTRY": tuple(NETWORKS),
    "DATASET_REGISTRY": (DegradationPairedDataset,),
    "LOSS_REGISTRY": tuple(LOSSES),
    "MODEL_REGISTRY": (AcceleratedSRModel,),
}
"""The classes by the registry of `basicsr.utils.registry` that they are in."""


def register_all() -> None:
    """Register all of `CLASSES` that are not registered yet."""
    for name, classes in CLASSES.items():
        for cls in classes:
            if cls.__name__ not in getattr(registry, name):
                getattr(registry, name).register(cls)


register_all()
