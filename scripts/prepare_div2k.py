"""The same as `rcan prepare-div2k`."""

import sys

from rcan_plugin.cli.prepare_div2k import main

if __name__ == "__main__":
    sys.exit(main())
