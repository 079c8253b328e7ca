"""Where the kernels cannot run, and what is said then."""

from __future__ import annotations

import pytest
import torch

from rcan_plugin.kernels import rcab, unsupported
from tests.conftest import Run
from tests.kernels.reference import parameters


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.zeros(1, 48, 4, 4), "48 channels: expected one of 16, 32, 64"),
        (torch.zeros(64, 4, 4), "shape (64, 4, 4): expected N x C x H x W"),
        (torch.zeros(0, 64, 4, 4), "an empty input, shape (0, 64, 4, 4)"),
        (torch.zeros(1, 1, 1, 1).expand(2**17, 64, 16, 16), f"{2**31} elements: expected fewer than 2**31"),
    ],
)
def test_reasons(x: torch.Tensor, reason: str) -> None:
    assert str(unsupported(x)).startswith(reason)


def test_the_cpu_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert unsupported(torch.zeros(1, 64, 4, 4)) == "device cpu: expected a CUDA device"
    with pytest.raises(ValueError, match="rcab: device cpu: expected a CUDA device"):
        rcab(torch.zeros(1, 16, 4, 4), *parameters(16, 4, torch.float32))


def test_without_triton_the_package_imports_and_reports_it(run: Run) -> None:
    code = (
        "import sys, torch; sys.modules['triton'] = None\n"
        "from rcan_plugin.kernels import unsupported\n"
        "print(unsupported(torch.zeros(1, 64, 4, 4)))"
    )
    assert run("-c", code).stdout.strip() == "triton is not installed"


def test_the_package_does_not_import_triton(run: Run) -> None:
    code = (
        "import sys, torch; before = 'triton' in sys.modules\n"
        "from rcan_plugin.kernels import unsupported; unsupported(torch.zeros(1, 64, 4, 4))\n"
        "print(before or 'triton' not in sys.modules)"
    )
    assert run("-c", code, env={"TRITON_INTERPRET": None}, fresh=True).stdout.strip() == "True"
