"""Runs pip in `.venv`, and explains to the user why it failed. Needs only the standard library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Measured with torch 2.15 for CUDA 13 on Linux: `.venv` 6.4 GB; downloaded packages, kept while pip unpacks them and
# again in its cache, 2.7 GB. On other systems torch has no CUDA and is far smaller.
VENV_GB, PACKAGES_GB = (6.5, 3.0) if sys.platform == "linux" else (2.0, 0.5)

NO_NETWORK = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|MaxRetryError|IncompleteRead|ProtocolError"
    r"|name resolution|Name or service not known|Connection (refused|reset|aborted|broken)|Network is unreachable"
)
NETWORK_VARIABLE = re.compile(
    r"(https?|all|no)_proxy|PIP_(EXTRA_)?INDEX_URL|PIP_(NO_INDEX|PROXY|CERT|CONFIG_FILE)|SSL_CERT_FILE", re.I
)
BROKEN_OFF = "not enough bytes were received"
NO_SPACE = re.compile(r"No space left on device|Errno 28|Disk quota exceeded|Errno 122")


class SetupError(Exception):
    """Set-up cannot continue. The text says why and what to do."""


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def environment(**more: str) -> dict[str, str]:
    """Return the environment without the variables that make Python or pip read or install outside `.venv`."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX")}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_USER": "0", **more}


def pip(venv: Path, *arguments: str, **variables: str) -> None:
    """Run pip in `.venv` and show its output.

    Args:
        venv: the virtual environment.
        arguments: of pip, such as `"install", "torch"`.
        variables: additional environment variables.

    Raises:
        SetupError: pip failed; the text names the likely cause.
    """
    log, temporary = venv / "pip.log", venv / "tmp"
    # pip unpacks gigabytes, and /tmp is often a small RAM disk.
    temporary.mkdir(exist_ok=True)
    options = ["--no-input", "--disable-pip-version-check", f"--log={log}"]
    if arguments[0] == "install" and not sys.stdout.isatty():
        options.append("--progress-bar=off")
    command = [str(python_of(venv)), "-m", "pip", *arguments, *options]
    errors: list[str] = []
    # stdout is inherited, for progress bars. So is the lock of `one_at_a_time` (`close_fds`): a pip that outlives this
    # process still holds it.
    with subprocess.Popen(
        command,
        env=environment(TMPDIR=str(temporary), **variables),
        cwd=venv.parent,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        close_fds=False,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            sys.stderr.write(line)
            errors.append(line)
    if process.returncode:
        raise SetupError(diagnosis(arguments, "".join(errors), shutil.disk_usage(venv).free, log))


def diagnosis(arguments: tuple[str, ...], errors: str, free: int, log: Path) -> str:
    """Return the message for a failed pip call.

    Args:
        arguments: of pip.
        errors: its stderr.
        free: bytes free on the disk of `.venv`.
        log: pip's log file.
    """
    again = "\nThen run the same command again: it continues where this run stopped."
    if NO_SPACE.search(errors) or free < 100e6:
        return (
            f"the disk is full ({free / 1e9:.1f} GB free in {log.parent}). Free some space (.venv needs {VENV_GB} GB, "
            f"and {PACKAGES_GB} GB more while pip unpacks), or turn pip's cache off: PIP_NO_CACHE_DIR=1 make setup"
            + again
        )
    if BROKEN_OFF in errors:  # pip 26 prints this for a full disk, too
        return (
            f"a download was cut off (see pip's output above): the connection failed, or the disk was full "
            f"({free / 1e9:.1f} GB are free in {log.parent} now; {VENV_GB + PACKAGES_GB} GB are needed in all)." + again
        )
    if NO_NETWORK.search(errors):
        settings = [
            f"{name}={re.sub('//[^/]*@', '//***@', value)}"  # no passwords in logs
            for name, value in sorted(os.environ.items())
            if NETWORK_VARIABLE.fullmatch(name)
        ]
        return (
            "pip could not reach the package index (see its output above). Check the connection and pip's settings: "
            f"{', '.join(settings) or 'no proxy or PIP_ variable is set'}; `python -m pip config list` shows the "
            "settings in files. Behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL." + again
        )
    last = "".join("  " + line + "\n" for line in errors.strip().splitlines()[-8:])
    return f"pip failed. The call was:  pip {' '.join(arguments)}\n{last}The whole log: {log}" + again


def cache_folder(venv: Path) -> Path | None:
    """Return pip's cache folder, or None if the cache is off."""
    done = subprocess.run(
        [python_of(venv), "-m", "pip", "cache", "dir"], capture_output=True, text=True, env=environment()
    )
    return Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None
