"""Exit codes and error messages that the commands share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from rcan_plugin._files import describe_error
from rcan_plugin.cli import stopping_at_once


def run(command: Callable[[], int], hint: str = "", module: str = "") -> int:
    """Run a command; print errors in place of tracebacks.

    Args:
        command: returns the exit code.
        hint: appended to the message after Ctrl-C and when memory runs out.
        module: imported first, because `command` needs it; Ctrl-C during this import ends the process.

    Returns:
        The exit code of `command`; 2 if it raised an expected error, 130 after Ctrl-C.
    """
    try:
        if module:
            with stopping_at_once():
                importlib.import_module(module)
        return command()
    except (OSError, RuntimeError, ValueError) as error:
        print(describe_error(error), file=sys.stderr)
        return 2
    except MemoryError:
        print(f"There is not enough memory: close other programs.{hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nStopped.{hint}", file=sys.stderr)
        return 130
