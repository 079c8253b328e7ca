"""CUDA graphs: record the kernels that a function launches, and replay them without launching each from the host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

Result = TypeVar("Result")


class Recorder(Protocol):
    """The interface to CUDA graphs that `CapturedStep` and inference use; tests replace it on a CPU."""

    def warm_up(self, function: Callable[[], Result]) -> Result:
        """Run a function that will be recorded later."""

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        """Record a function without executing its kernels; the result replays them."""

    def recover(self) -> None:
        """Make the device usable again after `record` has failed."""


class CudaRecorder:
    """Records functions as CUDA graphs that share one memory pool.

    Sharing is safe because graphs are replayed one at a time, each from its inputs to its end: memory that a graph
    needs only while it runs may be used by another one afterwards. Tensors that are still referenced when a recording
    ends, such as outputs, keep their memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Warm-up and capture on one side stream, as torch's documentation of graphs requires.
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm_up(self, function: Callable[[], Result]) -> Result:
        """Run a function on the stream on which it will be recorded."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = function()
        current.wait_stream(self.stream)
        return result

    def record(self, function: Callable[[], None]) -> Callable[[], None]:
        """Record a function without executing its kernels; the result replays them on the current stream.

        Raises:
            RuntimeError: the function does something that cannot be recorded, such as waiting for the device.
        """
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self.device)
        try:
            # thread_local: CUDA calls of the loader's pin-memory thread must not break the recording.
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                function()
        finally:
            torch.cuda.set_stream(current)  # if ending the recording fails, torch leaves its own stream set
        return graph.replay

    def recover(self) -> None:
        """Make the device usable again after `record` has failed."""
        with contextlib.suppress(RuntimeError, AttributeError):
            # A failed recording leaves the allocator in its recording mode.
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self.pool)
        torch.cuda.synchronize(self.device)
        self.pool = torch.cuda.graph_pool_handle()
        with contextlib.suppress(RuntimeError):
            # A recording that succeeds ends the recording mode of torch's random number generator too.
            value = torch.zeros((), device=self.device)

            def add() -> None:
                value.add_(1)

            self.record(add)
        torch.cuda.synchronize(self.device)


def reason_of(error: BaseException) -> str:
    """Why recording failed, in one line: the first error. A later error, when torch ends recording, hides it."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error) or repr(error)).splitlines()[0]


def recorder_for(device: torch.device) -> Recorder | None:
    """The recorder of a device; None for a CPU, which has no graphs."""
    return CudaRecorder(device) if device.type == "cuda" else None
