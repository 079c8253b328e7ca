"""Test sets in every layout that people have, laid out as the option files name them."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rcan_plugin.images.decode import decode_verified
from rcan_plugin.preparation import benchmarks
from rcan_plugin.preparation.benchmarks import prepare_benchmarks
from tests.conftest import ROOT
from tests.data.tiny import write
from tests.disks import files_up_to
from tests.preparation.benchmark_sets import (
    IMAGES,
    NAMES,
    OTHERS,
    all_below,
    assert_equal,
    crop,
    lines_of,
    make,
    make_crops,
    pack,
    pixels,
)


def test_the_better_kind_is_taken(tmp_path):
    root = tmp_path / "in"
    make(root / "a", "Set5/GTmod12/{}.png", {name: crop(image, 12) for name, image in IMAGES.items()})
    lines, _ = lines_of([root], tmp_path / "1")
    mod12 = "cropped to multiples of 12 (GTmod12)"
    assert lines[0] == (
        f"Set5: 5 images, {mod12}: figures may differ slightly from published ones, from {root / 'a/Set5/GTmod12'}"
    )
    make_crops(root / "b", "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3))
    lines, _ = lines_of([root], tmp_path / "2")
    assert lines[0].startswith("Set5: 5 images, united from x2 and x3 HR (SelfExSR layout), from ")
    assert lines[1] == f"  not used: 5 images, {mod12}, in {root / 'a/Set5/GTmod12'}"
    make(tmp_path / "c", "Set5/{}.bmp")
    make(tmp_path / "d", "Set5/HR/{}.png")
    lines, _ = lines_of([root, tmp_path / "d", tmp_path / "c"], tmp_path / "3")
    assert lines == [
        f"Set5: 5 images, originals (PNG), from {tmp_path / 'd/Set5/HR'}",
        f"  not used: 5 images, {mod12}, in {root / 'a/Set5/GTmod12'}",
        f"  not used: 5 images, HR cropped to multiples of the scale, in {root / 'b/Set5'}",
        f"  not used: 5 images, originals, in {tmp_path / 'c/Set5'}",
        OTHERS,
    ]
    assert all_below(tmp_path / "3") == {f"Set5/HR/{name}.png" for name in NAMES}


def test_names_are_made_fit_for_basicsr_and_never_doubled(tmp_path):
    images = dict(zip(["a.1", "b_HR", "c_GT", "Zürich", "e"], IMAGES.values(), strict=True))
    make(tmp_path / "1", "Set5/{}.png", images)
    assert lines_of([tmp_path / "1"], tmp_path / "out")[1] == []
    assert all_below(tmp_path / "out/Set5/HR") == {"a_1.png", "b.png", "c.png", "Zu00fcrich.png", "e.png"}
    write(tmp_path / "1/Set5/a_1.bmp", IMAGES["baby"])
    lines, refused = lines_of([tmp_path / "1"], tmp_path / "out2")
    assert refused == ["Set5"] and not (tmp_path / "out2/Set5").exists()
    assert f"Set5/a.1.png and Set5/a_1.bmp in {tmp_path / '1/Set5'} would both be named a_1: remove one." in lines[0]


def test_another_count_is_refused_and_the_others_go_through(tmp_path):
    make(tmp_path / "in", "Set5/HR/{}.png")
    (tmp_path / "in/Set5/HR/bird.png").unlink()
    more = {f"{i:03d}": IMAGES["baby"] for i in range(14)}
    make(tmp_path / "in", "Set14/{}.png", more)
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert refused == ["Set5"] and all_below(tmp_path / "out") == {f"Set14/HR/{name}.png" for name in more}
    assert lines == [
        f"Set5: refused: found 4 images, originals, in {tmp_path / 'in/Set5/HR'} (such as Set5/HR/baby.png). "
        "Expected 5 HR images: add the missing ones, or give another source.",
        f"Set14: 14 images, originals (PNG), from {tmp_path / 'in/Set14'}",
        "Not found: B100, Urban100, Manga109.",
    ]
    # A whole set of a lesser kind is better than a part of a better one.
    make(tmp_path / "in", "Set5/GTmod12/{}.png")
    lines, refused = lines_of([tmp_path / "in/Set5"], tmp_path / "out")
    assert refused == [] and lines[0].startswith("Set5: 5 images, cropped to multiples of 12")
    assert lines[1] == f"  not used: 4 images, originals, in {tmp_path / 'in/Set5/HR'}"


def test_images_of_no_use_are_all_listed(tmp_path):
    folder = tmp_path / "Set5"
    make(folder)
    content = (folder / "baby.png").read_bytes()
    (folder / "baby.png").write_bytes(content[: len(content) * 2 // 3])
    (folder / "bird.png").write_bytes(b"nothing")
    Image.new("RGBA", (20, 20)).save(folder / "head.png")
    Image.new("P", (20, 20)).save(folder / "woman.png")
    lines, refused = lines_of([folder], tmp_path / "out")
    first, *rest = lines[0].splitlines()
    assert refused == ["Set5"] and list((tmp_path / "out").iterdir()) == []
    assert first == f"Set5: refused: 4 of 5 images in {folder} cannot be used:"
    assert rest[0].startswith("  baby.png: is damaged or cut short (") and rest[0].endswith("fetch or make it again")
    assert rest[1].startswith("  bird.png: (7 bytes) cannot be read as an image: ")
    assert rest[2:] == [
        "  head.png: has alpha: flatten it, or remove the alpha channel",
        "  woman.png: has a palette: convert it to RGB",
    ]
    (folder / "woman.png").unlink()
    write(folder / "butterfly.png", IMAGES["butterfly"].astype(np.uint16) * 257)
    Image.new("CMYK", (20, 20)).save(folder / "woman.jpg")
    Image.new("RGB", (20, 20)).save(folder / "head.png", transparency=(0, 0, 0))
    lines, _ = lines_of([folder], tmp_path / "out")
    assert "  head.png: has alpha: flatten it" in lines[0]
    assert "  butterfly.png: has 16 bits a value; expected 8: convert it" in lines[0]
    assert "  woman.jpg: has CMYK colours: convert it" in lines[0]


def test_gray_stays_gray_and_jpeg_is_named(tmp_path):
    images = {name: image[..., 0] for name, image in IMAGES.items()}
    make_crops(tmp_path / "1", "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3), images)
    lines_of([tmp_path / "1"], tmp_path / "out")
    assert all(image.ndim == 2 for image in pixels(tmp_path / "out/Set5/HR").values())
    make(tmp_path / "2", "Set5/{}.JPG")
    lines, _ = lines_of([tmp_path / "2"], tmp_path / "out2")
    assert "originals (JPEG; of the published sets only B100 was ever in a lossy format), from" in lines[0]
    assert (tmp_path / "out2/Set5/HR/baby.jpg").read_bytes() == (tmp_path / "2/Set5/baby.JPG").read_bytes()


def test_a_set_that_is_there_is_kept_or_nothing_is_done(tmp_path):
    root = tmp_path / "out"
    make_crops(tmp_path, "Set5/image_SRF_{1}/{0}_SRF_{1}_HR.png", (2, 3, 4))
    lines_of([tmp_path / "Set5"], root)
    # The same pixels in another encoding are the same images; what else is there does not matter.
    same = cv2.imread(str(root / "Set5/HR/baby.png"))
    assert cv2.imwrite(str(root / "Set5/HR/baby.png"), same, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    (root / "Set5/HR/Thumbs.db").write_bytes(b"x")
    make(root / "Set5", "LR_bicubic/X2/{}x2.png")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}
    lines, refused = lines_of([tmp_path / "Set5"], root)
    assert refused == [] and lines[0].endswith(f"from {tmp_path / 'Set5'}: exists already, kept")
    # Laid out in place, it is its own source.
    lines, refused = lines_of([root], root)
    assert refused == [] and lines[0].endswith(f"from {root / 'Set5/HR'}: exists already, kept")
    same[3, 4, 1] ^= 1
    assert cv2.imwrite(str(tmp_path / "changed.png"), same)
    for name, content in {
        "baby.png": (tmp_path / "changed.png").read_bytes(),
        "head.png": b"damaged",
        "more.png": (tmp_path / "changed.png").read_bytes(),
        "bird.png": None,
    }.items():
        file = root / "Set5/HR" / name
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        there = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        lines, refused = lines_of([tmp_path / "Set5"], root)
        assert refused == ["Set5"]
        assert f"{root / 'Set5'} exists, and the images in its HR differ (1 of them, such as {name}): " in lines[0]
        assert there == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        file.unlink(missing_ok=True)
        old = before.get(file)
        if old:
            file.write_bytes(old[1])
    assert lines_of([tmp_path / "Set5"], root)[1] == []


def test_a_folder_without_hr_is_not_touched(tmp_path):
    make(tmp_path / "out", "Set5/GTmod12/{}.png")
    make(tmp_path / "in", "Set5/{}.png")
    lines, refused = lines_of([tmp_path / "in"], tmp_path / "out")
    assert refused == ["Set5"] and "(5 of them, such as baby.png): move it away, or choose another root." in lines[0]
    assert all_below(tmp_path / "out") == {f"Set5/GTmod12/{name}.png" for name in NAMES}


def test_what_a_killed_run_left_is_removed(tmp_path):
    root = tmp_path / "out"
    make(root, "Set5.part/HR/old{}.png")
    make(root, "unpacked.part/0/Set5/{}.png")
    make(root, "B100.part/HR/{}.png")
    make(root, "mine.part/{}.png")
    make(tmp_path / "in", "Set5/{}.png")
    assert lines_of([tmp_path / "in"], root)[1] == []
    mine = {f"mine.part/{name}.png" for name in NAMES}
    assert all_below(root) == mine | {f"Set5/HR/{name}.png" for name in NAMES}


def test_nothing_of_a_set_is_there_before_all_of_it_is(tmp_path, monkeypatch):
    make(tmp_path / "in", "Set5/{}.png")
    written = []

    def stop(content: bytes) -> np.ndarray:
        written.extend(all_below(tmp_path / "out"))
        if len(written) > 3:
            raise KeyboardInterrupt
        return decode_verified(content)

    monkeypatch.setattr(benchmarks, "decode_verified", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_benchmarks([tmp_path / "in"], tmp_path / "out")
    assert written and all(name.startswith("Set5.part/HR/") for name in written)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz"])
@pytest.mark.parametrize("inside", ["", "benchmark/Set5/HR"])
def test_archives(tmp_path, ending, inside):
    make(tmp_path / "in" / inside)
    make(tmp_path / "in" / inside, "LR_bicubic/X2/{}x2.png")
    archive = pack(tmp_path / "in", tmp_path / f"{'data.v2' if inside else 'Set5'}.{ending}")
    lines, refused = lines_of([archive], tmp_path / "out")
    place = f"{archive}: {inside}" if inside else str(archive)
    assert refused == [] and lines == [f"Set5: 5 images, originals (PNG), from {place}", OTHERS]
    assert_equal(pixels(tmp_path / "out/Set5/HR"), {f"{name}.png": image for name, image in IMAGES.items()})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Set5"]


def test_archives_of_no_use(tmp_path):
    make(tmp_path / "in", "Set5/{}.png")
    whole = pack(tmp_path / "in", tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # of the checksum
    (tmp_path / "flipped.tar.gz").write_bytes(flipped)
    zipped = pack(tmp_path / "in", tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(zipped[: len(zipped) // 2])
    (tmp_path / "text.tar").write_text("not found")
    for name in ("cut.tar.gz", "flipped.tar.gz", "cut.zip", "text.tar"):
        with pytest.raises(ValueError, match=f"{name} .* bytes. cannot be read as a zip or tar archive .*: fetch it"):
            prepare_benchmarks([tmp_path / name], tmp_path / "out")
    shutil.rmtree(tmp_path / "in/Set5")
    with pytest.raises(ValueError, match=r"empty.tar holds no image"):
        prepare_benchmarks([pack(tmp_path / "in", tmp_path / "empty.tar")], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    damaged = bytearray(zipped)
    at = zipped.index(b"IDAT", zipped.index(b"Set5/bird.png")) + 100
    damaged[at] ^= 255
    (tmp_path / "damaged.zip").write_bytes(damaged)
    lines, refused = lines_of([tmp_path / "damaged.zip"], tmp_path / "out")
    assert refused == ["Set5"] and "\n  Set5/bird.png: cannot be read (Bad CRC-32 for file" in lines[0]


@pytest.mark.parametrize("evil", ["../evil.png", "Set5/../../../evil.png", "link"])
def test_a_tar_archive_that_would_write_outside_is_refused(tmp_path, evil):
    make(tmp_path / "in", "Set5/{}.png")
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        file.add(tmp_path / "in", ".")
        member = tarfile.TarInfo(evil)
        if evil == "link":
            member.name, member.type, member.linkname = "Set5/z.png", tarfile.SYMTYPE, "../../../../evil.png"
        content = (tmp_path / "in/Set5/baby.png").read_bytes() if evil != "link" else b""
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    before = all_below(tmp_path)
    with pytest.raises(ValueError, match=r"evil\.tar is unsafe and is not used: .*outside"):
        prepare_benchmarks([archive], tmp_path / "a/b/out")
    assert all_below(tmp_path) == before and list((tmp_path / "a/b/out").iterdir()) == []


def test_a_python_without_safe_unpacking_is_refused(tmp_path, monkeypatch):
    make(tmp_path / "in", "Set5/{}.png")
    archive = pack(tmp_path / "in", tmp_path / "a.tar")
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(ValueError, match=r"a\.tar: Python 3\.\d+\.\d+ cannot unpack a tar archive safely: unpack it"):
        prepare_benchmarks([archive], tmp_path / "out")


def call(*arguments, cwd: Path) -> tuple[int, str, str]:
    command = [sys.executable, ROOT / "scripts/prepare_benchmarks.py", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_script(tmp_path):
    make(tmp_path, "Set5/{}.png")
    assert call("Set5", cwd=tmp_path)[:2] == (0, f"Set5: 5 images, originals (PNG), from Set5\n{OTHERS}\n")
    assert all_below(tmp_path / "datasets") == {f"benchmark/Set5/HR/{name}.png" for name in NAMES}
    # From within the set's folder it has no name but that of where it is.
    code, out, _ = call(".", "--root", "../out", cwd=tmp_path / "Set5")
    assert code == 0 and out.startswith("Set5: 5 images")
    (tmp_path / "Set5/bird.png").unlink()
    code, out, _ = call("--root", "out", "Set5", cwd=tmp_path)
    assert code == 1 and out.startswith("Set5: refused: found 4 images")
    code, out, err = call("--root", "out", "Set5", "nowhere", cwd=tmp_path)
    assert (code, out) == (2, "") and err.startswith("nowhere does not exist")
    code, out, err = call("--root", "Set5/baby.png", "Set5", cwd=tmp_path)
    assert (code, out) == (2, "") and err.startswith("folder of the result Set5/baby.png cannot be made: ")
    assert "Set5/baby.png is a file; expected a folder: move it away" in err
    assert call(cwd=tmp_path)[0] == 2


def test_it_starts_without_torch_and_basicsr():
    look = "import sys, rcan_plugin.preparation.benchmarks; print({'torch', 'basicsr'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("ending", [".tar", ".zip"])
def test_a_disk_that_takes_no_more_is_said_and_nothing_is_left(ending, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "require_writable", lambda *_: None)  # its probe is larger
    make(tmp_path / "in", "Set5/HR/{}.png")
    archive, root = pack(tmp_path / "in", tmp_path / f"sets{ending}"), tmp_path / "out"
    root.mkdir()
    with files_up_to(1000), pytest.raises(OSError, match="File too large") as error:
        prepare_benchmarks([archive], root)
    place = "unpacked.part/0" if ending == ".tar" else "Set5.part/HR/baby.png"
    assert error.value.filename == str(root / place) and not list(root.iterdir())
