"""The same as `rcan verify-lmdb`."""

import sys

from rcan_plugin.cli import run

if __name__ == "__main__":
    sys.exit(run("verify-lmdb"))
