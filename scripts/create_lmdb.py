"""The same as `rcan create-lmdb`."""

import sys

from rcan_plugin.cli.create_lmdb import main

if __name__ == "__main__":
    sys.exit(main())
