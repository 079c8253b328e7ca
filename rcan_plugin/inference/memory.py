"""Memory for inference: how much is free, how much a call takes, out-of-memory errors."""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CGROUPS = (  # a container's limit, what it uses, and statistics: version 2 and version 1
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


MEASURED_SIDE = 48
"""Side in pixels of the image with which a network's memory is measured."""
TENSORS_SHARE = 0.7
"""Share of the free memory for tensors: convolutions need workspace, and other programs need memory too."""


class TooLittleMemory(MemoryError):
    """There is too little memory for a call. The message says what to do."""


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes; for a CPU that of the system or the container, whichever is less."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + reserved  # torch reuses memory that it has reserved
    return max(0, min(_available(), _left_to_container(Path("/sys/fs/cgroup"))))


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """Run `call` and return the peak memory of the tensors that it allocated, in bytes."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with _Counting() as counting:
        call()
    return counting.peak


def bytes_per_pixel(call: Callable[[torch.Tensor], Any], channels: int, device: torch.device) -> float:
    """Return the peak memory of `call` for an image, divided by the number of pixels, measured on a small image."""
    image = torch.zeros(1, channels, MEASURED_SIDE, MEASURED_SIDE, device=device)
    call(image)  # the first call also converts weights
    return max(1, peak_bytes(lambda: call(image), device)) / MEASURED_SIDE**2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, of Python or of torch, means that there was too little memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # "could not create ..." are errors of oneDNN, which gives no reason.
    words = (
        *("DefaultCPUAllocator", "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED"),
        *("could not create a primitive", "could not create a memory object"),
    )
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


class _Counting(TorchDispatchMode):
    """Counts the bytes of storages that operations return, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.tracked: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; the default method would import dynamo, which takes seconds (torch 2.14)."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if id(storage) not in known and id(storage) not in self.tracked:
                    self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self.tracked.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self.tracked.discard(key)
        self.now -= size


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        names = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" in names:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        return sys.maxsize


def _left_to_container(root: Path) -> int:
    """Memory left below the container's limit, counting cached files as free; a large number if there is no limit."""
    left = sys.maxsize
    for limit, used, statistics in CGROUPS:
        try:
            pages = re.search(r"^(?:total_)?inactive_file (\d+)$", (root / statistics).read_text(), re.MULTILINE)
            droppable = int(pages[1]) if pages else 0
            left = min(left, int((root / limit).read_text()) - int((root / used).read_text()) + droppable)
        except (OSError, ValueError):  # no such file, or `max`: no limit
            continue
    return left
