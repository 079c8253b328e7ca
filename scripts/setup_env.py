"""Make or complete `.venv`: torch, torchvision, BasicSR and this plugin. `make setup` runs it.

This file is only the gate. It must parse on every Python there is, back to 2.7, so that a wrong one meets a message
and not a SyntaxError; the steps are in `setup_steps.py`, written for the Pythons let through.

    python3.12 scripts/setup_env.py          set up with this Python
    python3.12 scripts/setup_env.py --fits   exit status 0 if set-up accepts this Python, and nothing else
"""

import platform
import sys

FITTING = ((3, 10), (3, 11), (3, 12), (3, 13))


def refusal(version, implementation, bits):  # type: ignore[no-untyped-def]  # Python 2.7 knows no annotations
    """Return why set-up cannot use such a Python and what to do, or an empty text if it can."""
    if tuple(version[:2]) in FITTING and implementation == "CPython" and bits == 64:
        return ""
    found = [
        implementation,
        ".".join(str(part) for part in version[:3]),
        "(" + str(bits) + " bits)",
        str(sys.executable),
    ]
    return "\n".join(
        [
            "set-up stopped, nothing was changed: this Python does not fit.",
            "  found:    " + " ".join(found),
            "  expected: CPython 3.10, 3.11, 3.12 or 3.13 (64 bits), for which torch and OpenCV have builds",
            "  remedy:   install one (package manager, pyenv, uv or conda) and name it, for example:",
            "            make setup PYTHON=python3.12",
        ]
    )


if __name__ == "__main__":
    problem = refusal(sys.version_info, platform.python_implementation(), 64 if sys.maxsize > 2**32 else 32)
    if problem:
        sys.exit(problem)
    if "--fits" not in sys.argv[1:]:
        import setup_steps

        sys.exit(setup_steps.main())
