"""Option files of one network are one text but for what their names say: scale, name and paths."""

import re
from collections import defaultdict

import pytest

from tests.conftest import ROOT

OPTIONS = ROOT / "options"
NAME = re.compile(r"(?P<network>(?:others/)?(?:train|test)_\w+?)_x(?P<scale>\d)(?P<variant>_fast)?")

FAMILIES: dict[str, dict[int, str]] = defaultdict(dict)
"""The files of each network by scale: `{"others/train_EDSR": {2: "others/train_EDSR_x2", ...}, ...}`."""
for path in sorted(OPTIONS.rglob("*.yml")):
    name = path.relative_to(OPTIONS).with_suffix("").as_posix()
    if match := NAME.fullmatch(name):
        FAMILIES[match["network"] + (match["variant"] or "")][int(match["scale"])] = name

ORDINALS = {2: "second", 3: "third", 4: "fourth"}

GT_SIZES = {
    "others/train_SRCNN": {2: 32, 3: 33, 4: 32},
    "others/train_FSRCNN": {2: 20, 3: 21, 4: 24},
    "others/train_DRCN": {2: 42, 3: 42, 4: 40},
    "others/train_LapSRN": {2: 128, 4: 128, 8: 128},
}
"""Patches in HR pixels, where they are not of the same size in LR pixels at each scale."""

OTHER_SCALE = {
    **dict.fromkeys(("train_RCAN", "train_RCAN_fast"), "RCAN_BI_x2"),
    "others/train_EDSR": "EDSR_BI_x2",
    "others/train_MSRResNet": "MSRResNet_BI_x2",
    "others/train_FSRCNN": "FSRCNN_BI_x3",
    "train_RCANlight": "RCANlight_BI_x2",
}
"""The network that comments tell to start from at every other scale."""
STARTS_FROM_X2 = {
    "train_RCANit": (
        r" It starts from the weights of x2 \(train_RCANit_x2\.yml, trained before\); the trunk keeps them in the "
        r"first iterations\.",
        r"^  pretrain_network_g: experiments/RCANit_BI_x2/models/net_g_latest\.pth\n",
        r"^  strict_load_g: false  # .*\n",
        r"^  freeze: \{parts: \[conv_first, body\], until: 20000\}.*\n",
        " train:freeze=~",
    ),
    "train_RCANlight": (r"^  # freeze: \{parts: \[conv_first, body\], until: 60000\}  # .*\n",),
}
"""What the files of x3 and x4 have, and that of x2 does not."""
EXCEPTIONS = {"others/train_LapSRN_x8": ("depth: 5  # the authors' x8, to our knowledge\n", "depth: 10\n")}
"""A line of a file, and the line that its siblings have instead."""


def neutral(family: str, scale: int) -> str:
    """The file's text without what its name says, after checking that it says so."""
    name = FAMILIES[family][scale]
    text = (OPTIONS / f"{name}.yml").read_text()
    text = re.sub(r"\n# (?!python|On N GPUs|torchrun)", " ", text)  # the wrapped sentences at the head
    if name in EXCEPTIONS:
        line, usual = EXCEPTIONS[name]
        assert line in text
        text = text.replace(line, usual)

    def replace(pattern: str, neutral: str, least: int = 1) -> None:
        nonlocal text
        text, count = re.subn(pattern, neutral, text, flags=re.MULTILINE)
        assert count >= least, f"{name}: {pattern}"

    if family in GT_SIZES:
        size = GT_SIZES[family][scale]
        assert size % scale == 0
        replace(rf"gt_size: {size}  # (?:{size // scale} LR pixels|(.*the paper's \d+))$", r"gt_size: S  # \1")
    elif "train" in family:
        (lr_size,) = re.findall(r"gt_size: \d+  # (\d+) LR pixels$", text, flags=re.MULTILINE)
        replace(f"gt_size: {int(lr_size) * scale}  #", "gt_size: S  #")
    if family in OTHER_SCALE:
        source = OTHER_SCALE[family]
        assert ("# To start from" in text) == (not source.endswith(f"x{scale}")), name
        lines = rf"  # To start from .*\n  # pretrain_network_g: experiments/{source}/.*\n(  # strict_load_g: false\n)?"
        replace(f"^{lines}", "", least=0)
        assert "# To start from" not in text, f"{name}: from {source}"
    for pattern in STARTS_FROM_X2.get(family, ()):
        replace(pattern, "", least=scale != 2)
    if family == "train_RCANit":
        replace(f"gt_size={64 * scale} ", "gt_size=S ")
    if "BD" in family:
        replace(f"every {ORDINALS[scale]} pixel", "every Sth pixel")
        replace(r" An extension of the paper, which has BD only at x3\.", "", least=scale != 3)
    replace(rf"^# (Train|Test) (.*?) x{scale}\b", r"# \1 \2 xS")
    replace(rf"_x{scale}(?=$|_fast|_large|/|\.yml)", "_xS", least=2)  # the command and the run's name
    replace(rf"^scale: {scale}$", "scale: S")
    replace(rf"^  upscale: {scale}$", "  upscale: S")
    replace(rf"crop_border: {scale}$", "crop_border: S", least=2)
    replace(f"without {scale} border pixels$", "without S border pixels")
    return text


def test_every_network_of_several_scales_has_a_file_for_each():
    scales = {family: set(files) for family, files in FAMILIES.items()}
    assert scales.pop("others/train_LapSRN") == {2, 4, 8}, "its pyramid doubles"
    assert (scales.pop("train_RCAN_DN"), scales.pop("others/train_SRGAN")) == ({3}, {4})
    assert len(scales) == 13
    assert all(found == {2, 3, 4} for found in scales.values()), scales


@pytest.mark.parametrize("family", FAMILIES)
def test_siblings_are_one_text(family):
    texts = {scale: neutral(family, scale) for scale in FAMILIES[family]}
    first, *others = texts
    for scale in others:
        assert texts[scale].splitlines() == texts[first].splitlines(), f"x{scale} and x{first}"
