"""The same as `rcan identify`."""

import sys

from rcan_plugin.cli.identify import main

if __name__ == "__main__":
    sys.exit(main())
