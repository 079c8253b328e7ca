"""`RCANArch(kernels="triton")` where the kernels cannot run."""

from __future__ import annotations

import logging

import pytest
import torch

from rcan_plugin.archs import rcan_arch
from rcan_plugin.archs.rcan_arch import RCANArch

SMALL = {"num_feat": 16, "num_group": 1, "num_block": 2, "squeeze_factor": 4}


def test_the_block_computes_as_usual_after_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(logging.getLogger("basicsr"), "propagate", True)
    rcan_arch._warn_once.cache_clear()
    plain, net = RCANArch(**SMALL), RCANArch(**SMALL, kernels="triton")
    assert list(net.state_dict()) == list(plain.state_dict())
    net.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 5, 7)
    with torch.no_grad():
        assert torch.equal(net(x), plain(x))
    text = "RCANArch: kernels: triton is not used: device cpu: expected a CUDA device."
    assert {record.getMessage() for record in caplog.records} == {text}
    assert rcan_arch._warn_once.cache_info().misses == 1, "one warning for all blocks and images"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"kernels": "cuda"}, "kernels is 'cuda'; expected 'triton'"),
        ({"kernels": "triton", "channel_attention": False}, "channel_attention False, num_feat 16"),
        ({"kernels": "triton", "num_feat": 24}, "channel_attention True, num_feat 24"),
        ({"kernels": "triton", "activation": "silu"}, "activation 'silu'; expected activation 'relu'"),
    ],
)
def test_arguments_are_refused_by_name(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RCANArch(**{**SMALL, **arguments})
