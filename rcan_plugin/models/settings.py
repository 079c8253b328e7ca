"""What an option file may ask of `AcceleratedSRModel`, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from rcan_plugin._checks import is_number
from rcan_plugin.training.clipping import read_clipping

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


@dataclass(frozen=True)
class Settings:
    """Read from an option file by `read`; the keys are told in `AcceleratedSRModel`."""

    amp: str | None = None
    channels_last: bool = False
    compile: str | None = None
    grad_accum: int = 1
    grad_clip: tuple[str, float] | None = None
    guard: tuple[float, int] | None = None
    self_ensemble: bool = False
    tile: tuple[int, int] | str | None = None
    pictures: int = 0
    keep_last: int | None = None

    @classmethod
    def read(cls, opt: Mapping[str, Any]) -> Settings:
        """From BasicSR's options.

        Raises:
            ValueError: a value that is out of range; the text names the key, the value and what was expected.
        """
        train, val, logger = (_section(opt, name) for name in ("train", "val", "logger"))
        batch = (opt.get("datasets", {}).get("train") or {}).get("batch_size_per_gpu", 0)
        accumulated = _whole(train, "train", "grad_accum", 1)
        if accumulated > 1 and (train.get("pixel_opt") or {}).get("reduction") == "sum":
            raise ValueError(f"train: grad_accum is {accumulated} and pixel_opt: reduction sum; expected mean.")
        if batch and accumulated > 1 and batch % accumulated:
            raise ValueError(
                f"train: grad_accum is {accumulated} and batch_size_per_gpu {batch}, which it cuts into parts of one "
                "size: use a divisor."
            )
        compiled = train.get("compile") or None
        if compiled is not None and compiled is not True and compiled not in COMPILE_MODES:
            raise ValueError(f"train: compile is {compiled!r}; expected true or one of {', '.join(COMPILE_MODES)}.")
        amp = train.get("amp") or None
        if amp not in (None, *PRECISIONS):
            raise ValueError(f"train: amp is {amp!r}; expected bf16 or fp16, or leave it out for float32.")
        return cls(
            amp=amp,
            channels_last=_flag(train, "train", "channels_last"),
            compile="default" if compiled is True else compiled,
            grad_accum=accumulated,
            grad_clip=read_clipping(train.get("grad_clip")),
            guard=_guard(train.get("guard")),
            self_ensemble=_flag(val, "val", "self_ensemble"),
            tile=_tile(val.get("tile")),
            pictures=_whole(val, "val", "pictures", 0, least=0),
            keep_last=None if logger.get("keep_last") is None else _whole(logger, "logger", "keep_last", 1),
        )


def _section(opt: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return opt.get(name) or {}


def _flag(section: Mapping[str, Any], name: str, key: str) -> bool:
    value = section.get(key) or False
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {key} is {value!r}; expected true or false.")
    return value


def _whole(section: Mapping[str, Any], name: str, key: str, default: int, least: int = 1) -> int:
    value = default if section.get(key) is None else section[key]
    if not is_number(value, int) or value < least:
        raise ValueError(f"{name}: {key} is {value!r}; expected a whole number of {least} or more.")
    return value


def _guard(option: Any) -> tuple[float, int] | None:
    if option is None:
        return None
    if isinstance(option, Mapping) and option.keys() == {"factor", "stop_after"}:
        factor, stop_after = option["factor"], option["stop_after"]
        if is_number(factor, (int, float)) and factor > 1 and is_number(stop_after, int) and stop_after > 0:
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
        if is_number(size, int) and is_number(overlap, int) and 0 <= 2 * overlap <= size and size > 0:
            return size, overlap
    raise ValueError(
        f"val: tile is {option!r}; expected {{size: N, overlap: M}} in LR pixels, M at most half of N, or "
        "{protocol: official_chop}."
    )
