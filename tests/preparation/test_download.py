"""Downloads from a server on this machine that breaks off, forgets, changes and lies as each test says."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from rcan_plugin.preparation import download as downloads
from rcan_plugin.preparation.download import download
from tests.disks import files_up_to
from tests.preparation.http_server import (
    BODY,
    FIRST,
    HTML,
    OTHER,
    SHA256,
    Server,
    answer,
    chunked,
    page,
    reset,
    serve,
    stall,
    status,
)

TELLS_PROGRESS = """
import sys
from rcan_plugin.preparation import download as downloads

class Bar(downloads.tqdm):
    def update(self, n=1):
        super().update(n)
        print(self.n, flush=True)

downloads.tqdm, downloads.CHUNK = Bar, 1000
downloads.download(*sys.argv[1:])
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.done.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    made: list[float] = []
    monkeypatch.setattr(downloads, "time", SimpleNamespace(sleep=made.append))
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sets" / "set.zip"


def beside(path: Path) -> set[str]:
    """What stands in the file's folder, less its name: `{""}` is the file alone."""
    return {other.name.removeprefix(path.name) for other in path.parent.iterdir()}


def part_of(path: Path) -> Path:
    return Path(f"{path}.part")


def broken(server: Server, path: Path, at: int = 20_000) -> None:
    """Leave a part, as a download does that broke off, and forget the requests."""
    server.script = [partial(serve, until=at), status(503)]
    with pytest.raises(ConnectionError):
        download(server.url, path, SHA256, attempts=1)
    assert part_of(path).read_bytes() == BODY[:at]
    server.seen.clear()


def test_a_whole_file_is_by_itself_and_is_not_requested_again(server, path, pauses, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent.parent))
    download(server.url, "~/sets/set.zip", SHA256)
    assert path.read_bytes() == BODY and beside(path) == {""}
    monkeypatch.setattr(downloads, "FileLock", None)  # for which a folder that cannot be written to has no place
    download(server.url, path, sha256="0" * 64)
    assert server.seen == [FIRST] and pauses == []
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_lock_that_a_killed_process_left_beside_the_file_is_removed(server, path):
    path.parent.mkdir()
    path.write_bytes(BODY)
    path.with_name(f"{path.name}.lock").touch()
    download(server.url, path, SHA256)
    assert [one.name for one in path.parent.iterdir()] == [path.name] and not server.seen


def test_a_disk_that_takes_no_more_is_said_and_the_next_call_goes_on(server, path):
    part = path.with_name(f"{path.name}.part")
    with files_up_to(30_000), pytest.raises(OSError, match="File too large") as error:
        download(server.url, path, SHA256)
    assert error.value.filename == str(part) and part.read_bytes() == BODY[:30_000]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == [FIRST, "bytes=30000-"]


def test_it_is_on_the_disk_before_it_gets_its_name(server, path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_size, path.exists())))
    download(server.url, path, SHA256)
    assert synced == [(50_000, False)]


def test_an_answer_that_ends_early_is_gone_on_from(server, path, pauses):
    server.script = [partial(serve, until=20_000)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and beside(path) == {""}
    assert server.seen == [FIRST, "bytes=20000-"] and pauses == [1]


@pytest.mark.parametrize("then", [reset, stall])
def test_a_connection_that_fails_or_falls_silent_is_gone_on_from(server, path, monkeypatch, then):
    monkeypatch.setattr(downloads, "TIMEOUTS", (5, 2))  # a busy machine answers later than in 0.2 s
    server.script = [partial(serve, until=20_000, then=then)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and len(server.seen) == 2


def test_a_server_in_trouble_is_asked_again(server, path, pauses):
    server.script = [status(500), status(503)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == [FIRST] * 3 and pauses == [2, 4]


def test_a_server_that_sends_less_than_asked_for_is_asked_for_the_rest(server, path):
    broken(server, path)
    server.script = [partial(serve, most=10_000)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == [f"bytes={at}-" for at in (20_000, 30_000)]


def test_after_all_attempts_the_error_says_what_is_there_and_the_next_call_continues(server, path, pauses):
    server.script = [partial(serve, until=20_000), *[status(503)] * 7]
    said = r"set\.zip: no new byte in 7 attempts, .*503.* 20000 bytes are in .*set\.zip\.part: .* resumes there"
    with pytest.raises(ConnectionError, match=said):
        download(server.url, path, SHA256, attempts=7)
    assert pauses == [1, 2, 4, 8, 16, 30, 30] and len(server.seen) == 8
    assert beside(path) == {".part", ".lock"}
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and beside(path) == {""}
    assert server.seen[8:] == ["bytes=20000-"]


def test_without_a_server_the_error_says_so(server, path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/set.zip"
        with pytest.raises(ConnectionError, match=r"refused.* 0 bytes are in .* resumes there"):
            download(url, path, SHA256, attempts=2)
    assert beside(path) == {".lock"}


def test_an_attempt_with_new_bytes_gives_all_attempts_again(server, path, pauses):
    server.script = [step for at in range(5_000, 50_000, 5_000) for step in (partial(serve, until=at), status(503))]
    download(server.url, path, SHA256, attempts=2)
    assert path.read_bytes() == BODY and pauses == [1, 2] * 9


def test_a_server_that_always_begins_anew_and_breaks_does_not_hold_us_for_ever(server, path):
    server.script = [partial(serve, until=at, heeds_range=False) for at in [20_000, 10_000] * 5]
    with pytest.raises(ConnectionError, match=r"no new byte in 3 attempts, .* 10000 bytes are in"):
        download(server.url, path, SHA256, attempts=3)
    assert len(server.seen) == 4 and not path.exists()


def test_five_attempts_are_made_if_not_specified_otherwise(server, path):
    server.script = [status(502)] * 9
    with pytest.raises(ConnectionError, match="status 502 Bad Gateway"):
        download(server.url, path, SHA256)
    assert len(server.seen) == 5


def test_a_part_from_another_address_is_resumed(server, path):
    broken(server, path)
    download(server.url + "?mirror", path, SHA256)
    assert path.read_bytes() == BODY and server.seen == ["bytes=20000-"]


def test_a_server_without_ranges_sends_all_again(server, path):
    broken(server, path)
    server.script = [partial(serve, heeds_range=False)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == ["bytes=20000-"]


@pytest.mark.parametrize("shift", [-1, 1000])
def test_bytes_from_elsewhere_are_not_taken(server, path, shift):
    broken(server, path)
    server.script = [partial(serve, shift=shift)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == ["bytes=20000-", FIRST]


def test_a_part_that_is_whole_is_finished(server, path):
    broken(server, path)
    part_of(path).write_bytes(BODY)
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and beside(path) == {""} and server.seen == ["bytes=50000-"]


def test_a_part_that_is_too_long_is_begun_anew(server, path):
    broken(server, path)
    part_of(path).write_bytes(BODY + b"!")
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == ["bytes=50001-", FIRST]


@pytest.mark.parametrize("code", [403, 404, 416, 429, 304, 206])
def test_an_address_that_leads_to_no_file_is_an_error_at_once(server, path, code):
    server.script = [status(code)]
    with pytest.raises(ValueError, match=rf"{server.url}: .* status {code} .* or name another base address"):
        download(server.url, path, SHA256)
    assert server.seen == [FIRST] and beside(path) == {".lock"}


def test_such_an_error_leaves_the_part(server, path):
    broken(server, path)
    server.script = [status(404)]
    with pytest.raises(ValueError, match="status 404 Not Found"):
        download(server.url, path, SHA256)
    assert part_of(path).read_bytes() == BODY[:20_000] and not path.exists()


def test_a_page_is_no_file(server, path):
    server.script = [page]
    said = rf"{server.url} is an HTML page \(338 bytes, first b'\\n<!DOCTYPE HTML>.*sha256 {SHA256}: open"
    with pytest.raises(ValueError, match=said):
        download(server.url, path, SHA256)
    assert server.seen == [FIRST] and beside(path) == {".lock"}


def test_a_page_does_not_write_over_a_part(server, path):
    broken(server, path)
    server.script = [page]
    with pytest.raises(ValueError, match="is an HTML page"):
        download(server.url, path, SHA256)
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen[1] == "bytes=20000-"


def test_what_looks_like_a_page_in_the_middle_of_a_file_is_not_one(server, path):
    broken(server, path)
    server.body = BODY[:20_000] + HTML
    download(server.url, path, hashlib.sha256(server.body).hexdigest())
    assert path.read_bytes() == BODY[:20_000] + HTML


def test_a_file_with_another_sha256_is_removed(server, path):
    server.body = OTHER
    found = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(
        ValueError, match=rf"{server.url} has sha256 {found} \(48000 bytes\), expected {SHA256}: .* try again"
    ):
        download(server.url, path, sha256=SHA256)
    assert beside(path) == {".lock"}
    server.body = BODY
    download(server.url, path, sha256=SHA256.upper())
    assert path.read_bytes() == BODY and server.seen == [FIRST] * 2


def test_a_file_that_changed_on_the_server_is_not_glued_to_the_part_of_the_old_one(server, path):
    broken(server, path)
    server.body, sha256 = OTHER, hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(ValueError, match=rf"\(48000 bytes\), expected {sha256}: .* try again"):
        download(server.url, path, sha256)
    assert server.seen == ["bytes=20000-"] and beside(path) == {".lock"}
    download(server.url, path, sha256)
    assert path.read_bytes() == OTHER and server.seen[1:] == [FIRST]


def test_an_answer_without_length_is_judged_by_the_sha256(server, path):
    server.script = [partial(answer, status=200, headers={}, body=BODY[:20_000])]
    with pytest.raises(ValueError, match=rf"\(20000 bytes\), expected {SHA256}"):
        download(server.url, path, SHA256)
    assert beside(path) == {".lock"}
    server.script = [partial(answer, status=200, headers={}, body=BODY)]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY


def test_an_answer_in_chunks_marks_its_end(server, path):
    server.script = [partial(chunked, whole=False), chunked]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == [FIRST, "bytes=20000-"]


def test_a_coded_answer_is_refused(server, path):
    server.script = [
        partial(answer, status=200, headers={"Content-Encoding": "gzip", "Content-Length": "1"}, body=b"-")
    ]
    with pytest.raises(ValueError, match=rf"{server.url} has Content-Encoding 'gzip'; expected none"):
        download(server.url, path, SHA256)
    assert beside(path) == {".lock"}


def test_too_little_space_is_reported_before_a_byte_is_written(server, path, monkeypatch):
    broken(server, path)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: usage(29_999 * (folder == path.parent)))
    with pytest.raises(OSError, match=r"set\.zip\.part needs 30\.0kB more, 30\.0kB are free") as caught:
        download(server.url, path, SHA256)
    assert caught.value.errno == errno.ENOSPC and not path.exists()
    assert part_of(path).read_bytes() == BODY[:20_000] and len(server.seen) == 1
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage(30_000))
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY


def test_a_redirect_is_followed_with_the_range(server, path):
    broken(server, path)
    server.script = [partial(answer, status=302, headers={"Location": "/elsewhere", "Content-Length": "0"})]
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and server.seen == ["bytes=20000-"] * 2


def test_the_progress_begins_at_what_is_there(server, path, monkeypatch):
    bars = []

    class Bar(downloads.tqdm):
        def close(self) -> None:
            bars.append((self.desc, self.unit, self.initial, self.n, self.total))
            super().close()

    monkeypatch.setattr(downloads, "tqdm", Bar)
    server.script = [partial(serve, until=20_000)]
    download(server.url, path, SHA256)
    assert list(dict.fromkeys(bars)) == [("set.zip", "B", 0, 20_000, 50_000), ("set.zip", "B", 20_000, 50_000, 50_000)]


def test_one_process_at_a_time_and_an_interrupt_leaves_the_part(server, path):
    server.script = [partial(serve, until=20_000, then=stall)]
    with subprocess.Popen(
        [sys.executable, "-c", TELLS_PROGRESS, server.url, path, SHA256],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout and "20000\n" in iter(other.stdout.readline, "")
        with pytest.raises(RuntimeError, match=rf"{path} is being downloaded by another process"):
            download(server.url, path, SHA256)
        other.send_signal(signal.SIGINT)
        _, said = other.communicate(timeout=300)
    assert "KeyboardInterrupt" in said and server.seen == [FIRST]
    assert part_of(path).read_bytes() == BODY[:20_000] and not path.exists()
    download(server.url, path, SHA256)
    assert path.read_bytes() == BODY and beside(path) == {""} and server.seen[1] == "bytes=20000-"


def test_a_file_that_another_process_has_just_finished_is_not_fetched_again(server, path, monkeypatch):
    class Lock(downloads.FileLock):
        def __enter__(self) -> Lock:
            path.write_bytes(OTHER)
            return super().__enter__()

    monkeypatch.setattr(downloads, "FileLock", Lock)
    download(server.url, path, SHA256)
    assert server.seen == [] and path.read_bytes() == OTHER and beside(path) == {""}


def test_wrong_arguments_are_refused_before_any_request(server, path):
    with pytest.raises(ValueError, match=r"sha256 of .*: 'abc'; expected 64 hexadecimal digits"):
        download(server.url, path, sha256="abc")
    with pytest.raises(ValueError, match="attempts is 0; expected 1 or more"):
        download(server.url, path, SHA256, attempts=0)
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=rf"{path} is a folder; expected the name of the file"):
        download(server.url, path, SHA256)
    assert server.seen == []
