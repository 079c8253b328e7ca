"""`python -m rcan_plugin.train`: see `rcan_plugin.cli.train`."""

if __name__ == "__main__":
    from rcan_plugin.cli.train import main

    main()
