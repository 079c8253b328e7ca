"""Make the LMDBs that the option files name from DIV2K: ROOT/train/HR.lmdb and ROOT/valid/HR.lmdb.

    rcan prepare-div2k                                         # from the official archives or folders
    rcan prepare-div2k --download                              # download the archives first (4 GB)
    rcan prepare-div2k --scales 2 3 4 --degradations BI BD     # with LR images

The archives (DIV2K_train_HR.zip, DIV2K_valid_HR.zip, DIV2K_train_LR_bicubic_X2.zip, ...) are read without unpacking.
The official LR images are used if they exist; others are made. The same command resumes a stopped run.
Exit code: 0; 1 if images cannot be used (all of them are printed); 2 if another error ended it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rcan_plugin.cli import _lmdb

SPLITS = ("train", "valid")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan prepare-div2k",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, default=Path("datasets/DIV2K"), help="folder of the LMDBs")
    parser.add_argument("--source", type=Path, help="folder of the archives or folders, if not ROOT")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--download", action="store_true", help="download the HR archives that are missing")
    parser.add_argument("--base-url", help="address of the archives, in place of the official one")
    _lmdb.add_options(parser)
    args = parser.parse_args(argv)
    return _lmdb.run(lambda: make(args))


def make(args: argparse.Namespace) -> None:
    """Download what is missing, find the images of both splits, and make the LMDBs."""
    from rcan_plugin.preparation import div2k
    from rcan_plugin.preparation.prepare import check_out, prepare

    jobs = {split: _lmdb.job(args, args.root / split) for split in args.splits}
    for job in jobs.values():
        check_out(job.out)
    source = args.source or args.root
    if args.download:
        missing = [split for split, job in jobs.items() if not (job.out / "HR.lmdb").is_dir()]
        div2k.fetch(source, missing, args.base_url or div2k.BASE_URL)
    # All splits are found before the first is made, which takes a while.
    splits = [div2k.find_split(source, split, job) for split, job in jobs.items()]
    for job, hr, lr in splits:
        _lmdb.print_option_lines(job.out, prepare(job, hr, lr))


if __name__ == "__main__":
    sys.exit(main())
