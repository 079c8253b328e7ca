"""Create or complete `.venv`: torch, torchvision, BasicSR and this plugin. `make setup` runs it.

This file only checks the Python and the arguments. It must parse on every Python back to 2.7, so that an unsuitable one
gets a message and not a SyntaxError. The steps are in `setup_steps.py`, which needs Python 3.10 to 3.13.
"""

import platform
import sys

USAGE = """\
usage: python3.12 scripts/setup_env.py [--fits | --help]

Create or complete .venv with this Python (3.10 to 3.13): torch, torchvision, BasicSR and this plugin, up to 9.5 GB of
disk. Does nothing if .venv is complete. After an interruption, run it again: it continues where it stopped.

  --fits   only check this Python: exit status 0 if set-up accepts it; installs nothing
  --help   show this text; installs nothing
"""

SUPPORTED = ((3, 10), (3, 11), (3, 12), (3, 13))


def refusal(version, implementation, bits):  # type: ignore[no-untyped-def]  # Python 2.7 has no annotations
    """Return why set-up cannot use such a Python and what to do, or an empty text if it can."""
    if tuple(version[:2]) in SUPPORTED and implementation == "CPython" and bits == 64:
        return ""
    found = [
        implementation,
        ".".join(str(part) for part in version[:3]),
        "(" + str(bits) + " bits)",
        str(sys.executable),
    ]
    return "\n".join(
        [
            "set-up stopped, nothing was changed: this Python is not supported.",
            "  found:    " + " ".join(found),
            "  expected: CPython 3.10, 3.11, 3.12 or 3.13 (64 bits), for which torch and OpenCV have builds",
            "  remedy:   install one (package manager, pyenv, uv or conda) and name it, for example:",
            "            make setup PYTHON=python3.12",
        ]
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(USAGE)
        sys.exit(0)
    if arguments and arguments != ["--fits"]:
        sys.stderr.write(USAGE + "\nset-up stopped, nothing was changed: unknown: " + " ".join(arguments) + "\n")
        sys.exit(2)
    problem = refusal(sys.version_info, platform.python_implementation(), 64 if sys.maxsize > 2**32 else 32)
    if problem:
        sys.exit(problem)
    if not arguments:
        try:
            import setup_steps
        except KeyboardInterrupt:
            sys.exit(130)
        sys.exit(setup_steps.main())
