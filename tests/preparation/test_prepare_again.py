"""A second run into the same folder: what it keeps, adds and refuses."""

from pathlib import Path

import pytest

from rcan_plugin.degradations import degrade
from tests.data.tiny import write
from tests.preparation.scenes import BD, BI, DN, assert_equal, make, pixels, put, write_all
from tests.preparation.sets import COLOUR, files, small, state


@pytest.fixture
def made(tmp_path, capsys) -> Path:
    """A folder with images in `HR` and LMDBs in `out`."""
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), recipes=[BI], scales=[2])
    capsys.readouterr()
    return tmp_path


def test_what_is_there_is_kept(made, capsys):
    before = state(made)
    make(made / "out", made / "HR", recipes=[BI], scales=[2])
    said = capsys.readouterr().out
    assert said == "".join(f"{made / 'out' / name}.lmdb exists already: kept.\n" for name in ("HR", "LRBI_x2"))
    assert state(made) == before and files(made) == ["HR", "out"]


def test_a_degradation_added_later(made, capsys):
    before = state(made)
    targets = make(made / "out", made / "HR", recipes=[BI, BD], scales=[2, 3])
    assert [target.name for target in targets] == ["HR", "LRBI_x2", "LRBI_x3", "LRBD_x2", "LRBD_x3"]
    assert before.items() <= state(made).items()
    assert_equal(pixels(made / "out/LRBD_x3.lmdb"), small(COLOUR, "BD", 3))
    assert capsys.readouterr().out.count("kept") == 2


OTHER_IMAGES = (
    "{} exists and was made of other images (or of copies with another date), or in another way: remove it to make it "
    "again, or choose another folder."
)


def test_what_was_made_of_other_images_or_in_another_way_is_refused(made):
    before = state(made / "out")
    settings = {"recipes": [BI], "scales": [2]}
    write(made / "LR/0001.png", small(COLOUR)["0001"])
    write_all(made / "LR", small(COLOUR))

    def refused(name: str, **more) -> None:
        with pytest.raises(FileExistsError) as raised:
            make(made / "out", made / "HR", **{**settings, **more})
        assert str(raised.value) == OTHER_IMAGES.format(made / f"out/{name}.lmdb")
        assert state(made / "out") == before and files(made) == ["HR", "LR", "out"]

    refused("HR", codec="png")
    refused("HR", sub_images=(20, 10))
    refused("LRBI_x2", lr={2: made / "LR"})
    write(made / "HR/0004.png", COLOUR["0001"])
    refused("HR")
    (made / "HR/0004.png").unlink()
    make(made / "out", made / "HR", **settings)
    write(made / "HR/0002.png", COLOUR["0002"][::-1])
    refused("HR")
    (made / "HR/0002.png").unlink()
    refused("HR")


def test_lr_images_that_changed_since(made):
    lr = write_all(made / "LR", small(COLOUR, "BD", 3))
    for _ in range(2):
        make(made / "out", made / "HR", {3: lr})
    write(lr / "0002.png", degrade(COLOUR["0002"], 3, "BI"))
    with pytest.raises(FileExistsError) as raised:
        make(made / "out", made / "HR", {3: lr})
    assert str(raised.value) == OTHER_IMAGES.format(made / "out/LRBD_x3.lmdb")


def test_an_lmdb_of_another_tool_is_not_taken_for_ours(made):
    (made / "out/HR.lmdb/checksums.json").unlink()
    with pytest.raises(FileExistsError, match="was made of other images"):
        make(made / "out", made / "HR")
    put(made / "out/HR.lmdb/checksums.json", b"{}")
    with pytest.raises(FileExistsError, match=r"checksums.json is damaged: .*: check it with verify-lmdb, or"):
        make(made / "out", made / "HR")


def test_lr_images_that_are_bad_where_the_hr_images_are_there_already(made):
    write_all(made / "LR", small(COLOUR, "BD", 3))
    (made / "LR/0002.png").write_bytes((made / "LR/0002.png").read_bytes()[:-60])
    before = state(made / "out/HR.lmdb")
    for _ in range(2):
        with pytest.raises(FileExistsError) as raised:
            make(made / "out", made / "HR", {3: made / "LR"}, skip_bad=True)
        assert str(raised.value) == (
            f"{made / 'out/HR.lmdb'}, made before, and {made / 'out/LRBD_x3.lmdb'} differ in 1 images, such as "
            "'0002', because some can no longer be used: remove both, and run this again."
        )
        assert state(made / "out/HR.lmdb") == before
    (made / "LR/0002.png").write_bytes(b"")
    with pytest.raises(FileExistsError, match="was made of other images"):
        make(made / "out", made / "HR", {3: made / "LR"}, skip_bad=True)


def test_hr_images_of_the_lmdb_that_is_there(made):
    write_all(made / "LR", small(COLOUR, "BD", 3))
    before = state(made / "out/HR.lmdb")
    make(made / "out", made / "out/HR.lmdb", {3: made / "LR"}, recipes=[DN], scales=[2], keep_hr=True)
    assert state(made / "out/HR.lmdb") == before
    assert files(made / "out") == ["HR.lmdb", "LRBD_x3.lmdb", "LRBI_x2.lmdb", "LRDN_x2.lmdb"]
    assert_equal(pixels(made / "out/LRDN_x2.lmdb"), small(COLOUR, "DN"))


def test_what_was_made_of_the_lmdb_that_is_there_is_kept_as_it_was(tmp_path):
    lr = write_all(tmp_path / "LR", small(COLOUR, border="symmetric"))
    make(tmp_path / "out", write_all(tmp_path / "HR", COLOUR), {2: lr})
    before = state(tmp_path / "out")
    for _ in range(2):
        targets = make(tmp_path / "out", tmp_path / "out/HR.lmdb", recipes=[BI], scales=[2, 3], keep_hr=True)
        assert [(target.name, target.recipe.degradation.border) for target in targets[1:]] == [
            ("LRBI_x2", "symmetric"), ("LRBI_x3", "replicate")
        ]  # fmt: skip
        assert before.items() <= state(tmp_path / "out").items()
    assert_equal(pixels(tmp_path / "out/LRBI_x3.lmdb"), small(COLOUR, scale=3))


def test_a_folder_that_cannot_be_made(made, monkeypatch):
    monkeypatch.chdir(made)
    before = state(made)
    with pytest.raises(ValueError, match=r"^folder of the LMDBs HR/0001.png cannot be made: HR/0001.png is a file"):
        make(Path("HR/0001.png"), made / "HR")
    for out in (".", ".."):
        with pytest.raises(ValueError) as raised:
            make(Path(out), made / "HR")
        assert str(raised.value) == (
            f"{out} cannot be the folder of the LMDBs: name a folder; it is created if needed."
        )
    assert state(made) == before
