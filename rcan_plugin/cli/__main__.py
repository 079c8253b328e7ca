"""`python -m rcan_plugin.cli COMMAND`: the same as `rcan COMMAND`."""

if __name__ == "__main__":
    import sys

    from rcan_plugin.cli import main

    sys.exit(main())
