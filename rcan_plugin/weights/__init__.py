"""Files of weights: reading them safely, finding the state dict, the network they belong to, writing (pure torch).

Examples:
    >>> from rcan_plugin import weights
    >>> network = weights.load("net_g_latest.pth")  # doctest: +SKIP
    >>> weights.save("net.safetensors", weights.read("net_g_latest.pth"))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rcan_plugin.weights.loading import Weights, load, read
    from rcan_plugin.weights.saving import save

__all__ = ["Weights", "load", "read", "save"]


def __getattr__(name: str) -> Any:
    """Import torch only when weights are read or written."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rcan_plugin.weights import loading, saving

    return getattr(saving if name == "save" else loading, name)
