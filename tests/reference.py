"""Finds the folder of published reference images, for the tests that compare with them.

The images are research data and not part of the repository: those tests are skipped where the folder is absent.
`RCAN_REFERENCE` names the folder; it holds `set5` and `set14`, each with `HR/x{2,3,4}` and `LRBI_replicate/x{2,3,4}`
(MATLAB's files as published with RCAN's test code and with SelfExSR), and in `set5` also `LRBI_symmetric/x{2,3,4,8}`
and `LRBD_octave/x{2,3,4}` (made with GNU Octave). Without them exactness is tested by `tests/degradations/golden.json`.
"""

import os
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("RCAN_REFERENCE") or Path(__file__).resolve().parents[2] / "shared" / "reference")

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"no reference images at {REFERENCE}; set RCAN_REFERENCE to their folder"
)
