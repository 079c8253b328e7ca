"""Runs a network for inference, with precision, memory format, compiled blocks and CUDA graphs."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rcan_plugin.training.compiling import compile_blocks
from rcan_plugin.training.graphs import Recorder, reason_of, recorder_for

log = logging.getLogger("basicsr")

MAX_GRAPHS = 8
CONVERTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)
"""Modules whose weights a half-precision copy stores in half precision: those that autocast runs in half precision."""


class Runner:
    """Runs a network for inference: `sr = runner(lq)`. Images are float32, range 0 to 1.

    Without options it calls the network itself. With half precision or compiled blocks it keeps a copy of the network,
    whose weights are converted at the first image and after each change.

    Args:
        net: the network; set it to evaluation mode before use. It is not changed.
        precision: bfloat16 or float16; None for the network's own type.
        channels_last: memory format of images and weights.
        compiled: compile the repeated blocks (`compile_blocks`). No effect on a CPU.
        cuda_graph: record a CUDA graph for each image shape that occurs more than twice, at most `MAX_GRAPHS`. No
            effect on a CPU.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        precision: torch.dtype | None = None,
        channels_last: bool = False,
        compiled: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        self.net, self.precision = net, precision
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.device = next((tensor.device for tensor in _tensors(net)), torch.device("cpu"))
        self.compiled = compiled and self.device.type == "cuda"
        self.recorder: Recorder | None = recorder_for(self.device) if cuda_graph else None
        self.tensors: list[Tensor] = []
        self.versioned: list[Tensor] = []
        self.copy: nn.Module | None = None
        self.copied_versions = -1
        self.occurrences: Counter[Any] = Counter()
        self.graphs: dict[Any, tuple[Tensor, Tensor, Callable[[], None], list[Tensor]]] = {}

    def weights_changed(self) -> None:
        """Convert the weights again before the next image.

        Needed after changes that torch's version counters miss: changes by `Tensor.data`, a fused optimizer or a CUDA
        graph, weights or buffers replaced by other tensors (`load_state_dict(assign=True)`), and changes of weights
        that were made in `torch.inference_mode`.
        """
        self.copied_versions = -1

    @torch.no_grad()
    def __call__(self, lq: Tensor, *arguments: Any) -> Tensor:
        """Upscale images.

        Args:
            lq: N x C x H x W, range 0 to 1, on the network's device.
            arguments: further arguments of the network.

        Returns:
            N x C' x sH x sW, float32 unless the network itself is of another type; new memory.
        """
        image = lq.contiguous(memory_format=self.memory_format)
        self.network()
        if self.recorder is None:
            return self._run(image, *arguments)
        key = (image.shape, image.stride(), image.dtype, arguments)
        if key in self.graphs:
            static_lq, static_sr, replay, _ = self.graphs[key]
            static_lq.copy_(image)
            replay()
            return static_sr.clone()
        self.occurrences[key] += 1
        if self.occurrences[key] <= 2 or len(self.graphs) >= MAX_GRAPHS:
            return self.recorder.warm_up(lambda: self._run(image, *arguments))
        return self._record_and_run(key, image, *arguments)

    def _run(self, image: Tensor, *arguments: Any) -> Tensor:
        # `forward`, because calling a network that is compiled for training compiles it again for each image size.
        with self.context():
            sr = (self.copy or self.net).forward(image, *arguments)
        return sr if self.precision is None else sr.float()

    def network(self) -> nn.Module:
        """The network that is run, with current weights; call parts of it inside `context`."""
        if self.precision is not None or self.compiled:
            self._refresh_copy()
        elif self.recorder is not None and self.copied_versions < 0:
            # Graphs read the weights from fixed memory: they see changes in place, but not replaced tensors.
            tensors = list(_tensors(self.net))
            if any(old is not new for old, new in itertools.zip_longest(self.tensors, tensors)):
                self.graphs.clear()
            self.tensors, self.copied_versions = tensors, 0
        return self.copy or self.net

    def context(self) -> contextlib.AbstractContextManager[None]:
        """The context in which parts of the network must be called: autocast if a precision is set."""
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.precision, cache_enabled=False)

    def _record_and_run(self, key: Any, image: Tensor, *arguments: Any) -> Tensor:
        assert self.recorder is not None
        static_lq = image.clone(memory_format=torch.preserve_format)
        static_sr = self.recorder.warm_up(lambda: self._run(static_lq, *arguments))

        def upscale() -> None:
            static_sr.copy_(self._run(static_lq, *arguments))

        try:
            replay = self.recorder.record(upscale)
        except RuntimeError as error:
            self.recorder.recover()
            log.warning("cuda_graph: inference cannot be recorded: %s. It continues without.", reason_of(error))
            self.recorder = None
            self.graphs.clear()
            return static_sr
        # Keep the tensors that the graph reads: a network may build other buffers for the next image's size.
        self.graphs[key] = static_lq, static_sr, replay, list(_tensors(self.copy or self.net))
        return static_sr.clone()

    def _refresh_copy(self) -> None:
        """Make the copy of the network, or convert its weights again if they have changed."""
        if self.copied_versions < 0:
            # Listed once: iterating over the modules of a deep network takes as long as its kernels.
            self.tensors = list(_tensors(self.net))
            # Tensors made in `torch.inference_mode` have no version.
            self.versioned = [tensor for tensor in self.tensors if not tensor.is_inference()]
        versions = sum(tensor._version for tensor in self.versioned)
        if versions == self.copied_versions:
            return
        with torch.inference_mode(False), torch.no_grad():  # a copy made in inference mode could not be changed later
            targets = [] if self.copy is None else list(_tensors(self.copy))
            if self.copy is not None and _shapes(targets) == _shapes(self.tensors):
                for target, source in zip(targets, self.tensors, strict=True):
                    target.copy_(source)
            else:  # none yet, or one of the networks has built buffers for the size of an image
                self.copy = self._converted_copy()
                self.graphs.clear()
        self.copied_versions = versions

    def _converted_copy(self) -> nn.Module:
        network = copy.deepcopy(self.net).eval().requires_grad_(False)
        if self.memory_format == torch.channels_last:
            network = network.to(memory_format=torch.channels_last)
        if self.precision is not None:
            for module in network.modules():
                if isinstance(module, CONVERTED):
                    module.to(self.precision)
        if self.compiled:
            blocks = compile_blocks(network, training=False, dynamic=None)
            log.info("Inference: %s compiled, at the first image.", blocks)
        return network


def _shapes(tensors: list[Tensor]) -> list[torch.Size]:
    return [tensor.shape for tensor in tensors]


def _tensors(net: nn.Module) -> itertools.chain[Tensor]:
    return itertools.chain(net.parameters(), net.buffers())
