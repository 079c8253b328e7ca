"""Training steps: a model, its loss and optimizer, fed the same random batch again and again."""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_parts.network_options import OURS, network
from benchmarks.gpu_parts.networks import (
    DEVICE,
    GPU,
    build_network,
    model,
    options,
    require,
    spandrel_rcan,
)
from benchmarks.gpu_parts.results import Results, need_gpu

BATCH, PATCH = 16, 48
WARM_UP = 12
"""Steps before timing: enough for a graph to be recorded."""

Step = Callable[[], object]
torch.backends.cudnn.benchmark = True  # as BasicSR's training sets it

OTHERS = {"edsr": "EDSR", "swinir": "SwinIR"}
PEAK_SIDE = 8192


def measure(row: str, dry_run: bool, progress: Results) -> dict[str, Any]:
    """Values of one row: ms per step, images per second, peak memory, seconds to the first step."""
    group, key = row.split("/")
    scale = 4 if group in OTHERS else int(group[1:])
    name = OTHERS.get(group)
    build = _builder(key, name, scale, dry_run)
    gc.collect()
    before = 0
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    torch.manual_seed(0)
    batch, patch = (2, 8) if dry_run else (BATCH, PATCH)
    lq, gt = (torch.rand(batch, 3, side, side, device=DEVICE) for side in (patch, patch * scale))
    _synchronize()
    began = time.perf_counter()
    step = build(lq, gt)
    step()
    _synchronize()
    first = time.perf_counter() - began
    for _ in range(1 if dry_run else WARM_UP):
        step()
    _synchronize()
    ready = time.perf_counter() - began
    if GPU:
        peak = (torch.cuda.max_memory_allocated() - before) / 2**30
        progress.write("partial", first_s=first, ready_s=ready, peak_gib=peak)
    seconds = _step_seconds(step, dry_run)
    values = {"ms": seconds * 1e3, "images_per_s": batch / seconds, "first_s": first, "ready_s": ready}
    if GPU:
        values["peak_gib"] = (torch.cuda.max_memory_allocated() - before) / 2**30
        values["reserved_gib"] = torch.cuda.memory_reserved() / 2**30
        values["card_tflops"] = _card_tflops()
    values["step_tflop"] = _step_flops(name or "RCANArch", scale, dry_run, batch, patch) / 1e12
    return values


def _builder(key: str, name: str | None, scale: int, dry_run: bool) -> Callable[[torch.Tensor, torch.Tensor], Step]:
    """What builds a row's model and returns its step."""
    if key in ("shipped", "shipped_again"):
        opt = options(network(name or "RCAN", scale, dry_run), ours=False)
        return lambda lq, gt: _model_step(opt, lq, gt)
    if key == "shipped_graph":
        need_gpu("a CUDA graph")
        return lambda lq, gt: _plain_step(build_network(network("RCAN", scale, dry_run)), lq, gt, graph=True)
    if key.startswith("redux"):
        net = spandrel_rcan(scale, dry_run)
        if key != "redux":
            need_gpu("a CUDA graph or compiling")
        if key == "redux_compiled":
            net.compile()
        return lambda lq, gt: _plain_step(net, lq, gt, graph=key == "redux_graph", bf16=True)
    fused = key.startswith("fused")
    more: dict[str, Any] = {"kernels": "triton"} if fused else {}
    if key in ("checkpoint", "fused_checkpoint"):
        more["use_checkpoint"] = True
    train = dict(OURS)
    if key != "eager":
        train["cuda_graph"] = True
    if key in ("blocks_graph", "checkpoint"):
        train["compile"] = "blocks"
    opt = options(network(name or "RCANArch", scale, dry_run, **more), train=train, ours=True)
    require(opt)
    if key != "eager":
        need_gpu("a CUDA graph")
    return lambda lq, gt: _model_step(opt, lq, gt)


def _model_step(opt: dict[str, Any], lq: torch.Tensor, gt: torch.Tensor) -> Step:
    """One step as BasicSR's training loop does it."""
    built = model(opt)
    data = {"lq": lq, "gt": gt, "lq_path": [""] * len(lq), "gt_path": [""] * len(lq)}
    iteration = 0

    def step() -> None:
        nonlocal iteration
        iteration += 1
        built.update_learning_rate(iteration)
        built.feed_data(data)
        built.optimize_parameters(iteration)

    return step


def _plain_step(net: torch.nn.Module, lq: torch.Tensor, gt: torch.Tensor, graph: bool, bf16: bool = False) -> Step:
    """Forward, L1 loss, backward and fused Adam; in one CUDA graph if asked."""
    net = net.to(DEVICE)
    if bf16:
        net = net.to(memory_format=torch.channels_last)
        lq = lq.contiguous(memory_format=torch.channels_last)
    extra = {"fused": True, "capturable": graph} if GPU else {}
    optimizer = torch.optim.Adam(net.parameters(), 1e-4, betas=(0.9, 0.99), **extra)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=not graph)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16, cache_enabled=not graph):
            output = net(lq.clone() if bf16 else lq)  # spandrel's network changes its input
        loss = F.l1_loss(output.float(), gt)
        loss.backward()
        optimizer.step()
        return loss

    if not graph:
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        step()
    return recorded.replay


def _step_seconds(step: Step, dry_run: bool) -> float:
    """Median seconds per step over five series, each about half a second long."""
    began = time.perf_counter()
    step()
    _synchronize()
    once = time.perf_counter() - began
    count, series = (1, 1) if dry_run else (max(3, min(50, round(0.5 / once))), 5)
    seconds = []
    for _ in range(series):
        began = time.perf_counter()
        for _ in range(count):
            step()
        _synchronize()
        seconds.append((time.perf_counter() - began) / count)
    return statistics.median(seconds)


def _synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()


def _step_flops(name: str, scale: int, dry_run: bool, batch: int, patch: int) -> float:
    """Floating-point operations of a training step: those of a forward pass, times three. 0 if not countable."""
    try:
        with torch.device("meta"):
            net = build_network(copy.deepcopy(network(name, scale, dry_run)))
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            net(torch.empty(1, 3, patch, patch, device="meta"))
    except (RuntimeError, NotImplementedError):
        return 0.0
    return 3.0 * batch * counter.get_total_flops()


_measured_tflops: list[float] = []


def _card_tflops() -> float:
    """Rate of a bf16 matrix product of side 8192, measured once per process."""
    if not _measured_tflops:
        matrix = torch.randn(PEAK_SIDE, PEAK_SIDE, device=DEVICE, dtype=torch.bfloat16)
        seconds = _step_seconds(lambda: matrix @ matrix, False)
        _measured_tflops.append(2 * PEAK_SIDE**3 / seconds / 1e12)
    return _measured_tflops[0]
