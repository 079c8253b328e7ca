"""`python -m rcan_plugin.doctor`: the same as `rcan doctor`, which `rcan_plugin.cli.doctor` describes."""

if __name__ == "__main__":  # spawned workers import this module again: it imports nothing for them
    import sys

    from rcan_plugin.cli import run

    sys.exit(run("doctor"))
