"""The same as `rcan verify-lmdb`."""

import sys

from rcan_plugin.cli.verify_lmdb import main

if __name__ == "__main__":
    sys.exit(main())
