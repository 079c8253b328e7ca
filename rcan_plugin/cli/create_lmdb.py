"""Make LMDBs from a folder, a zip archive or an LMDB of images, or from pairs of them.

    rcan create-lmdb Flickr2K/Flickr2K_HR --out datasets/Flickr2K
    rcan create-lmdb mine/HR --lr mine/LR --out datasets/mine                  # pairs
    rcan create-lmdb mine/HR --scales 4 --degradations BI --out datasets/mine  # LR images are made

OUT/HR.lmdb, OUT/LRBI_x4.lmdb and so on are for `DegradationPairedDataset` and for BasicSR's `PairedImageDataset`.
Images in subfolders are included; an image's key is its name without folders and suffix. The same command resumes a
stopped run.
Exit code: 0; 1 if images cannot be used (all of them are printed); 2 if another error ended it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rcan_plugin.cli import _lmdb


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=None if argv is None else "rcan create-lmdb",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("hr", metavar="HR", type=Path, help="folder, zip archive or LMDB")
    parser.add_argument(
        "--lr", nargs="+", default=[], metavar="LR", type=Path, help="LR images in the same forms, one for each scale"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the LMDBs")
    _lmdb.add_options(parser)
    args = parser.parse_args(argv)
    return _lmdb.run(lambda: create(args))


def create(args: argparse.Namespace) -> None:
    """Find the images and make the LMDBs."""
    from rcan_plugin.images.sources import find_images
    from rcan_plugin.preparation.plan import measure_scale
    from rcan_plugin.preparation.prepare import check_out, prepare

    job = _lmdb.job(args, args.out)
    check_out(job.out)
    hr = find_images(args.hr, print)
    lr = {}
    for place in args.lr:
        images = find_images(place, print)
        scale = measure_scale(hr, images)
        if scale in lr:
            raise ValueError(f"{place} and another folder both hold LR images of x{scale}: give one.")
        lr[scale] = images
    _lmdb.print_option_lines(job.out, prepare(job, hr, lr))


if __name__ == "__main__":
    sys.exit(main())
