"""Finds which LR image belongs to which HR image, by their names."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from rcan_plugin.degradations.identify import SCALES
from rcan_plugin.images.name_lists import listed_names
from rcan_plugin.images.sources import key_of
from rcan_plugin.images.store import ImageStore


class Pair(NamedTuple):
    """Names of two images in their stores; if the LR is made on the fly, `lq` is the name of the HR image."""

    gt: str
    lq: str


class Affixes(NamedTuple):
    """Text before and after the name that an HR and an LR image share, such as `_HR_x4` in `baby_HR_x4`."""

    prefix: str = ""
    suffix: str = ""

    @classmethod
    def parse(cls, template: str, option: str) -> Affixes:
        """Read a template such as `{}_HR_x4`.

        Raises:
            ValueError: there is not exactly one `{}`; the message names `option`.
        """
        if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
            raise ValueError(f"{option}: {template!r}: expected one '{{}}' in place of the name, as in '{{}}_x4'.")
        prefix, suffix = template.split("{}")
        return cls(prefix, suffix)

    def add(self, name: str) -> str:
        """Return the name with prefix and suffix."""
        return self.prefix + name + self.suffix

    def remove(self, name: str) -> str | None:
        """Return the name without prefix and suffix; None if it does not have them, or nothing would be left."""
        if not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return None
        return name[len(self.prefix) : len(name) - len(self.suffix)] or None


def match_names(names: Iterable[str], partners: Collection[str], gt: Affixes, lq: Affixes) -> dict[str, str]:
    """Return the LR name of each HR name that has one.

    Args:
        names: HR names without suffix.
        partners: LR names without suffix.
        gt, lq: affixes of HR and of LR names.
    """

    def matches() -> Iterator[tuple[str, str]]:
        for name in names:
            shared = gt.remove(name)
            if shared and (partner := lq.add(shared)) in partners:
                yield name, partner

    return dict(matches())


def guess_affixes(names: Iterable[str], partners: Iterable[str]) -> tuple[Affixes, Affixes]:
    """Guess the affixes of HR and LR names: those with which most names match, none if the names match as they are.

    Candidates: none; `x2` or `_x2` (3, 4, 8) at the end of LR names; what all HR names and all LR names have in common.

    Examples:
        >>> guess_affixes(["baby_HR_x4", "bird_HR_x4"], ["baby_LRBI_x4", "bird_LRBI_x4"])
        (Affixes(prefix='b', suffix='_HR_x4'), Affixes(prefix='b', suffix='_LRBI_x4'))
    """
    names, partners = list(names), set(partners)
    common_gt, common_lq = common_affixes(names), common_affixes(partners)
    candidates = [
        (Affixes(), Affixes()),
        *((Affixes(), Affixes("", f"{mark}{scale}")) for mark in ("x", "_x") for scale in SCALES),
        (common_gt, common_lq),
        (Affixes("", common_gt.suffix), Affixes("", common_lq.suffix)),
    ]
    return max(candidates, key=lambda affixes: len(match_names(names, partners, *affixes)))


def common_affixes(names: Iterable[str]) -> Affixes:
    """Return the prefix and the suffix that all names have in common; they do not overlap."""
    names = sorted(names)
    prefix = os.path.commonprefix(names)  # noqa: RUF071  (of characters, as intended)
    suffix = os.path.commonprefix([name[len(prefix) :][::-1] for name in names])[::-1]  # noqa: RUF071
    return Affixes(prefix, suffix)


def find_pairs(
    gt: ImageStore,
    lq: ImageStore | None,
    *,
    gt_template: str | None = "{}",
    lq_template: str | None = "{}",
    meta_info_file: str | os.PathLike[str] | None = None,
    options: tuple[str, str] = ("gt_filename_tmpl", "filename_tmpl"),
) -> list[Pair]:
    """Pair all images by name, sorted by the HR image's name.

    Args:
        gt: HR images.
        lq: LR images, or None.
        gt_template: how an HR name is made from the name both share, without suffix: `{}_HR_x4`. If both templates are
            None, they are guessed from the names.
        lq_template: the same for LR: `{}_LRBI_x4`. With a `gt_template` of `{}` this is BasicSR's `filename_tmpl`.
        meta_info_file: a text file that lists the HR images to take, see `listed_names`; all if not given.
        options: names of the options that hold the two templates, for messages.

    Raises:
        FileNotFoundError: `meta_info_file`, or an image that it names, is missing.
        ValueError: a template without exactly one `{}`, an HR name that does not fit its template, an image without
            partner, or one with two.
    """
    gt_affixes = Affixes.parse(gt_template or "{}", options[0])
    lq_affixes = Affixes.parse(lq_template or "{}", options[1])
    for store in (gt, lq) if lq else (gt,):
        _check_keys_differ(store)
    gt_names = gt.names if meta_info_file is None else listed_names(meta_info_file, gt)
    if lq is None:
        return [Pair(name, name) for name in gt_names]

    for name in gt_names:
        # LR images are found by name directly in their folder, as in BasicSR.
        folder = PurePosixPath(name).parent
        if not gt.is_lmdb and folder.name and (lq.root / folder).is_dir():
            raise ValueError(
                f"{gt.describe(name)} is in a subfolder that {lq.root} has too, but LR images are only read from "
                f"{lq.root} itself: put them there, or name each pair of folders."
            )
    # The names in an LMDB were made by `key_of`, so templates are converted in the same way.
    comparable = key_of if gt.is_lmdb or lq.is_lmdb else _composed
    gt_affixes, lq_affixes = (Affixes(*map(comparable, affixes)) for affixes in (gt_affixes, lq_affixes))
    gt_by_stem, lq_by_stem = _by_stem(gt, gt_names, comparable), _by_stem(lq, lq.names, comparable)
    if gt_template is None and lq_template is None:
        gt_affixes, lq_affixes = guess_affixes(gt_by_stem, lq_by_stem)
    matches = match_names(gt_by_stem, lq_by_stem.keys(), gt_affixes, lq_affixes)
    for stem, name in gt_by_stem.items():
        if stem in matches:
            continue
        shared = gt_affixes.remove(stem)
        if shared is None:
            raise ValueError(f"{gt.describe(name)} does not fit {options[0]} {gt_affixes.add('{}')!r}: change either.")
        raise ValueError(
            f"{gt.describe(name)} has no partner: no image named {lq_affixes.add(shared)!r} in {lq.root}, which holds "
            f"{len(lq)} images, {lq.names[0]!r} first. Add it, or give in {options[0]} and {options[1]} how "
            "the names are made, such as '{}_HR_x4' and '{}_LRBI_x4'."
        )
    alone = sorted(lq_by_stem.keys() - set(matches.values()))
    if alone and meta_info_file is None:
        raise ValueError(
            f"{lq.describe(lq_by_stem[alone[0]])} has no partner in {gt.root} ({len(alone)} such images): remove it, "
            "add its HR image, or list the HR images to take in meta_info_file."
        )
    return [Pair(name, lq_by_stem[matches[stem]]) for stem, name in gt_by_stem.items()]


def _by_stem(store: ImageStore, names: Iterable[str], comparable: Callable[[str], str]) -> dict[str, str]:
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(comparable(store.stem(name)), name)
        if other != name:
            raise ValueError(
                f"{store.root} holds two images of one name, {other} and {name}{forms_differ(other, name)}: remove or "
                "rename one."
            )
    return by_stem


def forms_differ(name: str, other: str) -> str:
    """Return a remark for a message with two names that look alike; "" for other names."""
    same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
    return f" (in another Unicode form: {name!a} and {other!a})" if same and name != other else ""


def _composed(name: str) -> str:
    """The name with accents composed: macOS stores names decomposed, other systems as they were written."""
    return unicodedata.normalize("NFC", name)


def _check_keys_differ(store: ImageStore) -> None:
    twice = [name for name, after in itertools.pairwise(store.names) if name == after]
    if twice:
        raise ValueError(
            f"meta_info.txt of LMDB {store.root} names {twice[0]!r} twice ({len(twice)} such keys; a key ends at the "
            "first dot): rename the images and make the LMDB again."
        )
