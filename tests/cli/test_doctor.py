"""What the doctor sees."""

import shutil
import sys

import pytest

from rcan_plugin import autoload, registration
from rcan_plugin.cli import doctor
from tests.conftest import INSTALLED


def test_a_sound_installation_has_no_problems(run):
    said = run("-m", "rcan_plugin.doctor").stdout
    assert "No problems." in said and "✗" not in said
    lines = {line[:24].strip(): line[24:].strip() for line in said.splitlines() if line.startswith("  ")}
    assert lines["basicsr"] == "1.4.2"
    assert lines["import basicsr"] == str(INSTALLED / "__init__.py")
    assert lines["copies of basicsr"] == "one"
    for registry, classes in registration.CLASSES.items():
        assert lines[registry].split(", ") == [cls.__name__ for cls in classes]
    assert lines["autoload"] == "on"
    assert "bf16 on the CPU" in lines and any(name.startswith("GPU") for name in lines)


def test_switched_off_is_wrong_and_says_how_to_mend_it(run):
    done = run("-m", "rcan_plugin.doctor", env={autoload.SWITCH: "0"}, code=1)
    assert f"switched off by {autoload.SWITCH}=0" in done.stdout and f"→ unset {autoload.SWITCH}" in done.stdout
    assert "✗ import" not in done.stdout
    for registry in registration.CLASSES:
        assert f"✗ {registry}" in done.stdout
    done = run("-m", "rcan_plugin.doctor", env={"TORCH_DEVICE_BACKEND_AUTOLOAD": "false"}, code=1)
    assert "switched off by TORCH_DEVICE_BACKEND_AUTOLOAD=false" in done.stdout


def test_two_copies_are_distinguished_but_not_a_link(run, tmp_path):
    (tmp_path / "basicsr").symlink_to(INSTALLED)
    assert "copies of basicsr      one" in run("-m", "rcan_plugin.doctor").stdout
    (tmp_path / "basicsr").unlink()
    shutil.copytree(INSTALLED, tmp_path / "basicsr", ignore=shutil.ignore_patterns("__pycache__"))
    said = run("-m", "rcan_plugin.doctor", code=1).stdout
    assert f"{tmp_path / 'basicsr'} was imported, {INSTALLED} is on sys.path as well" in said
    assert "uninstall one" in said


def test_what_went_wrong_while_loading_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(autoload, "problems", ["registering in BasicSR failed: ImportError('x')"])
    assert doctor.main([]) == 1
    assert "✗ autoload               registering in BasicSR failed: ImportError('x')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("python", "remedy"),
    [
        ((3, 12, 9), '→ the plugin is made for 1.4.2: pip install wheel "setuptools<85"; pip install --no-deps '),
        ((3, 13, 0), "→ the plugin is made for 1.4.2: BasicSR's own set-up fails on Python 3.13: let an older Python"),
    ],
)
def test_basicsr_is_installed_in_another_way_from_python_3_13_on(python, remedy, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_version", lambda name: "1.3.5" if name == "basicsr" else "1")
    monkeypatch.setattr(sys, "version_info", python)
    assert doctor.main([]) == 1
    assert remedy in capsys.readouterr().out


def test_missing_packages_and_two_opencvs(monkeypatch, capsys):
    versions = {"opencv-python": "5.0", "opencv-python-headless": "5.0", "torch": "2.9", "basicsr": "1.3.5"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert doctor.main([]) == 1
    said = capsys.readouterr().out
    assert "✗ lmdb                   not installed\n    → pip install lmdb" in said
    assert "opencv-python 5.0 and opencv-python-headless 5.0\n    → they share one folder" in said
    assert "✗ basicsr                1.3.5\n    → the plugin is made for 1.4.2" in said
