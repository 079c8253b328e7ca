"""The same as `rcan prepare-benchmarks`."""

import sys

from rcan_plugin.cli.prepare_benchmarks import main

if __name__ == "__main__":
    sys.exit(main())
