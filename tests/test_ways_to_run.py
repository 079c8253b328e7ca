"""Installed beside it, BasicSR trains our network in every way it is started: two iterations each, in a subprocess.

`torchrun` is in `test_distributed.py`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comparison import weights_changed
from tests.conftest import INSTALLED, ROOT, link_basicsr, read_options, shrink, write_options
from tests.runs import tell

OUTPUT = ("experiments", "results", "tb_logger")
"""Folders that `python -m basicsr.train` makes beside the installed BasicSR."""


@pytest.fixture
def training(tiny):
    """A folder with an option file `tiny.yml`, and `tell/` for PYTHONPATH."""
    options = shrink(read_options("train_RCAN_x2"), tiny)
    options["logger"]["save_checkpoint_freq"] = 1
    write_options(tiny / "tiny.yml", options)
    tell(tiny)
    return tiny


def checkout(folder: Path) -> Path:
    """What a clone of BasicSR looks like after its set-up wrote `version.py`."""
    shutil.copytree(INSTALLED, folder / "BasicSR" / "basicsr", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "BasicSR" / "setup.py").write_text(
        "from setuptools import find_packages, setup\n"
        "setup(name='basicsr', version='1.4.2', packages=find_packages(include=['basicsr*']))\n"
    )
    return folder / "BasicSR"


def trained(done, folder: Path, ran: Path) -> None:
    assert "Network [RCANArch] is created." in done.stdout + done.stderr
    assert "Dataset [DegradationPairedDataset] - DIV2K is built." in done.stdout + done.stderr
    (latest,) = folder.rglob("experiments/RCAN_BI_x2/models/net_g_latest.pth")
    assert weights_changed(latest.with_name("net_g_1.pth"), latest)
    files = {Path(line.removeprefix("ran ")).resolve() for line in done.stdout.splitlines() if line.startswith("ran ")}
    assert files == {(ran / "__init__.py").resolve()}


def test_by_path_through_the_link(training, run):
    link_basicsr(training)
    done = run("basicsr/train.py", "-opt", "tiny.yml", env={"PYTHONPATH": "tell"})
    trained(done, training, INSTALLED)


def test_a_checkout_on_pythonpath(training, run):
    clone = checkout(training)
    paths = f"{training / 'tell'}:{clone}"
    done = run(clone / "basicsr/train.py", "-opt", "tiny.yml", env={"PYTHONPATH": paths})
    trained(done, training, clone / "basicsr")


def environment(folder: Path, without: tuple[str, ...]) -> Path:
    """A virtual environment that sees this one's packages, but for those named; its Python."""
    site = INSTALLED.parent
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    links = folder / "links"
    links.mkdir()
    for entry in site.iterdir():
        name = entry.name.lower().removeprefix("__editable__").strip("._")
        if not name.startswith(without) and entry.name not in ("__pycache__", *OUTPUT):
            (links / entry.name).symlink_to(entry)
    own = next(folder.glob("lib/python*/site-packages"))
    # `addsitedir` and not a plain path, for the .pth files among the links.
    (own / "links.pth").write_text(f"import site; site.addsitedir({str(links)!r})\n")
    return folder / "bin/python"


def test_as_a_module(training, run):
    # In an environment of links, because BasicSR's output goes beside its package: here, into the test's folder.
    python = environment(training / "venv", without=("nothing",))
    done = run("-m", "basicsr.train", "-opt", "tiny.yml", python=python, env={"PYTHONPATH": "tell"})
    trained(done, training, INSTALLED)


def pip(*arguments) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


def test_a_checkout_installed_editable(training, run):
    clone = checkout(training)
    python = environment(training / "venv", without=("basicsr",))
    pip("--python", python, "install", "--no-deps", "--no-build-isolation", "-e", clone)
    done = run(clone / "basicsr/train.py", "-opt", "tiny.yml", python=python, env={"PYTHONPATH": "tell"})
    trained(done, training, clone / "basicsr")


FOLDERS = ("rcan_plugin", "options", "scripts", "benchmarks", "docs", "tests")
FILES = (
    "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
    "CONTRIBUTING.md", "Makefile", "mkdocs.yml", ".pre-commit-config.yaml",
)  # fmt: skip
"""What the sdist has of the project."""


def files_in(folder: str) -> dict[str, bytes]:
    """The files of a folder of the project, by their paths in it."""
    paths = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(ROOT / folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """Our sdist, built from a copy, so that nothing is written into the project."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    (source / "basicsr").symlink_to(INSTALLED, target_is_directory=True)  # as in the project after set-up
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist) -> Path:
    """Our wheel, built from the sdist."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", sdist.parent, sdist)
    return next(sdist.parent.glob("*.whl"))


def test_our_sdist_holds_the_project(sdist):
    import tarfile

    expected = {*FILES, *(f"{folder}/{name}" for folder in FOLDERS for name in files_in(folder))}
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert {name for name in names - expected if ".egg-info/" not in name} == {"PKG-INFO", "setup.cfg"}
    assert expected <= names


def test_our_wheel_holds_only_our_files(wheel):
    import zipfile

    expected = {f"rcan_plugin/{name}": content for name, content in files_in("rcan_plugin").items()}
    expected |= {f"rcan_plugin/option_files/{name}": content for name, content in files_in("options").items()}
    assert {"rcan_plugin/compare/published.json", "rcan_plugin/option_files/others/train_EDSR_x4.yml"} < set(expected)
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert {name: held[name] for name in held if ".dist-info/" not in name} == expected
    (licence,) = (held[name] for name in held if name.endswith("/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_the_citation_has_the_version_and_licence():
    import yaml

    from rcan_plugin import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (__version__, "MIT")


def test_the_plugin_as_a_wheel_and_after_its_removal(wheel, training, run):
    python = environment(training / "venv", without=("rcan_plugin",))
    pip("--python", python, "install", "--no-deps", wheel)
    where = (
        "import sys, torch; print([f for f in (m.__file__ for m in [*sys.modules.values()] if 'rcan' in m.__name__)])"
    )
    assert str(training / "venv") in run("-c", where, python=python).stdout
    done = run("-m", "basicsr.train", "-opt", "tiny.yml", python=python, env={"PYTHONPATH": "tell"})
    trained(done, training, INSTALLED)

    run("-m", "rcan_plugin.cli", "options", "copy", "copied", python=python)
    copied = {path.relative_to(training / "copied").as_posix() for path in (training / "copied").rglob("*.yml")}
    assert copied == set(files_in("options"))

    pip("--python", python, "uninstall", "-y", "rcan_plugin")
    assert run("-c", where, python=python).stdout.strip() == "[]"
    assert not list((training / "venv").rglob("rcan_plugin*"))


def test_basicsr_is_as_its_wheel_brought_it():
    """Every file that the installed BasicSR's own record names has the size and hash that it names."""
    import base64
    import hashlib
    from importlib.metadata import distribution

    files = [file for file in distribution("basicsr").files or [] if file.hash is not None]
    assert len(files) > 100
    for file in files:
        content = Path(str(file.locate())).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest()).rstrip(b"=").decode()
        assert (digest, len(content)) == (file.hash.value, file.size), file
    recorded = {Path(str(file.locate())).resolve() for file in files}
    there = {file for file in INSTALLED.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert there == {file for file in recorded if INSTALLED in file.parents}
