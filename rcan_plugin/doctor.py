"""`python -m rcan_plugin.doctor`: see `rcan_plugin.cli.doctor`."""

if __name__ == "__main__":
    import sys

    from rcan_plugin.cli.doctor import main

    sys.exit(main())
