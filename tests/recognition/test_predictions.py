"""Predictions on the disk."""

import pytest

from rcan_plugin.recognition.predictions import Predictions
from tests.disks import files_up_to

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def test_predictions_are_kept(tmp_path):
    path = tmp_path / "new" / "kept.txt"
    Predictions(path).add({A: [3, 14]})
    again = Predictions(path)
    again.add({B: [5]})
    assert again.by_image == Predictions(path).by_image == {A: [3, 14], B: [5]}


def test_a_cut_line_is_passed_over(tmp_path):
    path = tmp_path / "kept.txt"
    Predictions(path).add({A: [3, 14], B: [5, 15]})
    whole = path.read_text()
    for end in range(len(whole) - len(f"{B} 5 15 .\n") + 1, len(whole) - 1):
        path.write_text(whole[:end])
        assert Predictions(path).by_image == {A: [3, 14]}
    kept = Predictions(path)
    kept.add({C: [7]})
    assert Predictions(path).by_image == {A: [3, 14], C: [7]}


def test_a_foreign_file_holds_none(tmp_path):
    (tmp_path / "kept.txt").write_bytes(b"\xff\x00 1 .\nabc 1 .\n")
    assert Predictions(tmp_path / "kept.txt").by_image == {}


def test_a_disk_that_takes_half_of_a_line_is_named(tmp_path):
    path = tmp_path / "kept.txt"
    with files_up_to(100), pytest.raises(OSError, match="File too large") as error:
        Predictions(path).add({A: [3, 14], B: [5, 15]})
    assert error.value.filename == str(path)
    assert path.stat().st_size == 100 and Predictions(path).by_image == {A: [3, 14]}
