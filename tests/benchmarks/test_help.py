"""Every benchmark that can be run has `--help` and refuses what it does not know."""

import pytest

from tests.conftest import ROOT

PROGRAMS = sorted(path for path in (ROOT / "benchmarks").rglob("*.py") if '__name__ == "__main__"' in path.read_text())


def test_the_arguments_of_every_program_are_parsed():
    assert len(PROGRAMS) >= 9
    for path in PROGRAMS:
        text = path.read_text()
        assert "argparse.ArgumentParser(" in text and "parse_args()" in text, path
        assert text.count("sys.argv") == 0, path


# The others import torch, for seconds.
@pytest.mark.parametrize("name", ["degradation_memory", "training/classic/draw", "training/runs"])
def test_help_and_unknown_arguments(name, run):
    program = ROOT / f"benchmarks/{name}.py"
    assert run(program, "--help").stdout.startswith(f"usage: {program.name} [-h] ")
    assert "usage: " in run(program, "--nonsense", code=2).stderr
