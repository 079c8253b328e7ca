"""`python -m rcan_plugin.train`: the same as `rcan train`, which `rcan_plugin.cli.train` describes."""

if __name__ == "__main__":  # spawned workers import this module again: it imports nothing for them
    import sys

    from rcan_plugin.cli import run

    sys.exit(run("train"))
