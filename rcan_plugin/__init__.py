"""RCAN and degradation-aware paired data for an unmodified BasicSR.

Importing this package imports neither torch nor BasicSR: `import torch` imports it (see `autoload`).
"""

__version__ = "0.1.0"
