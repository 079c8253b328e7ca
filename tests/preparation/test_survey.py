"""Which degradation made a folder, and which pairs do not fit."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from rcan_plugin.cli.identify import main
from rcan_plugin.degradations import Identification, degrade, noise_rng
from rcan_plugin.degradations.resizers import Resemblance
from rcan_plugin.images.pairs import Affixes, guess_affixes
from rcan_plugin.preparation.survey import Group, survey
from tests.conftest import ROOT
from tests.data.tiny import picture, write, write_lmdb
from tests.reference import REFERENCE, needs_reference


def scene(height: int, width: int, seed: int) -> np.ndarray:
    """Something with edges and smooth places, far from black and white."""
    image = cv2.GaussianBlur(picture(height, width, seed).astype(np.float32), (0, 0), 2)
    image = 128 + (image - image.mean()) * 2.5
    image[height // 3 :, width // 4 : width // 2] += 30
    return image.clip(40, 215).astype(np.uint8)


def make(folder, kinds: list[str], scale=2, hr="{}", lr="{}"):
    for i, kind in enumerate(kinds):
        name, border = f"n{i}", {"border": "symmetric"} if kind == "symmetric" else {}
        image = scene(96 + 4 * i, 120, seed=i)
        made = degrade(image, scale, "BI" if kind == "symmetric" else kind, rng=noise_rng(0, name), **border)
        write(folder / "HR" / f"{hr.format(name)}.png", image)
        write(folder / "LR" / f"{lr.format(name)}.png", made)
    return folder / "HR", folder / "LR"


def test_one_group_and_the_odd_ones_out(tmp_path):
    groups = survey(*make(tmp_path, ["BI", "BI", "symmetric", "BI", "BD"]))
    assert [(str(group), list(group.pairs)) for group in groups] == [
        ("x2 BI, replicate border, exactly", ["n0.png", "n1.png", "n3.png"]),
        ("x2 BI, symmetric border, exactly", ["n2.png"]),
        ("x2 BD, replicate border, exactly", ["n4.png"]),
    ]


def test_noise_is_one_group_though_each_estimate_differs(tmp_path):
    (group,) = survey(*make(tmp_path, ["DN"] * 4))
    assert len(group.pairs) == 4 and str(group).startswith("x2 DN, noise about ")
    assert abs(float(str(group).split()[-1]) - 30) < 2


def test_one_resizer_is_one_group_though_borders_and_kinds_look_different(tmp_path):
    hr, lr = make(tmp_path, ["BI"] * 7)
    for path in lr.iterdir():
        image = cv2.imread(str(hr / path.name))
        write(path, cv2.resize(image, (60, len(image) // 2), interpolation=cv2.INTER_AREA))
    (group,) = survey(hr, lr)
    assert len(group.pairs) == 7 and len(group.resemblances) == 5, "samples"
    shares = [100 * pair.differing / pair.total for pair in group.pairs.values()]
    assert str(group) == (
        f"x2, none of the papers' degradations: {min(shares):.3g} to {max(shares):.3g} % of the values differ from BI; "
        "looks like OpenCV bilinear or OpenCV area (0 % differ)"
    )


def test_borders_of_another_resizer_are_not_compared():
    """`identify` names the nearer one, which depends on the image."""
    group = Group(Identification(True, 2, "BI", "replicate", differing=500, total=1000))
    for kind, border, shift in (("BI", "symmetric", (0, 0)), ("BI", "either", (0, 0)), ("BD", "replicate", (1, 0))):
        assert group.fits(Identification(True, 2, kind, border, differing=700, total=1000, shift=shift))
    assert not group.fits(Identification(True, 3, "BI", "replicate", differing=500, total=1000))
    assert not group.fits(Identification(True, 2, "BI", "replicate", total=1000)), "exact"
    exact = Group(Identification(True, 2, "BI", "replicate", total=1000))
    assert not exact.fits(Identification(True, 2, "BI", "symmetric", total=1000))
    assert exact.fits(Identification(True, 2, "BI", "either", total=1000))


def test_samples_that_look_different_are_counted():
    group = Group(Identification(True, 2, "BI", "replicate", differing=500, total=1000))
    group.add("a", group.first)
    group.resemblances = [Resemblance("A", 0.0), Resemblance("B", 0.02), Resemblance("B", 0.01)]
    assert str(group).endswith(
        "50 % of the values differ from BI; looks like B (2 % differ), 2 of 3 samples; looks like A (0 % differ), "
        "1 of 3 samples"
    )


def test_the_exit_code_is_1_if_no_paper_makes_pairs_like_these(tmp_path, capsys):
    hr, lr = make(tmp_path, ["BI", "BI"])
    assert main([str(hr), str(lr)]) == 0
    for path in lr.iterdir():
        write(path, np.ascontiguousarray(cv2.imread(str(hr / path.name))[::2, ::2]))
    assert main([str(hr), str(lr)]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "2 of 2 pairs: x2 decimation, shifted by (-0.5, -0.5) HR pixels (down, right), exactly; looks like OpenCV "
        "nearest (0 % differ)"
    ]
    for path in lr.iterdir():
        write(path, degrade(cv2.imread(str(hr / path.name)), 2, "DN", noise=15, rng=noise_rng(0, path.name)))
    assert main([str(hr), str(lr)]) == 1
    assert capsys.readouterr().out.endswith(" (the papers' is 30)\n")


def test_templates_are_found_out(tmp_path):
    hr, lr = make(tmp_path, ["BI", "BI"], hr="{}_HR_x2", lr="{}_LRBI_x2")
    names = ([path.stem for path in folder.iterdir()] for folder in (hr, lr))
    assert guess_affixes(*names) == (Affixes("n", "_HR_x2"), Affixes("n", "_LRBI_x2"))
    (group,) = survey(hr, lr)
    assert list(group.pairs) == ["n0_LRBI_x2.png", "n1_LRBI_x2.png"]
    assert len(survey(hr, lr, hr_template="{}_HR_x2", lr_template="{}_LRBI_x2")) == 1


def test_lmdbs_do_as_well(tmp_path):
    images = {name: scene(96, 120, seed) for seed, name in enumerate("ab")}
    hr = write_lmdb(tmp_path / "HR.lmdb", images)
    lr = write_lmdb(tmp_path / "LR.lmdb", {name: degrade(image, 3, "BD") for name, image in images.items()})
    (group,) = survey(hr, lr)
    assert str(group) == "x3 BD, replicate border, exactly" and list(group.pairs) == ["a", "b"]


def call(*arguments) -> tuple[int, str, str]:
    command = [sys.executable, ROOT / "scripts/identify_degradation.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_script_prints_groups_and_exits_with_1_for_odd_ones(tmp_path):
    code, out, _ = call(*make(tmp_path, ["BI", "BI", "BD"]))
    assert code == 1
    lines = out.splitlines()
    assert lines[:2] == [
        "2 of 3 pairs: x2 BI, replicate border, exactly",
        "1 of 3 pairs: x2 BD, replicate border, exactly",
    ]
    assert lines[2].startswith("  does not fit: n2.png: x2 BD, replicate border: 0 of ")
    (tmp_path / "HR/n2.png").unlink()
    (tmp_path / "LR/n2.png").unlink()
    code, out, _ = call(tmp_path / "HR", tmp_path / "LR")
    assert (code, out) == (0, "2 of 2 pairs: x2 BI, replicate border, exactly\n")
    code, out, err = call(tmp_path / "HR", tmp_path / "nowhere")
    assert (code, out) == (2, "") and f"folder {tmp_path / 'nowhere'} does not exist" in err


def test_no_pairs_at_all_are_odd_ones_too_however_many(tmp_path):
    hr, lr = make(tmp_path, ["BI", "BI", "BI"])
    for name in ("n0", "n1"):
        write(lr / f"{name}.png", np.ascontiguousarray(np.rot90(cv2.imread(str(lr / f"{name}.png")))))
    code, out, _ = call(hr, lr)
    lines = out.splitlines()
    assert code == 1 and lines[:2] == ["1 of 3 pairs: x2 BI, replicate border, exactly", "2 of 3 pairs: not a pair"]
    assert [line.split(":")[1] for line in lines[2:]] == [" n0.png", " n1.png"]
    (hr / "n2.png").unlink()
    (lr / "n2.png").unlink()
    assert call(hr, lr)[0] == 1


def test_what_is_no_pair_is_an_odd_one(tmp_path):
    hr, lr = make(tmp_path, ["BI", "BI", "BI"])
    write(lr / "n1.png", picture(50, 60, seed=77))
    groups = survey(hr, lr)
    assert [(str(group), len(group.pairs)) for group in groups] == [
        ("x2 BI, replicate border, exactly", 2),
        ("not a pair", 1),
    ]


FOLDERS = [
    *[("set5", f"LRBI_replicate/x{scale}", f"x{scale} BI, replicate border, exactly") for scale in (2, 3, 4)],
    *[("set5", f"LRBI_symmetric/x{scale}", f"x{scale} BI, symmetric border, exactly") for scale in (2, 3, 4, 8)],
    *[("set5", f"LRBD_octave/x{scale}", f"x{scale} BD, replicate border, exactly") for scale in (2, 3, 4)],
    *[("set14", f"LRBI_replicate/x{scale}", f"x{scale} BI, replicate border, exactly") for scale in (2, 3, 4)],
]


@needs_reference
def test_set5_by_opencvs_area_is_one_group(tmp_path):
    hr = REFERENCE / "set5/HR/x2"
    for path in hr.iterdir():
        image = cv2.imread(str(path))
        size = image.shape[1] // 2, image.shape[0] // 2
        write(tmp_path / path.name.replace("_HR", ""), cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    (group,) = survey(hr, tmp_path)
    assert len(group.pairs) == 5
    assert str(group) == (
        "x2, none of the papers' degradations: 47.5 to 68.8 % of the values differ from BI; looks like OpenCV bilinear "
        "or OpenCV area (0 % differ)"
    )


@needs_reference
@pytest.mark.parametrize(("images", "folder", "expected"), FOLDERS)
def test_every_reference_folder_is_named_rightly(images, folder, expected):
    (group,) = survey(REFERENCE / images / "HR" / folder.split("/")[1], REFERENCE / images / folder)
    assert str(group) == expected
    assert len(group.pairs) == {"set5": 5, "set14": 14}[images]
