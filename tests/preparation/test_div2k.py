"""DIV2K's LMDBs out of the official archives and folders, whichever of them are there."""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from rcan_plugin.data.paired_dataset import DegradationPairedDataset
from rcan_plugin.degradations import degrade
from rcan_plugin.degradations.record import Record
from rcan_plugin.preparation import div2k
from tests.conftest import ROOT, read_options
from tests.preparation.scenes import assert_equal, encoded, pixels, put, scene

PREPARE = ROOT / "scripts/prepare_div2k.py"
HR = {
    "train": {f"{i:04}": scene(200 + 3 * i, 211 - i, seed=i) for i in (1, 2, 3)},
    "valid": {f"{i:04}": scene(90, 80 + i % 7, seed=i) for i in (801, 802)},
}
HALF = [
    f"has {count} images; DIV2K's {split} has {all}" for split, count, all in (("train", 3, 800), ("valid", 2, 100))
]


def lr_of(split: str, scale: int, kind: str = "BI", border: str = "replicate") -> dict[str, np.ndarray]:
    return {key: degrade(image, scale, kind, border=border) for key, image in HR[split].items()}


def members(split: str, scale: int = 1, **more: str) -> dict[str, bytes]:
    """What an official archive holds, by name; LR images with borders as MATLAB has them are told from ours."""
    if scale == 1:
        return {f"DIV2K_{split}_HR/{key}.png": encoded(image) for key, image in HR[split].items()}
    folder = f"DIV2K_{split}_LR_x8" if scale == 8 else f"DIV2K_{split}_LR_bicubic/X{scale}"
    made = lr_of(split, scale, **{"border": "symmetric", **more})
    return {f"{folder}/{key}x{scale}.png": encoded(image) for key, image in made.items()}


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def extracted(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        put(folder / name, content)


def both_hr(folder: Path) -> Path:
    for split in HR:
        archive(folder / f"DIV2K_{split}_HR.zip", members(split))
    return folder


def borders(root: Path) -> dict[str, str]:
    """Of each LMDB of LR images which border its record names."""
    records = {path.name: Record.read(path) for path in root.glob("LR*.lmdb")}
    return {name: record.recipe.degradation.border for name, record in records.items() if record}


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_the_commands_of_the_readme_make_what_the_option_files_name(tmp_path, run, monkeypatch):
    both_hr(tmp_path / "datasets/DIV2K")
    done = run(PREPARE, "--root", "datasets/DIV2K", "--scales", "2", "3", "4", "--degradations", "BI", "BD")
    assert [line for line in HALF if line in done.stdout] == HALF
    for split in HR:
        root = tmp_path / "datasets/DIV2K" / split
        made = [f"LR{kind}_x{scale}" for kind in ("BI", "BD") for scale in (2, 3, 4)]
        assert {path.name for path in root.iterdir()} == {f"{name}.lmdb" for name in ["HR", *made]}
        assert_equal(pixels(root / "HR.lmdb"), HR[split])
        for name in made:
            assert_equal(pixels(root / f"{name}.lmdb"), lr_of(split, int(name[-1]), name[2:4]))

    monkeypatch.chdir(tmp_path)
    options = read_options("train_RCAN_x4")
    sets = {
        phase: DegradationPairedDataset({**opt, "phase": phase, "scale": options["scale"]})
        for phase, opt in options["datasets"].items()
    }
    assert len(sets["train"]) == 3 and len(sets["val"]) == 2
    item = sets["train"][0]
    assert item["gt"].shape == (3, 192, 192) and item["lq"].shape == (3, 48, 48) and item["gt_path"] == "0001"
    found = sets["val"][1]["lq"].mul(255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    np.testing.assert_array_equal(found, lr_of("valid", 4)["0802"])


def test_the_lines_for_option_files_are_true(tmp_path, run, monkeypatch):
    both_hr(tmp_path / "datasets/DIV2K")
    for split in HR:
        archive(tmp_path / f"datasets/DIV2K/DIV2K_{split}_LR_bicubic_X2.zip", members(split, 2))
    done = run(PREPARE, "--scales", "2", "3", "--degradations", "BI", "DN")
    monkeypatch.chdir(tmp_path)
    seen = []
    gt: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if line.startswith("    dataroot_gt: "):
            gt = yaml.safe_load(line)
        elif line.startswith("    dataroot_lq: "):
            name, note = line.split("  # ")
            opt = {**gt, **yaml.safe_load(name), **yaml.safe_load(note)}
            scale = int(opt["dataroot_lq"][-len("2.lmdb")])
            given = DegradationPairedDataset({**opt, "name": "given", "phase": "val", "scale": scale})
            seen.append((opt["dataroot_lq"], opt["degradation"], len(given)))
            lr = opt.pop("dataroot_lq")
            made = DegradationPairedDataset({**opt, "name": "made", "phase": "val", "scale": scale})
            assert all(made[i]["lq"].equal(given[i]["lq"]) for i in range(len(made))), lr
    assert seen == [
        (f"datasets/DIV2K/{split}/LR{name}.lmdb", {"type": name[:2], **border}, count)
        for split, count in (("train", 3), ("valid", 2))
        for name, border in (("BI_x2", {"border": "symmetric"}), ("BI_x3", {}), ("DN_x2", {}), ("DN_x3", {}))
    ]


def test_official_lr_images_are_taken_from_archives_and_folders_alike(tmp_path, run):
    source, root = tmp_path / "official", tmp_path / "made"
    archive(source / "DIV2K_train_HR.zip", members("train"))
    extracted(source, members("train", 2))
    archive(source / "DIV2K_train_LR_bicubic_X4.zip", members("train", 4))
    extracted(source, members("valid"))
    archive(source / "DIV2K_valid_LR_bicubic_X2.zip", members("valid", 2))
    archive(source / "DIV2K_valid_LR_bicubic_X3.zip", members("valid", 3))
    archive(source / "DIV2K_valid_LR_x8.zip", members("valid", 8))
    before = below(source)
    done = run(PREPARE, "--root", root, "--source", source, "--scales", "2", "3", "4", "8", "--degradations", "BI")
    assert borders(root / "train") == {
        "LRBI_x2.lmdb": "symmetric", "LRBI_x3.lmdb": "replicate", "LRBI_x4.lmdb": "symmetric",
        "LRBI_x8.lmdb": "replicate",
    }  # fmt: skip
    assert borders(root / "valid") == {
        "LRBI_x2.lmdb": "symmetric", "LRBI_x3.lmdb": "symmetric", "LRBI_x4.lmdb": "replicate",
        "LRBI_x8.lmdb": "symmetric",
    }  # fmt: skip
    for split in HR:
        assert_equal(pixels(root / split / "HR.lmdb"), HR[split])
        for name, border in borders(root / split).items():
            assert_equal(pixels(root / split / name), lr_of(split, int(name[6]), border=border))
    assert "LR images given at x8: x8 BI (symmetric), exactly" in done.stdout
    record = json.loads((root / "valid/LRBI_x8.lmdb/degradation.json").read_text())
    assert (record["kind"], record["border"], record["scale"], record["images"]) == ("BI", "symmetric", 8, 2)
    assert below(source) == before, "nothing is written where the archives are"


def test_official_lr_images_are_left_where_bi_is_not_wanted(tmp_path, run):
    both_hr(tmp_path)
    archive(tmp_path / "DIV2K_train_LR_bicubic_X2.zip", {})
    run(PREPARE, "--root", tmp_path, "--scales", "2", "--degradations", "BD", "--splits", "train")
    assert borders(tmp_path / "train") == {"LRBD_x2.lmdb": "replicate"} and not (tmp_path / "valid").exists()


def test_official_lr_images_that_are_something_else_are_reported_and_bi_is_made(tmp_path, run):
    both_hr(tmp_path)
    files = {}
    for name, image in zip(members("train", 2), HR["train"].values(), strict=True):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        files[name] = encoded(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    archive(tmp_path / "DIV2K_train_LR_bicubic_X2.zip", files)
    done = run(PREPARE, "--root", tmp_path, "--scales", "2", "--degradations", "BI", "--splits", "train")
    assert "LR images given at x2: no known degradation" in done.stdout
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"HR.lmdb", "LR_x2.lmdb", "LRBI_x2.lmdb"}
    assert_equal(pixels(tmp_path / "train/LRBI_x2.lmdb"), lr_of("train", 2))


def test_a_kind_added_later_is_made_of_the_lmdb_when_the_archives_are_gone(tmp_path, run):
    both_hr(tmp_path)
    archive(tmp_path / "DIV2K_train_LR_bicubic_X2.zip", members("train", 2))
    run(PREPARE, "--root", tmp_path, "--scales", "2", "--degradations", "BI")
    for path in tmp_path.glob("*.zip"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mdb")}
    run(PREPARE, "--root", tmp_path)
    run(PREPARE, "--root", tmp_path, "--scales", "2", "3", "--degradations", "BI", "BD")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert borders(tmp_path / "train")["LRBI_x2.lmdb"] == "symmetric"
    for split in HR:
        assert len(list((tmp_path / split).iterdir())) == 5
        assert_equal(pixels(tmp_path / split / "LRBD_x2.lmdb"), lr_of(split, 2, "BD"))
        assert_equal(pixels(tmp_path / split / "LRBI_x3.lmdb"), lr_of(split, 3))
    run(PREPARE, "--root", tmp_path, "--download", "--base-url", "http://127.0.0.1:9/")
    said = run(PREPARE, "--root", tmp_path, "--sub-images", "48", "24", code=2).stderr
    assert (
        f"{tmp_path / 'train/HR.lmdb'} may already be cut into sub-images" in said and "leave out --sub-images" in said
    )


@pytest.mark.parametrize("there", [[], ["train"], ["valid"]])
def test_what_is_missing_is_reported_before_anything_is_made(tmp_path, run, there):
    for split in there:
        archive(tmp_path / f"DIV2K_{split}_HR.zip", members(split))
    before = below(tmp_path)
    missing = next(split for split in HR if split not in there)
    said = run(PREPARE, "--root", tmp_path, code=2).stderr
    assert said == (
        f"There is neither {tmp_path / f'DIV2K_{missing}_HR.zip'} nor a folder of that name (looked for from "
        f"{tmp_path}): download the archive from {div2k.BASE_URL}, or use --download.\n"
    )
    assert below(tmp_path) == before


def test_an_archive_that_is_cut_short_is_reported_before_anything_is_made(tmp_path, run):
    both_hr(tmp_path)
    cut = tmp_path / "DIV2K_valid_HR.zip"
    cut.write_bytes(cut.read_bytes()[:-30])
    before = below(tmp_path)
    said = run(PREPARE, "--root", tmp_path, code=2).stderr
    size = cut.stat().st_size
    assert said.startswith(f"{cut} ({size} bytes) cannot be read as a zip archive (File is not a zip file): ")
    assert below(tmp_path) == before


def test_damage_inside_an_archive_is_reported_image_by_image(tmp_path, run):
    both_hr(tmp_path)
    path = tmp_path / "DIV2K_train_HR.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"DIV2K_train_HR/0002.png") + 5000] ^= 1
    path.write_bytes(content)
    said = run(PREPARE, "--root", tmp_path, code=1).stderr
    assert f"{path}: DIV2K_train_HR/0002.png: cannot be read (Bad CRC-32 for file 'DIV2K_train_HR/0002.png')" in said
    assert "1 image cannot be used" in said
    assert {path.name for path in tmp_path.iterdir()} == {"DIV2K_train_HR.zip", "DIV2K_valid_HR.zip"}


def test_nothing_is_ever_extracted(tmp_path, run):
    root = tmp_path / "a/b/c"
    both_hr(root)
    evil = {
        name: encoded(scene(200, 211, seed=i))
        for i, name in enumerate(["../../evil1.png", "/evil2.png", "DIV2K_train_HR/../../evil3.png"])
    }
    archive(root / "DIV2K_train_HR.zip", {**members("train"), **evil, "../../evil.sh": b"", "..\\evil4.txt": b""})
    before = below(tmp_path)
    run(PREPARE, "--root", root)
    assert {name for name in below(tmp_path) - before if not name.startswith(("a/b/c/train", "a/b/c/valid"))} == set()
    assert not [name for name in below(tmp_path) if "evil" in name] and not Path("/evil2.png").exists()
    assert {"0001", "0002", "0003"} <= set(pixels(root / "train/HR.lmdb"))


class Server(ThreadingHTTPServer):
    """Serves a folder, and remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_request(handler, *_: object) -> None:
                self.asked.append(handler.path)

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/DIV2K"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    both_hr(tmp_path / "served/DIV2K")
    with Server(tmp_path / "served") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the script in this process, where the archives of this test pass for the published ones."""

    def script(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", [str(PREPARE), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(PREPARE), run_name="__main__")
        return int(ended.value.code or 0)

    return script


def test_what_is_missing_is_downloaded(tmp_path, server, call, monkeypatch):
    served = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "served/DIV2K").iterdir()
    }
    assert served.keys() == div2k.SHA256.keys()
    monkeypatch.setattr(div2k, "SHA256", served)
    root = tmp_path / "root"
    extracted(root, members("train"))
    assert call("--root", root, "--download", "--base-url", server.url) == 0
    assert server.asked == ["/DIV2K/DIV2K_valid_HR.zip"]
    assert {path.name for path in root.iterdir()} == {"DIV2K_train_HR", "DIV2K_valid_HR.zip", "train", "valid"}
    for split in HR:
        assert_equal(pixels(root / split / "HR.lmdb"), HR[split])
    other = tmp_path / "other/place"
    assert call("--root", other / "root", "--source", other, "--download", "--base-url", server.url + "/") == 0
    assert server.asked[1:] == ["/DIV2K/DIV2K_train_HR.zip", "/DIV2K/DIV2K_valid_HR.zip"]
    assert {path.name for path in other.iterdir()} == {"DIV2K_train_HR.zip", "DIV2K_valid_HR.zip", "root"}
    (other / "DIV2K_train_HR.zip").unlink()
    assert call("--root", other / "root", "--source", other, "--download", "--base-url", server.url) == 0
    assert len(server.asked) == 3, "what it would be needed for is made"


def test_what_is_not_the_published_archive_is_refused_and_removed(tmp_path, server, call, capsys):
    root = tmp_path / "root"
    found = hashlib.sha256((tmp_path / "served/DIV2K/DIV2K_train_HR.zip").read_bytes()).hexdigest()
    assert call("--root", root, "--download", "--base-url", server.url) == 2
    said = capsys.readouterr().err
    assert f"{server.url}/DIV2K_train_HR.zip has sha256 {found}" in said and "it was removed" in said
    assert "expected 9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335" in said
    assert not list(root.glob("*.zip")) and not list(root.glob("*.part*")) and not list(root.glob("*/*"))
    assert call("--root", root, "--download", "--base-url", server.url + "/nowhere") == 2
    assert "status 404" in capsys.readouterr().err


def test_the_published_checksums():
    sizes = {name: len(digest) for name, digest in div2k.SHA256.items()}
    assert sizes == {"DIV2K_train_HR.zip": 64, "DIV2K_valid_HR.zip": 64}
    assert div2k.BASE_URL == "https://data.vision.ee.ethz.ch/cvl/DIV2K/"


def test_scales_and_degradations_go_together(tmp_path, run):
    said = run(PREPARE, "--root", tmp_path, "--scales", "2", code=2).stderr
    assert said == "--scales and --degradations go together: LR images of each kind at each scale.\n"
