"""Where the published reference images are, for the tests that compare with them."""

import os
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("RCAN_REFERENCE") or Path(__file__).resolve().parents[2] / "shared" / "reference")

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"no reference images at {REFERENCE}; set RCAN_REFERENCE to their folder"
)
