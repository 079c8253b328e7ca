"""`python -m rcan_plugin.test`: see `rcan_plugin.cli.test`."""

if __name__ == "__main__":
    from rcan_plugin.cli.test import main

    main()
