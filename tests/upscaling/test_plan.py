"""Where `rcan upscale` writes which picture, and what it refuses before the work."""

import os
import subprocess
from pathlib import Path

import pytest

from rcan_plugin.pictures import is_picture_name
from rcan_plugin.pictures.writing import _HOST
from rcan_plugin.upscaling.inputs import find
from rcan_plugin.upscaling.plan import Names, Plan, plan
from tests.rights import forbidden


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def made(*inputs: str, output: str = "out", overwrite: bool = False, lines=(), **names: str) -> Plan:
    found = find(inputs, Path(output), is_picture_name, lines).found
    return plan(inputs, found, Names(output, **names), overwrite)


def pairs(*inputs: str, **arguments) -> list[tuple[str, str]]:
    return [(str(job.source), str(job.output)) for job in made(*inputs, **arguments).jobs]


def test_the_tree_of_a_folder_is_kept_and_so_are_formats_that_can_be_written(place):
    touch("in/a.png", "in/sub dir/b.c.JPG", "in/sub dir/d.gif", "in/e.mpo", "in/ж.tif")
    assert pairs("in") == [
        ("in/a.png", "out/a.png"),
        ("in/e.mpo", "out/e.png"),
        ("in/ж.tif", "out/ж.tif"),
        ("in/sub dir/b.c.JPG", "out/sub dir/b.c.JPG"),
        ("in/sub dir/d.gif", "out/sub dir/d.png"),
    ]
    assert [output for _, output in pairs("in", suffix="_x2", format="JPEG")] == [
        "out/a_x2.jpg",
        "out/e_x2.jpg",
        "out/ж_x2.jpg",
        "out/sub dir/b.c_x2.JPG",
        "out/sub dir/d_x2.jpg",
    ]


def test_the_output_is_a_file_for_one_picture_and_else_a_folder(place):
    touch("a.png", "b.png", "photo.v2", "in/a.png")
    Path("there").mkdir()
    assert pairs("a.png", output="new/b.webp") == [("a.png", "new/b.webp")]
    assert pairs("a.png", output="there") == [("a.png", "there/a.png")]
    assert pairs("a.png", output="new/") == [("a.png", "new/a.png")]
    assert pairs("photo.v2", output="new/") == [("photo.v2", "new/photo.v2.png")]
    assert pairs("a.png", "b.png", output="new.v2") == [("a.png", "new.v2/a.png"), ("b.png", "new.v2/b.png")]
    assert pairs("-", output="new", lines=[b"a.png"]) == [("a.png", "new/a.png")]
    assert pairs("in", output="new") == [("in/a.png", "new/a.png")]


@pytest.mark.parametrize(
    ("inputs", "output", "names", "message"),
    [
        (
            ["a.png"],
            "x.psd",
            {},
            r"The output x\.psd has the suffix \.psd; expected one of \.png, \.jpg, .* ends with /",
        ),
        (["a.png"], "x", {}, r"The output x has no suffix; expected one of "),
        (["a.png"], "x.png", {"format": "WEBP"}, r"x\.png .*PNG.*WEBP"),
        (["a.png"], "x.png", {"suffix": "_x2"}, r"--suffix _x2 is for results in a folder, but the output x\.png is a"),
        (["a.png", "b.png"], "x.png", {}, r"x\.png is named like a picture, but .* \(x\.png/ makes one of this name\)"),
        (["in"], "b.png", {}, r"The output b\.png is a file; expected a folder"),
        (["a.png"], "/dev/null", {}, r"The output /dev/null is a device; expected a file or a folder"),
        (["a.png"], "link.png", {}, r"The output link\.png is a broken link; expected a file or a folder"),
        (
            ["a.png"],
            "b.png/x.png",
            {},
            r"^The output folder b\.png cannot be made: b\.png is a file; expected a folder",
        ),
        (["in"], "there", {}, r"The output there/a\.png is a folder: move it away"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_outputs_that_do_not_fit(inputs, output, names, message, place):
    touch("a.png", "b.png", "in/a.png", "there/a.png/x")
    Path("link.png").symlink_to("gone")
    before = sorted(place.rglob("*"))
    with pytest.raises(ValueError, match=message):
        made(*inputs, output=output, **names)
    assert sorted(place.rglob("*")) == before


def test_what_exists_is_kept_unless_it_may_be_overwritten(place):
    touch("in/a.png", "in/b.png", "out/a.png")
    kept = made("in")
    assert [job.source.name for job in kept.jobs] == ["b.png"] and kept.existing == [Path("out/a.png")]
    replaced = made("in", overwrite=True)
    assert [job.replaces for job in replaced.jobs] == [True, False] and replaced.existing == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_several_pictures_with_one_output_are_refused(overwrite, place):
    touch("in/a.png", "in/a.jpg", "other/a.png", "other/sub/b.png", "list/b.png")
    assert len(pairs("in")) == 2
    with pytest.raises(ValueError) as refused:
        made("in", "other", format="WEBP", overwrite=overwrite)
    assert str(refused.value) == (
        "Several pictures would be written to the same file: rename them, or run the command once for each.\n"
        "  out/a.webp: result of in/a.jpg and of in/a.png and of other/a.png"
    )
    with pytest.raises(ValueError, match=r"out/b\.png: result of other/sub/b\.png and of list/b\.png"):
        made("-", lines=[b"other/sub/b.png\n", b"list/b.png"], overwrite=overwrite)
    touch(*(f"many/{number:02}.{kind}" for number in range(13) for kind in ("png", "jpg")))
    with pytest.raises(ValueError, match=r"many/09\.jpg .*\n  and 3 more$"):
        made("many", format="PNG", overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_an_input_is_refused(overwrite, place):
    touch("in/b.png")
    Path("link").symlink_to("in")
    message = r"^These outputs are inputs, too, .*\n  .*b\.png: result of in/b\.png$"
    for inputs, output in ((["in"], "in"), (["in/b.png"], "in/b.png"), (["in/b.png"], "in"), (["in"], "link")):
        with pytest.raises(ValueError, match=message):
            made(*inputs, output=output, overwrite=overwrite)
    touch("in/b.jpg")
    with pytest.raises(ValueError, match=r"\n  in/b\.png: result of in/b\.jpg\n  in/b\.png: result of in/b"):
        made("in", output="in", format="PNG", overwrite=overwrite)


def test_results_beside_the_inputs_are_not_upscaled_again(place):
    touch("in/a.png", "in/b.png", "in/c_x2.png")
    assert pairs("in", output="in", suffix="_x2")[0] == ("in/a.png", "in/a_x2.png")
    touch("in/a_x2.png", "in/b_x2.png")
    second = made("in", output="in", suffix="_x2")
    assert [str(job.source) for job in second.jobs] == ["in/c_x2.png"]
    assert second.results == [Path("in/a_x2.png"), Path("in/b_x2.png")]
    assert second.existing == [Path("in/a_x2.png"), Path("in/b_x2.png")]
    with pytest.raises(ValueError, match=r"in/a_x2\.png: result of in/a\.png\n  in/b_x2\.png: result of in/b\.png$"):
        made("in", output="in", suffix="_x2", overwrite=True)


def test_folders_that_cannot_be_written_to_are_named_before_the_work(place):
    touch("in/sub/a.png", "in/b.png", "out/sub/x")
    with forbidden("out/sub", mode=0o500), pytest.raises(PermissionError, match=r"out/sub cannot be written to: perm"):
        made("in")
    with (
        forbidden(place, mode=0o500),
        pytest.raises(PermissionError, match=r"new/deep cannot be made in .*: permission"),
    ):
        made("in", output="new/deep")
    assert not Path("new").exists()
    touch("file")
    with pytest.raises(
        ValueError, match=r"^The output folder file/new cannot be made: .*file is a file; expected a fo"
    ):
        made("in", output="file/new")


def test_unfinished_files_of_processes_that_were_killed_are_removed(place):
    ended = subprocess.Popen(["true"])
    ended.wait()
    touch("in/a.png", "in/b/c.png", "out/b/.x.part")
    kept = [f"out/.a.png.{_HOST}-{os.getpid()}.part", f"out/.a.png.00000000-{ended.pid}.part", "out/a.1.part"]
    touch(*kept, f"out/.a.png.{_HOST}-{ended.pid}.part", f"out/b/.a.\n.{_HOST}-{ended.pid}.part")
    assert len(pairs("in")) == 2
    assert {str(path) for path in place.glob("out/**/*") if path.is_file()} == {
        str(place / name) for name in [*kept, "out/b/.x.part"]
    }
