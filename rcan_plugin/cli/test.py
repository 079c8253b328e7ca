"""Test with BasicSR, from any folder and on any machine: `rcan test -opt FILE.yml`.

The arguments are those of `python basicsr/test.py`. Results are written under the current folder. The option file, the
data and the weights are checked before BasicSR renames an earlier result of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

import rcan_plugin
from rcan_plugin.cli import stopping_at_once
from rcan_plugin.cli.train import run_without_gpu, set_arguments
from rcan_plugin.options import check as options


def main(argv: Sequence[str] | None = None) -> int:
    """Test.

    Args:
        argv: BasicSR's arguments; by default those of the process.

    Raises:
        SystemExit: wrong arguments or options.
    """
    with stopping_at_once():
        rcan_plugin.register()  # before the import of BasicSR: see `train.main`
        import basicsr.test

    set_arguments("rcan test", argv)
    basicsr.test.parse_options = options.checked(basicsr.test.parse_options, only_ours=False)
    if not torch.cuda.is_available():
        run_without_gpu()
    basicsr.test.test_pipeline(str(Path.cwd()))
    return 0
