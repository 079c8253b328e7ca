"""Train a small RCAN on photographs at hand and show what it gained: `make quickstart`."""

import sys

from rcan_plugin.cli.quickstart import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped. Run it again to go on.")
