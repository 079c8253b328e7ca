"""Choice of device and precision."""

import pytest
import torch

from rcan_plugin.inference import precision
from rcan_plugin.inference.precision import choose_device, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)], ids=["fp32", "bf16", "fp16"]
)
def test_by_hand(name, dtype):
    assert choose_precision(name, CPU) is dtype


@pytest.mark.parametrize("name", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_auto_is_bf16_where_the_cpu_has_units(name, monkeypatch):
    for unit in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, unit, lambda: False, raising=False)
    assert choose_precision("auto", CPU) is None
    monkeypatch.setattr(torch.cpu, name, lambda: True)
    assert choose_precision("auto", CPU) == torch.bfloat16


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), None), ((8, 0), torch.bfloat16)], ids=["Turing", "Ampere"])
def test_auto_on_a_gpu(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(precision.torch.version, "hip", None)
    assert choose_precision("auto", torch.device("cuda")) is dtype


def test_wrong_names():
    with pytest.raises(ValueError, match="precision is 'half'; expected auto, fp32, bf16, fp16"):
        choose_precision("half", CPU)
    with pytest.raises(ValueError, match=r"device is 'tpu9', which cannot be used .*: choose cpu"):
        choose_device("tpu9")
    assert choose_device("cpu") == CPU
    if not torch.cuda.is_available():
        assert choose_device(None) == CPU
        with pytest.raises(ValueError, match="device is 'cuda:0'"):
            choose_device("cuda:0")
