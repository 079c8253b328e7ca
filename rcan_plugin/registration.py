"""The one place where our classes enter BasicSR's registries.

`import basicsr` comes first: its import calls us back (see `autoload`) and must find this module begun and empty, not
one of the modules with the classes half made. For the same reason no module imported below imports BasicSR on its top
level; a package that must (a subclass of a BasicSR class) does so in its `__init__`, before its modules begin.
"""

import basicsr  # noqa: F401
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY

from rcan_plugin.archs import NETWORKS
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.losses import LOSSES
from rcan_plugin.models.accelerated_model import AcceleratedSRModel

for registry, cls in (
    *((ARCH_REGISTRY, network) for network in NETWORKS),
    *((LOSS_REGISTRY, loss) for loss in LOSSES),
    (DATASET_REGISTRY, DegradationPairedDataset),
    (MODEL_REGISTRY, AcceleratedSRModel),
):
    if cls.__name__ not in registry:
        registry.register(cls)
