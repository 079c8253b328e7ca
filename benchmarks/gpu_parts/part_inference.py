"""Inference: one image through `feed_data` and `test` of the model, again and again."""

from __future__ import annotations

import functools
import gc
import math
import statistics
import time
from typing import Any

import torch

from benchmarks.gpu_parts.network_options import network
from benchmarks.gpu_parts.networks import DEVICE, GPU, build_network, model, options, require
from benchmarks.gpu_parts.results import Results, need_gpu
from benchmarks.gpu_parts.rows import SIZES

OUTPUT_DEVIATION = 0.25
"""Standard deviation of the output for the random weights, range 0 to 1: about that of a photograph."""

HALF = {"amp": "bf16"}
VAL: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": HALF,
    "blocks_graph": {**HALF, "compile": "blocks", "cuda_graph": True},
    "fused_graph": {**HALF, "cuda_graph": True},
    "tiles": {**HALF, "compile": "blocks", "cuda_graph": True, "tile": {"size": 192, "overlap": 32}},
}


def measure(row: str, dry_run: bool, progress: Results) -> dict[str, Any]:
    """Values of one row: ms per image, peak memory, difference to the float32 network."""
    size, key = row.split("/")
    height, width, scale = (16, 24, SIZES[size][2]) if dry_run else SIZES[size]
    ours = not key.startswith("shipped")
    if ours:
        val = dict(VAL[key])
        if dry_run and "tile" in val:
            val["tile"] = {"size": 12, "overlap": 4}
        more = {"kernels": "triton"} if key == "fused_graph" else {}
        train = {} if key == "fp32" else {"channels_last": True}
        opt = options(network("RCANArch", scale, dry_run, **more), train=train, val=val, ours=True, is_train=False)
        require(opt)
        if val.get("cuda_graph"):
            need_gpu("a CUDA graph")
    else:
        opt = options(network("RCAN", scale, dry_run), ours=False, is_train=False)
    weights, lq, expected = _reference(height, width, scale, dry_run)
    gc.collect()
    before = 0
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    _synchronize()
    began = time.perf_counter()
    built = model(opt)
    built.get_bare_model(built.net_g).load_state_dict(weights)

    def upscale() -> torch.Tensor:
        built.feed_data({"lq": lq, "lq_path": [""]})
        built.test()
        return built.output

    output = upscale()
    _synchronize()
    first = time.perf_counter() - began
    for _ in range(1 if dry_run else 6):
        output = upscale()
    error = (output.float().cpu() - expected) * 255
    squared = error.double().square().mean().item()
    values: dict[str, Any] = {
        "first_s": first,
        "max_levels": error.abs().max().item(),
        "psnr": 10 * math.log10(255**2 / squared) if squared else None,  # None: equal
    }
    del output
    seconds = []
    for _ in range(1 if dry_run else 15):
        _synchronize()
        began = time.perf_counter()
        upscale()
        _synchronize()
        seconds.append(time.perf_counter() - began)
    values["ms"] = statistics.median(seconds) * 1e3
    if GPU:
        values["peak_gib"] = (torch.cuda.max_memory_allocated() - before) / 2**30
    return values


@functools.cache
def _reference(height: int, width: int, scale: int, dry_run: bool) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """Random weights, a smooth random image, and the float32 network's output for it (on the CPU's side)."""
    torch.manual_seed(0)
    net = build_network(network("RCANArch", scale, dry_run)).to(DEVICE).eval()
    coarse = torch.rand(1, 3, height // 8, width // 8, device=DEVICE)
    lq = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        factor = OUTPUT_DEVIATION / net(lq).std().item()
        net.conv_last.weight.mul_(factor)
        net.conv_last.bias.mul_(factor)
        expected = net(lq).cpu()
    torch.backends.cudnn.allow_tf32 = tf32
    weights = {key: value.cpu() for key, value in net.state_dict().items()}
    return weights, lq, expected


def _synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()
