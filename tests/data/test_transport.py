"""uint8 images that become floats on their way out of a worker."""

import pickle

import numpy as np
import torch
from torch.utils.data import DataLoader

from rcan_plugin.data.options import PixelOptions
from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.data.tensors import to_tensor
from rcan_plugin.data.transport import PackedUint8
from tests.data.tiny import options, picture


def test_what_arrives_is_the_float_tensor():
    image = picture(6, 5, seed=1)
    arrived = pickle.loads(pickle.dumps(PackedUint8.pack(image)))
    assert isinstance(arrived, torch.Tensor) and torch.equal(arrived, to_tensor(image, PixelOptions()))


def test_a_batch_stays_packed_until_it_arrives():
    images = [picture(6, 5, seed=seed) for seed in range(3)]
    batch = torch.utils.data.default_collate([{"gt": PackedUint8.pack(image)} for image in images])["gt"]
    assert isinstance(batch, PackedUint8) and batch.values.dtype == torch.uint8
    expected = torch.stack([to_tensor(image, PixelOptions()) for image in images])
    assert torch.equal(pickle.loads(pickle.dumps(batch)), expected)


def test_packing_keeps_no_reference_to_the_image():
    image = picture(6, 5, seed=1)
    packed, before = PackedUint8.pack(image), image.copy()
    image[:] = 0
    assert np.array_equal(packed.values.numpy(), before.transpose(2, 0, 1)[::-1])


def test_samples_outside_a_worker_are_plain_tensors(folders):
    dataset = DegradationPairedDataset(options(folders, "train"))
    for item in (dataset[0], *dataset.__getitems__([0, 1])):
        assert item["lq"].dtype == item["gt"].dtype == torch.float32
    for workers in (0, 1):
        (batch,) = DataLoader(dataset, 3, num_workers=workers)
        assert batch["gt"].dtype == torch.float32 and batch["gt"].shape == (3, 3, 16, 16)
