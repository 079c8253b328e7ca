"""A data set of several scales over images of odd sizes, for the tests of scales and of options."""

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from tests.data.tiny import options, picture, write

SCALES = [2, 3, 4]
SIZES = {"a": (50, 55), "b": (49, 53), "c": (64, 48)}


def write_images(tmp_path):
    """A folder `HR` whose images are multiples of some scales and not of others."""
    for name, size in SIZES.items():
        write(tmp_path / "HR" / f"{name}.png", picture(*size, seed=ord(name)))
    return tmp_path


def made(root, phase="train", **more) -> DegradationPairedDataset:
    """A set whose LR images are made on the fly."""
    opt = {"dataroot_lq": None, "degradation": {"type": "BI"}, **more}
    return DegradationPairedDataset(options(root, phase, **opt))


def enlarged(root, **more) -> DegradationPairedDataset:
    """A set for training whose LR images come enlarged, of several scales if nothing else is said."""
    return made(root, **{"pre_upsample": True, "scale": None, "scales": SCALES, "gt_size": 17, **more})


def by_batches(root, **more) -> DegradationPairedDataset:
    """A set for training of one scale a batch."""
    return made(root, **{"scale": None, "scales": SCALES, "gt_size": None, "lq_size": 9, **more})
