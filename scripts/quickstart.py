"""Train a small RCAN and compare it with bicubic: `make quickstart`."""

import sys

from rcan_plugin.cli import run

if __name__ == "__main__":
    sys.exit(run("quickstart"))
