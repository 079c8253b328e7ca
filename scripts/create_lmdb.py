"""Make LMDBs of a folder, a zip archive or an LMDB of images, or of pairs.

    python scripts/create_lmdb.py Flickr2K/Flickr2K_HR --out datasets/Flickr2K
    python scripts/create_lmdb.py mine/HR --lr mine/LR --out datasets/mine                  # pairs
    python scripts/create_lmdb.py mine/HR --scales 4 --degradations BI --out datasets/mine  # LR images made

OUT/HR.lmdb, and OUT/LRBI_x4.lmdb and so on, are for `DegradationPairedDataset` and for BasicSR's `PairedImageDataset`.
Files in folders below are taken too; an image's key is its name without folders and ending. A run that was stopped is
taken up.
Exit code: 0; 1 if images cannot be used, all of which are listed; 2 if it cannot be done for another reason.
"""

import argparse
import sys
from pathlib import Path

from rcan_plugin.images.sources import find_images
from rcan_plugin.preparation import command
from rcan_plugin.preparation.prepare import prepare


def main() -> int:
    """Find the images and make the LMDBs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hr", metavar="HR", type=Path, help="folder, zip archive or LMDB")
    parser.add_argument("--lr", nargs="+", default=[], metavar="LR", type=Path, help="the same of LR images, by scale")
    parser.add_argument("--out", type=Path, required=True, help="folder of the LMDBs")
    command.add_options(parser)
    args = parser.parse_args()

    def make() -> None:
        job = command.job(args, args.out)
        hr = find_images(args.hr)
        lr = {}
        for place in args.lr:
            images = find_images(place)
            scale = command.scale_of(hr, images)
            if scale in lr:
                raise ValueError(f"{place} and another folder both hold LR images of x{scale}: name one.")
            lr[scale] = images
        command.say_how_to_use(job.out, prepare(job, hr, lr))

    return command.run(make)


if __name__ == "__main__":
    sys.exit(main())
