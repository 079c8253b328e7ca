"""Chooses the device and the precision in which a network runs."""

from __future__ import annotations

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device of that name; None: a GPU if there is one, else the CPU.

    Raises:
        ValueError: torch does not know the device, or the machine lacks it.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()  # `meta` has no values
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0].removesuffix(".")
        raise ValueError(f"device is {str(device)!r}, which cannot be used ({reason}): choose cpu.") from None
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type of that name, None for float32; `auto`: bfloat16 where the device has units for it.

    Raises:
        ValueError: another name.
    """
    if precision == "auto":
        return torch.bfloat16 if has_bf16_units(device) else None
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


def has_bf16_units(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32: GPUs from Ampere on, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # Functions of torch 2.6 and later without a public name.
    names = "_is_avx512_bf16_supported", "_is_amx_tile_supported"
    return any(getattr(torch.cpu, name, bool)() for name in names)
