"""Make of DIV2K the LMDBs that the option files name: ROOT/train/HR.lmdb and ROOT/valid/HR.lmdb.

    python scripts/prepare_div2k.py                                         # from the official archives or folders
    python scripts/prepare_div2k.py --download                              # fetch the archives first (4 GB)
    python scripts/prepare_div2k.py --scales 2 3 4 --degradations BI BD     # and LR images beside them

The archives (DIV2K_train_HR.zip, DIV2K_valid_HR.zip, DIV2K_train_LR_bicubic_X2.zip, ...) are read as they are. LR
images are the official ones where they are there, else made by our degradations. A run that was stopped is taken up.
Exit code: 0; 1 if images cannot be used, all of which are listed; 2 if it cannot be done for another reason.
"""

import argparse
import sys
from pathlib import Path

from rcan_plugin.preparation import command, div2k
from rcan_plugin.preparation.prepare import prepare


def main() -> int:
    """Fetch what is to be fetched, find what there is of both splits, and make them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("datasets/DIV2K"), help="where the LMDBs go")
    parser.add_argument("--source", type=Path, help="where the archives or folders are, if not in ROOT")
    parser.add_argument("--splits", nargs="+", choices=tuple(div2k.IMAGES), default=list(div2k.IMAGES))
    parser.add_argument("--download", action="store_true", help="fetch the HR archives that are missing")
    parser.add_argument("--base-url", default=div2k.BASE_URL, help="where the archives are fetched from")
    command.add_options(parser)
    args = parser.parse_args()

    def make() -> None:
        jobs = {split: command.job(args, args.root / split) for split in args.splits}
        source = args.source or args.root
        if args.download:
            missing = [split for split, job in jobs.items() if not (job.out / "HR.lmdb").is_dir()]
            div2k.fetch(source, missing, args.base_url)
        # All of it before the first is made, which takes its time.
        found = [div2k.find(source, split, job) for split, job in jobs.items()]
        for job, hr, lr in found:
            command.say_how_to_use(job.out, prepare(job, hr, lr))

    return command.run(make)


if __name__ == "__main__":
    sys.exit(main())
