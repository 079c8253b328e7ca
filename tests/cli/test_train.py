"""`rcan train`: errors of the disk name the file that BasicSR or TensorBoard writes."""

import errno
import os

import pytest
from torch.utils.tensorboard import SummaryWriter

from rcan_plugin.cli.train import Run, naming_copy


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_copy_of_the_option_file_is_named(tmp_path):
    copied = []
    naming_copy(lambda *paths: copied.append(paths))("options/a.yml", str(tmp_path))
    assert copied == [("options/a.yml", str(tmp_path))]
    with pytest.raises(OSError, match="No space left") as error:
        naming_copy(full)("options/a.yml", str(tmp_path))
    assert error.value.filename == str(tmp_path / "a.yml")


def test_the_folder_of_tensorboards_files_is_named(tmp_path):
    run, opt = Run(), {"root_path": str(tmp_path), "name": "tiny"}
    folder = str(tmp_path / "tb_logger/tiny")
    writer = run.keeping_writer(lambda opt: SummaryWriter(folder))(opt)
    assert run.tb_logger is writer
    writer.file_writer.event_writer.add_event = writer.file_writer.event_writer.flush = full
    for write in (lambda: writer.add_scalar("loss", 1.0, 1), writer.close, lambda: run.keeping_writer(full)(opt)):
        with pytest.raises(OSError, match="No space left") as error:
            write()
        assert error.value.filename == folder
    assert run.keeping_writer(lambda opt: None)(opt) is None
