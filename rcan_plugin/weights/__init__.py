"""Reads files of weights safely, finds the state dict and the network that it belongs to, writes weights (pure torch).

Examples:
    >>> from rcan_plugin import weights
    >>> network = weights.load("net_g_latest.pth")  # doctest: +SKIP
    >>> weights.save("net.safetensors", weights.read("net_g_latest.pth"))  # doctest: +SKIP
    >>> weights.light(2).name
    'RCANlight_x2.safetensors'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rcan_plugin.weights.loading import Weights, load, read
    from rcan_plugin.weights.saving import save

__all__ = ["Weights", "light", "load", "read", "save"]

LIGHT_SCALES = (2, 3, 4)


def light(scale: int) -> Path:
    """The file of the light RCAN that comes with the project; README.md beside it says how it was trained.

    Raises:
        ValueError: the light RCAN does not have this scale.
    """
    if scale not in LIGHT_SCALES:
        raise ValueError(f"scale is {scale!r}; the light RCAN has {', '.join(map(str, LIGHT_SCALES))}.")
    return Path(__file__).parent / f"light/RCANlight_x{scale}.safetensors"


def __getattr__(name: str) -> Any:
    """Import torch only when weights are read or written."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rcan_plugin.weights import loading, saving

    return getattr(saving if name == "save" else loading, name)
