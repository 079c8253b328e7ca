"""Doctest collection imports every module; most of these need Triton."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["[!_]*.py"]
