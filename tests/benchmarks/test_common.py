"""Turns, medians and the tables of the benchmark scripts."""

from __future__ import annotations

from benchmarks import common


def test_measures_take_turns_and_the_warm_up_is_discarded() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    values = common.in_turns({name: lambda name=name: measure(name) for name in "ab"}, 2, warm_up=True)
    assert order == ["a", "b"] * 3
    assert values == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert common.medians(values) == {"a": 4.0, "b": 5.0}


def test_ratios_are_to_the_base() -> None:
    assert common.ratios({"theirs": 4.0, "ours": 1.0}, "theirs") == {"theirs": 1.0, "ours": 0.25}


def test_table() -> None:
    assert common.table(["", "ms"], [["ours", 1]]) == "| | ms |\n| --- | --- |\n| ours | 1 |"


def test_the_machine_line_names_device_versions_and_command() -> None:
    line = common.machine("numpy")
    assert all(word in line for word in ("CPU", "torch", "basicsr 1.4.2", "numpy", "Python 3."))
