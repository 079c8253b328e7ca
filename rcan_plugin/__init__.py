"""RCAN and degradation-aware paired data for an unmodified BasicSR.

Importing this package imports neither torch nor BasicSR, because `import torch` imports it (see `autoload`).
"""

from rcan_plugin._version import __version__

__all__ = ["__version__", "register"]


def register() -> None:
    """Import BasicSR and register the plugin's classes in its registries.

    Needed only where the plugin does not load itself: with `RCAN_PLUGIN_AUTOLOAD=0`, with
    `TORCH_DEVICE_BACKEND_AUTOLOAD=0`, or from a source tree that is not installed. Calling it twice does no harm.

    Raises:
        ImportError: BasicSR, or something it needs, is not installed.
    """
    from rcan_plugin import autoload

    autoload.supply_functional_tensor()
    autoload.connect()
