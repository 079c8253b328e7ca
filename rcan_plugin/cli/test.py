"""`python -m rcan_plugin.test -opt FILE`: BasicSR's own testing, with results under the current folder.

Data and weights are looked for before an earlier result of the same name is moved aside.
"""

from __future__ import annotations

from pathlib import Path

import torch

import rcan_plugin
from rcan_plugin.cli.train import run_without_gpu
from rcan_plugin.options import check as options


def main() -> None:
    """Test as the command line says (BasicSR's arguments)."""
    rcan_plugin.register()  # before BasicSR is imported: see `train`
    import basicsr.test

    basicsr.test.parse_options = options.checked(basicsr.test.parse_options, only_ours=False)
    if not torch.cuda.is_available():
        run_without_gpu()
    basicsr.test.test_pipeline(str(Path.cwd()))


if __name__ == "__main__":
    main()
