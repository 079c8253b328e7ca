"""Train a small RCAN on photographs at hand and show what it gained: `make quickstart`."""

import sys

from rcan_plugin.quickstart import main

if __name__ == "__main__":
    sys.exit(main())
