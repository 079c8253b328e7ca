"""The same as `rcan recognition`."""

import sys

from rcan_plugin.cli import run

if __name__ == "__main__":
    sys.exit(run("recognition"))
