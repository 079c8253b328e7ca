"""Notes for the user on options that are valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def notes(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line about each option that is valid but may not be intended.

    Args:
        opt: what BasicSR's `parse_options` returns.
    """
    for name, metric in ((opt.get("val") or {}).get("metrics") or {}).items():
        if metric["type"] in ("calculate_psnr", "calculate_ssim") and "test_y_channel" not in metric:
            yield (
                f"val: metrics: {name}: without test_y_channel: true it is of RGB. The papers' figures are of Y "
                "(luma), where they are some dB higher."
            )
        if metric["type"] == "calculate_niqe" and opt.get("is_train") and metric.get("better", "higher") == "higher":
            yield f"val: metrics: {name}: a lower NIQE is better; without better: lower, net_g_best is the worst."
    if not opt.get("is_train") and opt.get("network_g") and not opt["path"].get("pretrain_network_g"):
        yield "path: pretrain_network_g: there is no file of weights: the network is tested with random weights."
    if "debug" in opt["name"] and opt.get("is_train"):
        yield f"name: {opt['name']}: with `debug` in it BasicSR validates and saves every 8 iterations."
    if opt.get("is_train") and opt.get("val") and not any(phase != "train" for phase in opt["datasets"]):
        yield "val: there is no data set val: nothing is validated."
