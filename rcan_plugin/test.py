"""`python -m rcan_plugin.test`: the same as `rcan test`, which `rcan_plugin.cli.test` describes."""

if __name__ == "__main__":  # spawned workers import this module again: it imports nothing for them
    import sys

    from rcan_plugin.cli import run

    sys.exit(run("test"))
