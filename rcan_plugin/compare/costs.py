"""Parameters, multiply-adds, latency and peak memory of networks."""

from __future__ import annotations

import ctypes
import logging
import platform
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rcan_plugin.compare import complexity

if TYPE_CHECKING:
    from rcan_plugin.compare.networks import EntrantNetwork

log = logging.getLogger("basicsr")

OUTPUT = (720, 1280)
"""Height and width of the output at which papers count multiply-adds, and latency is measured here."""
INPUT = (256, 256)
"""Height and width of the input at which the NTIRE challenge on efficient super-resolution counts them."""
RUNS, SECONDS, LEAST_RUNS = 9, 2.0, 2
"""Runs of each network; fewer, but at least `LEAST_RUNS`, where they take longer than `SECONDS` together."""


def input_size(scale: int) -> tuple[int, int]:
    """Height and width of the LR image of an output of 1280x720.

    >>> input_size(4), input_size(3)
    ((180, 320), (240, 427))
    """
    return round(OUTPUT[0] / scale), round(OUTPUT[1] / scale)


def counts(upscaler: EntrantNetwork) -> dict[str, Any]:
    """Parameters and multiply-adds; those of a self-ensemble are eight times the network's."""
    times = 8 if upscaler.entrant.method.ensemble else 1
    sizes = {"1280x720": input_size(upscaler.entrant.scale), "256x256": INPUT}
    net = _AtScale(upscaler) if upscaler.arguments else upscaler.net
    multiply_adds: dict[str, int] | None
    try:
        multiply_adds = {name: times * complexity.multiply_adds(net, *size) for name, size in sizes.items()}
    except Exception as error:  # the network may need the values of tensors
        log.warning("%s: multiply-adds cannot be counted: %s", upscaler.entrant.method.name, error)
        multiply_adds = None
    return {"parameters": complexity.parameters(upscaler.net), "multiply_adds": multiply_adds}


class _AtScale(nn.Module):
    """A network with several scales, fixed to one of them."""

    def __init__(self, upscaler: EntrantNetwork) -> None:
        super().__init__()
        self.net, self.arguments = upscaler.net, upscaler.arguments
        self.num_in_ch = getattr(self.net, "num_in_ch", 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x, *self.arguments)
        return result


def latencies(upscalers: Mapping[str, EntrantNetwork], device: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Median time and peak memory of each network; the networks take turns.

    Args:
        upscalers: by key.
        device: `cpu`, `cuda`, ...

    Yields:
        Key of the network, and its `latency` and `memory_mb` for the report.
    """
    images = {
        key: torch.rand(1, 3, *input_size(upscaler.entrant.scale), generator=torch.Generator().manual_seed(0)).to(
            device
        )
        for key, upscaler in upscalers.items()
    }
    memory = {key: _peak_memory(upscaler, images[key], device) for key, upscaler in upscalers.items()}  # the warm-up
    times: dict[str, list[float]] = {key: [] for key in upscalers}
    for run in range(RUNS):
        for key, upscaler in upscalers.items():
            if run < LEAST_RUNS or sum(times[key]) < SECONDS:
                times[key].append(_seconds(upscaler, images[key], device))
    for key, upscaler in upscalers.items():
        height, width = input_size(upscaler.entrant.scale)
        yield (
            key,
            {
                "latency": {
                    "median_ms": 1000 * median(times[key]),
                    "runs": len(times[key]),
                    "input": f"{width}x{height}",
                    "device": describe_device(device),
                },
                "memory_mb": memory[key],
            },
        )


def describe_device(device: str) -> str:
    """Name of the processor, and threads of a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    model = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        model = found[1] if found else ""
    return f"{model or platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _seconds(upscaler: EntrantNetwork, image: torch.Tensor, device: str) -> float:
    _synchronize(device)
    start = time.perf_counter()
    upscaler.tensor(image)
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _peak_memory(upscaler: EntrantNetwork, image: torch.Tensor, device: str) -> float | None:
    """Peak memory of one run in MiB, weights included; None if the system does not report it."""
    weights = sum(tensor.nbytes for tensor in upscaler.whole.parameters())
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        upscaler.tensor(image)
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before + weights) / 2**20
    try:
        ctypes.CDLL(None).malloc_trim(0)  # otherwise the run reuses freed memory, which is not counted
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
        before = _status("VmRSS")
        upscaler.tensor(image)
        return max(0, _status("VmHWM") - before + weights) / 2**20
    except (OSError, AttributeError, LookupError):
        upscaler.tensor(image)
        return None


def _status(name: str) -> int:
    """A value of /proc/self/status in bytes."""
    found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(name)
    return 1024 * int(found[1])
