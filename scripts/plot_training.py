"""The same as `rcan plot-training`."""

import sys

from rcan_plugin.cli import run

if __name__ == "__main__":
    sys.exit(run("plot-training"))
