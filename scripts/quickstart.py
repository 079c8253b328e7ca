"""Train a small RCAN and compare it with bicubic: `make quickstart`."""

import sys

from rcan_plugin.cli.quickstart import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped. Run the command again to continue.")
