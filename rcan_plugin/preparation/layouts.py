"""Recognises the HR images of test sets in the folder layouts in which they are distributed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path, PurePosixPath

from rcan_plugin.images.sources import Source, key_of

COUNTS = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100, "Manga109": 109}
"""The test sets, and the number of images of each."""

LAYOUTS = (
    "Set5/HR/*, Set5/original/*, Set5/*, OriginalTestData/Set5/*, Set5/image_SRF_4/*_SRF_4_HR.png, "
    "HR/Set5/x4/*_HR_x4.png, Set5/GTmod12/*, in a folder or in a zip or tar archive"
)

# Folder names, in lower case, and what they mean for the images inside.
_SET_NAMES = {name.lower(): name for name in COUNTS} | {"bsd100": "B100", "bsds100": "B100"}
_SET = re.compile(rf"({'|'.join(_SET_NAMES)})((?:[ _-](?:sr|hr|gt|master|main))*)")
_WHOLE = re.compile(r"hr|gt|originals?|originaltestdata|ground_?truth|images?")
_CROPPED = re.compile(r"(?:image_)?(?:srf_?|(?:hr|gt)?_?(?:x|mod))([2348])")
_MOD12 = re.compile(r"(?:hr|gt)?_?mod12")
_NOT_HR = re.compile(r"l[rq].*|sr|bicubic.*|results?|visualization")

# Image names. SelfExSR has the results of many methods beside the HR images: `img_001_SRF_4_SRCNN`.
_HR_STEM = re.compile(r"(.+?)(?:_SRF_([2348]))?_(?:HR|GT)(?:_x([2348]))?", re.IGNORECASE)
_NOT_HR_STEM = re.compile(r".+_(?:SRF_\d.*|x\d|L[RQ](?:B[ID]|DN)?(?:_?x\d)?|bicubic|nearest)", re.IGNORECASE)


class Kind(IntEnum):
    """Kinds of images in a set, the best first."""

    ORIGINAL = 0
    CROPPED = 1
    MOD12 = 2


KIND_NAMES = {
    Kind.ORIGINAL: "originals",
    Kind.CROPPED: "HR cropped to multiples of the scale",
    Kind.MOD12: "cropped to multiples of 12 (GTmod12)",
}


@dataclass(frozen=True)
class Candidate:
    """An HR image of a test set, recognised by its path.

    Attributes:
        name: name of the test set.
        kind: kind of the image.
        place: location of its set, for messages; equal for all images of one kind that belong together.
        key: name of the image in the result, without suffix.
        scale: the scale for which it was cropped, or 0.
        source: the image.
    """

    name: str
    kind: Kind
    place: str
    key: str
    scale: int
    source: Source


def recognise(path: Path, source: Source) -> Candidate | None:
    """Recognise by the names of folders and file which HR image of which test set `source` is; None if it is none.

    Args:
        path: the folder or archive that contains `source`. Only the last folder of the path counts; an archive counts
            as a folder with its name without suffix.
        source: the image.
    """
    top = path.name if path.name not in ("", "..") else path.resolve().name
    if path.is_file():
        top = re.sub(r"(\.tar)?\.\w+$", "", top, flags=re.IGNORECASE)
    below = PurePosixPath(source.name).parts[:-1]
    folders = [folder.lower() for folder in (top, *below)]
    sets = [(depth, match) for depth, folder in enumerate(folders) if (match := _SET.fullmatch(folder))]
    stem = _HR_STEM.fullmatch(source.stem)
    if not sets or any(map(_NOT_HR.fullmatch, folders)) or (not stem and _NOT_HR_STEM.fullmatch(source.stem)):
        return None
    depth, match = sets[-1]
    # Below the set, a folder with another name may hold the results of some method.
    if not all(any(known.fullmatch(name) for known in (_WHOLE, _CROPPED, _MOD12)) for name in folders[depth + 1 :]):
        return None
    scales = [cropped[1] for folder in folders if (cropped := _CROPPED.fullmatch(folder))]
    scale = int((stem and (stem[2] or stem[3])) or (scales[-1] if scales else 0))
    # `Set5/x4` may be LR, and `Set5_SR` results: one of the names must contain HR.
    says_hr = stem or any(folder.startswith(("hr", "gt", "original", "ground")) for folder in folders)
    if (scale or "sr" in match[2]) and not says_hr:
        return None

    name = _SET_NAMES[match[1]]
    if name == "Urban100" and stem and stem[2] == "2":
        # SelfExSR's x2 HR images of Urban100 have half the size of its x4 HR images: bicubic has 26.6 dB on them. On
        # the x4 HR it has the published 26.9 dB at x2 and 23.1 dB at x4.
        return None
    if any(map(_MOD12.fullmatch, folders)):
        kind, scale = Kind.MOD12, 0
    else:
        kind = Kind.CROPPED if scale else Kind.ORIGINAL
    inside = "/".join(below[:depth] if scale else below)
    place = f"{path}{': ' if path.is_file() else '/'}{inside}" if inside else str(path)
    return Candidate(name, kind, place, key_of(stem[1] if stem else source.stem), scale, source)
