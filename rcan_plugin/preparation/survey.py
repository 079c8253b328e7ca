"""Which degradation made the pairs of two folders, and which pairs do not fit the others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from tqdm import tqdm

from rcan_plugin.degradations import Identification, identify
from rcan_plugin.images.pairs import find_pairs
from rcan_plugin.images.store import ImageStore


@dataclass
class Group:
    """Pairs that were made the same way.

    Attributes:
        first: what was found out about the first of them; its border is never `either` if that of another is known.
        pairs: what was found out about each, by the LR image's name.
    """

    first: Identification
    pairs: dict[str, Identification] = field(default_factory=dict)

    def __str__(self) -> str:
        one = self.first
        if not one.belongs:
            return "not a pair"
        text = f"x{one.scale} {one.kind}"
        if one.border is not None:
            text += ", either border" if one.border == "either" else f", {one.border} border"
        if one.noise is not None:
            noises = sorted(found.noise or 0.0 for found in self.pairs.values())
            text += f", noise about {noises[len(noises) // 2]:.1f}"
        if one.shift != (0, 0):
            text += ", shifted by ({:g}, {:g}) HR pixels (down, right)".format(*one.shift)
        if one.kind == "DN":
            return text
        counts = [found.differing for found in self.pairs.values()]
        return text + (f", not exactly: {max(counts)} values differ at most" if max(counts) else ", exactly")

    def fits(self, other: Identification) -> bool:
        """Whether a pair was made as those of this group."""
        one = self.first
        if not (one.belongs and other.belongs):
            return one.belongs == other.belongs
        if (one.scale, one.kind, one.shift, _inexact(one)) != (other.scale, other.kind, other.shift, _inexact(other)):
            return False
        if one.noise is not None and other.noise is not None:
            # The estimate of a small image errs by a few percent.
            return abs(one.noise - other.noise) <= 0.1 * one.noise
        return one.border == other.border or "either" in (one.border, other.border)

    def add(self, name: str, found: Identification) -> None:
        """Put a pair into the group."""
        self.pairs[name] = found
        if self.first.border == "either":
            self.first = found


def survey(
    hr_root: str | os.PathLike[str],
    lr_root: str | os.PathLike[str],
    *,
    hr_template: str | None = None,
    lr_template: str | None = None,
) -> list[Group]:
    """Identify every pair of two folders or LMDBs and group those that were made the same way, showing progress.

    Args:
        hr_root, lr_root: folders of images, or LMDBs as BasicSR makes them.
        hr_template, lr_template: how the names are made from the name both share, as in `{}_HR_x4`. Left out, the
            names are taken as they are or, where these do not pair, without what all names of a folder have in common.

    Returns:
        The groups, the largest first; images that do not belong together come last, however many.

    Raises:
        FileNotFoundError: a folder or LMDB is missing.
        ValueError: images without partner, or ones that cannot be read.
    """
    hr, lr = ImageStore(hr_root), ImageStore(lr_root)
    if hr_template is None and lr_template is None:
        hr_template, lr_template = guess_templates(
            [hr.stem(name) for name in hr.names], [lr.stem(name) for name in lr.names]
        )
    groups: list[Group] = []
    pairs = find_pairs(hr, lr, gt_template=hr_template or "{}", lq_template=lr_template or "{}")
    for pair in tqdm(pairs, desc="identifying", unit="pair", leave=False):
        images = hr.read(pair.gt, keep_depth=True), lr.read(pair.lq, keep_depth=True)
        try:
            found = identify(*images)
        except TypeError as error:
            raise ValueError(f"{hr.describe(pair.gt)} and {lr.describe(pair.lq)}: {error}.") from None
        group = next((group for group in groups if group.fits(found)), None)
        if group is None:
            groups.append(group := Group(found))
        group.add(pair.lq, found)
    return sorted(groups, key=lambda group: (not group.first.belongs, -len(group.pairs)))


def guess_templates(hr_stems: Iterable[str], lr_stems: Iterable[str]) -> tuple[str, str]:
    """`{}` twice where the names pair as they are or not at all; else templates of what all names have in common.

    Names `baby_HR_x4, bird_HR_x4` and `baby_LRBI_x4, bird_LRBI_x4` give `b{}_HR_x4` and `b{}_LRBI_x4`.
    """
    stems = [sorted(hr_stems), sorted(lr_stems)]
    guesses = [around(names) for names in stems]
    bare = [
        {name[len(prefix) : len(name) - len(suffix)] for name in names}
        for names, (prefix, suffix) in zip(stems, guesses, strict=True)
    ]
    if stems[0] == stems[1] or bare[0] != bare[1] or "" in bare[0]:
        return "{}", "{}"
    (hr_prefix, hr_suffix), (lr_prefix, lr_suffix) = guesses
    return f"{hr_prefix}{{}}{hr_suffix}", f"{lr_prefix}{{}}{lr_suffix}"


def around(names: Iterable[str]) -> tuple[str, str]:
    """What all names begin with, and what they end with."""
    names = list(names)
    prefix = os.path.commonprefix(names)  # noqa: RUF071  (of characters is what is meant)
    return prefix, os.path.commonprefix([name[len(prefix) :][::-1] for name in names])[::-1]  # noqa: RUF071


def _inexact(found: Identification) -> bool:
    return found.kind != "DN" and not found.matches_up_to_ties
