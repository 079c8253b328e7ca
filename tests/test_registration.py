"""Each of the plugin's classes is in the registry of BasicSR that it belongs to."""

import pytest
from basicsr.utils import registry

from rcan_plugin import registration


def test_what_is_registered():
    names = {name: {cls.__name__ for cls in classes} for name, classes in registration.CLASSES.items()}
    assert names == {
        "ARCH_REGISTRY": {
            "RCANArch",
            "SRCNNArch",
            "FSRCNNArch",
            "ESPCNArch",
            "VDSRArch",
            "DRCNArch",
            "LapSRNArch",
            "DRRNArch",
            "MemNetArch",
            "MDSRArch",
            "LumaOnly",
        },
        "DATASET_REGISTRY": {"DegradationPairedDataset"},
        "LOSS_REGISTRY": {"EuclideanLoss", "PyramidLoss", "RecursiveLoss"},
        "MODEL_REGISTRY": {"AcceleratedSRModel"},
    }


@pytest.mark.parametrize("name", registration.CLASSES)
def test_each_class_is_found_by_its_name(name):
    for cls in registration.CLASSES[name]:
        assert getattr(registry, name).get(cls.__name__) is cls


def test_registering_again_changes_nothing():
    before = {name: dict(getattr(registry, name)._obj_map) for name in registration.CLASSES}
    registration.register_all()
    assert {name: getattr(registry, name)._obj_map for name in registration.CLASSES} == before
