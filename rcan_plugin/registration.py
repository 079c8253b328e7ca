"""Registers the plugin's classes in BasicSR's registries when it is imported; classes are registered nowhere else.

`import basicsr` comes first: it triggers another import of this module (see `autoload`), which must happen before the
imports below, not while one of them has defined half of its classes. For the same reason no module imported below
imports BasicSR at its top level; a package that needs it for a base class imports it first in its `__init__`.
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
"""The classes by their registry in `basicsr.utils.registry`."""


def register_all() -> None:
    """Register all of `CLASSES` that are not registered yet."""
    for name, classes in CLASSES.items():
        for cls in classes:
            if cls.__name__ not in getattr(registry, name):
                getattr(registry, name).register(cls)


register_all()
