"""Rooms that need torch alone."""

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("room", ["training", "inference"])
def test_a_room_without_basicsr(room, run):
    modules = [f"rcan_plugin.{room}.{path.stem}" for path in sorted((ROOT / "rcan_plugin" / room).glob("*.py"))]
    assert len(modules) > 4
    code = f"import sys; sys.modules['basicsr'] = None; import {', '.join(modules)}; print('imported')"
    assert run("-c", code, cwd=ROOT).stdout == "imported\n"
