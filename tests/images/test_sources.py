"""Images where users have them, and the keys that they get."""

import io
import os
import struct
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest

from rcan_plugin.images.decode import ImageError
from rcan_plugin.images.sources import Source, find_images, key_of
from rcan_plugin.images.store import ImageStore
from tests.data.tiny import picture, write, write_lmdb
from tests.preparation.scenes import encoded, put
from tests.rights import forbidden

IMAGE = encoded(picture(6, 8, seed=1))
OTHER = encoded(picture(6, 8, seed=2))


def names(place) -> list[str]:
    return [source.name for source in find_images(place)]


def make_zip(path, members: dict[str, bytes], compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


SOME = ["0002.png", "b/0001.JPG", "b/c/0003.webp", "a 4.tiff"]
PASSED_OVER = ["read me.txt", ".hidden.png", ".thumbs/1.png", "b/.git/2.png", "image.png.txt"]


def test_a_folder_with_those_below_it(tmp_path):
    for name in [*SOME, *PASSED_OVER, "HR.lmdb/3.png", "b/out.part/4.png"]:
        put(tmp_path / "in" / name, name.encode())
    found = find_images(tmp_path / "in")
    assert [source.name for source in found] == sorted(SOME)
    assert [source.stem for source in found] == ["0002", "a 4", "0001", "0003"]
    assert [source.place for source in found] == [str(tmp_path / "in" / name) for name in sorted(SOME)]
    assert [source.read() for source in found] == [name.encode() for name in sorted(SOME)]


def test_files_that_are_ignored_are_reported_once(tmp_path):
    for name in ["a.png", *PASSED_OVER, "b/c.GIF", "b/d.gif", "e"]:
        put(tmp_path / "in" / name, IMAGE)
    archive = make_zip(tmp_path / "in.zip", dict.fromkeys(["a.png", "b/c.gif", "__MACOSX/d.gif"], IMAGE))
    said = []
    assert len(find_images(tmp_path / "in", said.append)) == len(find_images(archive, said.append)) == 1
    assert said == [
        f"{tmp_path / 'in'}: ignored because of their suffix: 2 .gif, 2 .txt, 1 without suffix.",
        f"{archive}: ignored because of their suffix: 1 .gif.",
    ]
    (tmp_path / "in/a.png").unlink()
    with pytest.raises(ValueError, match=r"in holds no image \(looked for .*\), but 2 \.gif, 2 \.txt, 1 without suff"):
        find_images(tmp_path / "in")
    with pytest.raises(
        ValueError, match=r"in holds no image \(looked for .*\), but 2 \.txt, 1 without suffix, 1 folder"
    ):
        ImageStore(tmp_path / "in")


def test_links_are_followed_and_once_only(tmp_path):
    put(tmp_path / "elsewhere/far/1.png", IMAGE)
    put(tmp_path / "in/2.png", IMAGE)
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere/far/back").symlink_to(tmp_path / "in", target_is_directory=True)
    assert names(tmp_path / "in") == ["2.png", "linked/far/1.png"]
    (tmp_path / "whole").symlink_to(tmp_path / "in", target_is_directory=True)
    assert names(tmp_path / "whole") == ["2.png", "linked/far/1.png"]


def test_a_link_that_leads_nowhere_is_a_bad_image(tmp_path):
    put(tmp_path / "1.png", IMAGE)
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    assert names(tmp_path) == ["1.png", "2.png"]
    with pytest.raises(ImageError, match=r"^is a broken link; expected a file: remove it"):
        find_images(tmp_path)[1].header()


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    put(tmp_path / "1.png", IMAGE)
    put(tmp_path / "locked/2.png", IMAGE)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # a test that runs as root can read everything
    with pytest.raises(PermissionError, match="locked"):
        find_images(tmp_path)


def test_the_stamp_shows_that_a_file_changed(tmp_path):
    path = put(tmp_path / "1.png", IMAGE)
    (before,) = find_images(tmp_path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    assert find_images(tmp_path)[0].stamp == before.stamp
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert find_images(tmp_path)[0].stamp != before.stamp
    stamps = {
        find_images(make_zip(tmp_path / f"{i}.zip", {"a.png": content}))[0].stamp
        for i, content in enumerate([IMAGE, IMAGE, OTHER])
    }
    assert len(stamps) == 2


def test_a_zip_archive_is_read_where_it_is(tmp_path):
    more = ["__MACOSX/b/._0001.JPG", "__MACOSX/0001.png", "set/__MACOSX/1.png", "set/.cache/1.png"]
    path = make_zip(tmp_path / "set.zip", {name: name.encode() for name in ["set/", *SOME, *PASSED_OVER, *more]})
    found = find_images(path)
    assert [source.name for source in found] == sorted(SOME)
    assert [source.read() for source in found] == [name.encode() for name in sorted(SOME)]
    assert found[0].place == f"{path}: 0002.png"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_member_of_a_zip_is_a_bad_image(tmp_path):
    path = make_zip(tmp_path / "set.zip", {"a.png": IMAGE, "b.png": OTHER, "c.png": IMAGE}, zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content.replace(OTHER[40:50], bytes(10)))
    good, bad, last = find_images(path)
    assert good.decode().shape == last.decode().shape == (6, 8, 3)
    with pytest.raises(ImageError, match=r"^cannot be read \(Bad CRC-32 for file 'b.png'\)$"):
        bad.decode()


def test_an_encrypted_member_of_a_zip_is_a_bad_image(tmp_path):
    path = make_zip(tmp_path / "set.zip", {"a.png": IMAGE})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flags, here and in the directory
        at = content.index(mark) + offset
        content[at : at + 2] = struct.pack("<H", 1)
    path.write_bytes(content)
    for action in (Source.header, Source.decode):
        with pytest.raises(ImageError, match=r"^cannot be read \(.*a.png.* is encrypted, password required"):
            action(find_images(path)[0])


def test_an_lmdb_of_basicsr(tmp_path):
    images = {name: picture(6, 8, seed=i) for i, name in enumerate(["b", "a x2", "c"])}
    path = tmp_path / "set.lmdb"
    write_lmdb(path, images)
    found = find_images(path)
    assert [source.name for source in found] == [source.stem for source in found] == ["a x2", "b", "c"]
    assert (found[1].decode() == images["b"]).all()
    assert found[2].place == f"image c of LMDB {path}"
    with (path / "meta_info.txt").open("a") as file:
        file.write("d.png (6,8,3) 1\n")
    with pytest.raises(ImageError, match=r"^cannot be read \(image d of .* is named in meta_info.txt but missing in"):
        find_images(path)[3].header()


def test_a_fifo_or_a_device_named_as_an_image_is_a_bad_image(tmp_path):
    put(tmp_path / "1.png", IMAGE)
    os.mkfifo(tmp_path / "2.png")
    (tmp_path / "3.png").symlink_to("/dev/zero")
    sources = find_images(tmp_path)
    assert [source.name for source in sources] == ["1.png", "2.png", "3.png"]
    for source, kind in zip(sources[1:], (r"FIFO \(named pipe\)", "device"), strict=True):
        for read in (source.header, source.read, source.decode):
            with pytest.raises(ImageError, match=rf"^is a {kind}; expected a file: remove it$"):
                read()
    for path, kind in ((tmp_path / "2.png", "FIFO"), (Path("/dev/zero"), "device")):
        with pytest.raises(ValueError, match=rf"{path} is a {kind}.*; expected a folder, a zip archive or an LMDB"):
            find_images(path)


def test_what_may_not_be_read(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"a.png": IMAGE})
    image = put(tmp_path / "HR/1.png", IMAGE)
    (tmp_path / "HR/below").mkdir()
    with forbidden(archive), pytest.raises(PermissionError, match=r"set\.zip"):
        find_images(archive)
    with forbidden(tmp_path / "HR/below"), pytest.raises(PermissionError, match="below"):
        find_images(tmp_path / "HR")
    reason = rf"^cannot be read \({image}: permission denied: change its permissions or owner \(chmod, chown\)"
    with forbidden(image), pytest.raises(ImageError, match=reason):
        find_images(tmp_path / "HR")[0].header()


def test_an_lmdb_that_is_none(tmp_path):
    write_lmdb(tmp_path / "set.lmdb", {"a": picture(6, 8, seed=1)})
    put(tmp_path / "set.lmdb/data.mdb", b"rubbish" * 4000)
    with pytest.raises(
        ValueError, match=r"set.lmdb/data.mdb \(28000 bytes\) is not an LMDB: fetch or make the LMDB again"
    ):
        find_images(tmp_path / "set.lmdb")


def test_what_cannot_be_a_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist \(looked for from "):
        find_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no image \(looked for \.bmp, \.jpeg, "):
        find_images(tmp_path / "empty")
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    whole = make_zip(tmp_path / "set.zip", {"a.png": IMAGE}).read_bytes()
    for path in (
        tmp_path / "set.tar.gz",
        put(tmp_path / "one.png", IMAGE),
        put(tmp_path / "cut.zip", whole[:-9]),
        put(tmp_path / "0.zip", b""),
    ):
        with pytest.raises(ValueError) as raised:
            find_images(path)
        said = f"{path} ({path.stat().st_size} bytes) cannot be read as a zip archive (File is not a zip file): "
        more = "expected a folder, a zip archive or an LMDB; unpack other archives, and fetch a damaged one again."
        assert str(raised.value) == said + more


KEYS = {
    "0001": "0001",
    "0001x2": "0001x2",
    "img.v2": "img_v2",
    "a..b": "a__b",
    "two words": "two words",
    "(1,2,3) [x] {} {0} %s": "(1,2,3) [x] {} {0} %s",
    "Zürich": "Zu00fcrich",
    "東京": "u6771u4eac",
    "tab\tand\nline": "tabu0009andu000aline",
    "😀": "u1f600",
    "Zu00fcrich": "Zu00fcrich",
}


@pytest.mark.parametrize(("stem", "key"), KEYS.items(), ids=ascii)
def test_keys_are_what_basicsr_can_read(stem, key):
    assert key_of(stem) == key
    assert key_of(unicodedata.normalize("NFD", stem)) == key_of(unicodedata.normalize("NFC", stem))
    # As BasicSR reads meta_info.txt, and encodes the key.
    (line,) = io.StringIO(f"{key}.png (1,2,3) 1\n")
    assert line.split(".")[0] == key and key.encode("ascii")
    assert key_of(key) == key


def test_a_name_that_is_no_text_can_be_used_and_named(tmp_path):
    name = b"Z\xfcrich.png"
    try:
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes text alone")
    (source,) = find_images(tmp_path)
    assert source.place == f"{tmp_path}/Z\\xfcrich.png" and source.place.encode()
    assert key_of(source.stem) == "Zudcfcrich" and os.fsencode(source.name) == name
    write(tmp_path / "a.png", picture(6, 8, seed=1))
    (tmp_path / "a.png").replace(tmp_path / os.fsdecode(name))
    assert source.decode().shape == (6, 8, 3)
