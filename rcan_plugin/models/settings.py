"""The options of `AcceleratedSRModel`, read from an option file and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rcan_plugin._checks import is_number, is_whole, require_whole
from rcan_plugin.training.clipping import read_clipping
from rcan_plugin.training.freezing import Freeze

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
BLOCKS = "blocks"
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


@dataclass(frozen=True)
class Settings:
    """Read from an option file by `read`; `AcceleratedSRModel` documents the keys."""

    amp: str | None = None
    channels_last: bool = False
    compile: str | None = None
    cuda_graph: bool = False
    grad_accum: int = 1
    freeze: Freeze | None = None
    grad_clip: tuple[str, float] | None = None
    guard: tuple[float, int] | None = None
    self_ensemble: bool = False
    tile: tuple[int, int] | str | None = None
    pictures: int = 0
    val_amp: str | None = None
    val_compile: bool = False
    val_cuda_graph: bool = False
    keep_last: int | None = None

    @classmethod
    def read(cls, opt: Mapping[str, Any]) -> Settings:
        """Read and check BasicSR's options.

        Raises:
            ValueError: a value is out of range; the message names the key, the value and what was expected.
        """
        train, val, logger = (opt.get(name) or {} for name in ("train", "val", "logger"))
        batch = (opt.get("datasets", {}).get("train") or {}).get("batch_size_per_gpu", 0)
        grad_accum = _whole(train, "train", "grad_accum", 1)
        if grad_accum > 1 and (train.get("pixel_opt") or {}).get("reduction") == "sum":
            raise ValueError(f"train: grad_accum is {grad_accum} and pixel_opt: reduction sum; expected mean.")
        if batch and grad_accum > 1 and batch % grad_accum:
            raise ValueError(
                f"train: grad_accum is {grad_accum}, which does not divide batch_size_per_gpu {batch} into equal "
                "parts; expected a divisor."
            )
        compiled, cuda_graph = _compile(train.get("compile")), _flag(train, "train", "cuda_graph")
        if cuda_graph and compiled in ("reduce-overhead", "max-autotune"):
            raise ValueError(
                f"train: compile is {compiled}, which uses CUDA graphs of its own, and cuda_graph is true; expected "
                "compile: blocks, true or max-autotune-no-cudagraphs, or no cuda_graph."
            )
        if val.get("compile") not in (None, False, BLOCKS):
            raise ValueError(f"val: compile is {val['compile']!r}; expected {BLOCKS}, or no key.")
        return cls(
            amp=_precision(train, "train"),
            channels_last=_flag(train, "train", "channels_last"),
            compile=compiled,
            cuda_graph=cuda_graph,
            grad_accum=grad_accum,
            freeze=Freeze.read(train.get("freeze")),
            grad_clip=read_clipping(train.get("grad_clip")),
            guard=_guard(train.get("guard")),
            self_ensemble=_flag(val, "val", "self_ensemble"),
            tile=_tile(val.get("tile")),
            pictures=_whole(val, "val", "pictures", 0, least=0),
            val_amp=_precision(val, "val"),
            val_compile=val.get("compile") == BLOCKS,
            val_cuda_graph=_flag(val, "val", "cuda_graph"),
            keep_last=None if logger.get("keep_last") is None else _whole(logger, "logger", "keep_last", 1),
        )

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of activations and convolution weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def _flag(section: Mapping[str, Any], name: str, key: str) -> bool:
    value = section.get(key) or False
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {key} is {value!r}; expected true or false.")
    return value


def _whole(section: Mapping[str, Any], name: str, key: str, default: int, least: int = 1) -> int:
    value = default if section.get(key) is None else section[key]
    return require_whole(f"{name}: {key}", value, least)


def _precision(section: Mapping[str, Any], name: str) -> str | None:
    amp = section.get("amp") or None
    if amp not in (None, *PRECISIONS):
        raise ValueError(f"{name}: amp is {amp!r}; expected bf16 or fp16, or no key for float32.")
    return amp


def _compile(option: Any) -> str | None:
    if not option:
        return None
    if option is True:
        return "default"
    if option in (BLOCKS, *COMPILE_MODES):
        return str(option)
    raise ValueError(f"train: compile is {option!r}; expected true or one of {', '.join((BLOCKS, *COMPILE_MODES))}.")


def _guard(option: Any) -> tuple[float, int] | None:
    if option is None:
        return None
    if isinstance(option, Mapping) and option.keys() == {"factor", "stop_after"}:
        factor, stop_after = option["factor"], option["stop_after"]
        if is_number(factor, (int, float)) and factor > 1 and is_whole(stop_after):
            return float(factor), stop_after
    raise ValueError(
        f"train: guard is {option!r}; expected {{factor: F, stop_after: N}}, with F above 1 and a whole number N."
    )


def _tile(option: Any) -> tuple[int, int] | str | None:
    if option is None:
        return None
    if option == {"protocol": "official_chop"}:
        return "official_chop"
    if isinstance(option, Mapping) and option.keys() == {"size", "overlap"}:
        size, overlap = option["size"], option["overlap"]
        if is_whole(size) and is_whole(overlap, least=0) and 2 * overlap <= size:
            return size, overlap
    raise ValueError(
        f"val: tile is {option!r}; expected {{size: N, overlap: M}} in LR pixels, M at most half of N, or "
        "{protocol: official_chop}."
    )
