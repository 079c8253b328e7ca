"""Exit codes and error messages that the commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rcan_plugin._files import in_words


def run(command: Callable[[], int], hint: str = "") -> int:
    """Run a command; print errors in place of tracebacks.

    Args:
        command: returns the exit code.
        hint: appended to the message after Ctrl-C and when memory runs out.

    Returns:
        The exit code of `command`; 2 if it cannot be done, 130 after Ctrl-C.
    """
    try:
        return command()
    except (OSError, RuntimeError, ValueError) as error:
        print(in_words(error), file=sys.stderr)
        return 2
    except MemoryError:
        print(f"There is not enough memory: close other programs.{hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nStopped.{hint}", file=sys.stderr)
        return 130
