"""Inference in pure torch, usable without BasicSR: `Upscaler`, self-ensemble (x8), tiles, the RCAN authors' chop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rcan_plugin.inference.upscaler import Upscaler

__all__ = ["Upscaler"]


def __getattr__(name: str) -> Any:
    """Import torch only when `Upscaler` is used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rcan_plugin.inference.upscaler import Upscaler

    return Upscaler
