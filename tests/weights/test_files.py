"""Files of weights are read without running code from them; others are refused in one line."""

import os

import pytest
import torch
from safetensors.torch import save as save_safetensors
from safetensors.torch import save_file

from rcan_plugin.weights import files
from tests.comparison import same
from tests.weights.saved import WEIGHTS, save, wrong_files


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("content", [WEIGHTS, {"params": WEIGHTS, "iter": 3, "name": "x"}])
def test_what_torch_wrote_is_read(content, new_format, tmp_path):
    path = save(tmp_path / "net.pth", content, _use_new_zipfile_serialization=new_format)
    assert same(files.read(path), content)


def test_safetensors_are_read_with_their_metadata(tmp_path):
    save_file(WEIGHTS, tmp_path / "net.safetensors", metadata={"network": "VDSRArch"})
    save_file(WEIGHTS, tmp_path / "renamed.pth")
    assert same(files.read(tmp_path / "net.safetensors"), WEIGHTS) and same(
        files.read(tmp_path / "renamed.pth"), WEIGHTS
    )
    assert files.metadata(tmp_path / "net.safetensors") == {"network": "VDSRArch"}
    assert files.metadata(tmp_path / "renamed.pth") == files.metadata(save(tmp_path / "net.pth", WEIGHTS)) == {}


@pytest.mark.parametrize("length", [128, 3_000])  # pickles begin with byte 128
def test_safetensors_are_known_whatever_their_length(length, tmp_path):
    """The first byte is a part of the head's length: 128 is how pickles begin."""
    padding = {"x": ""}
    while (len(saved := save_safetensors(WEIGHTS, padding)) and saved[0]) != 128 or len(saved) < length:
        padding["x"] += "x" * 8
    (tmp_path / "net.safetensors").write_bytes(saved)
    assert same(files.read(tmp_path / "net.safetensors"), WEIGHTS)


def test_half_precision_stays(tmp_path):
    half = {name: value.half() for name, value in WEIGHTS.items()}
    assert files.read(save(tmp_path / "net.pth", half))["conv.bias"].dtype == torch.float16


def test_wrong_files_are_refused_in_one_line_and_run_no_code(tmp_path):
    for name, (path, message) in wrong_files(tmp_path).items():
        with pytest.raises(ValueError, match=message) as refused:
            files.read(path)
        text = str(refused.value)
        assert text.startswith(f"{path} ") and text.endswith(".") and len(text.splitlines()) == 1, name
    assert not (tmp_path / "mark").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth does not exist\.$"):
        files.read(tmp_path / "gone.pth")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(ValueError, match=r"pipe\.pth is a device or a pipe"):
        files.read(tmp_path / "pipe.pth")


def test_a_file_that_may_not_be_opened_is_named_with_the_reason(tmp_path, monkeypatch):
    path = save(tmp_path / "net.pth", WEIGHTS)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(ValueError, match=r"net\.pth cannot be opened: Permission denied\.$"):
        files.read(path)
