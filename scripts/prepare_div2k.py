"""The same as `rcan prepare-div2k`."""

import sys

from rcan_plugin.cli import run

if __name__ == "__main__":
    sys.exit(run("prepare-div2k"))
