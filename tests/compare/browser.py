"""A headless Chromium for tests of pages."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("RCAN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
HAS_PLAYWRIGHT = importlib.util.find_spec("playwright") is not None

needs_chromium = pytest.mark.skipif(
    not (CHROMIUM and HAS_PLAYWRIGHT),
    reason="no browser: pip install playwright, and install Chromium (Debian, Ubuntu: apt install chromium; "
    "elsewhere: playwright install chromium) or set RCAN_CHROMIUM to the program",
)
