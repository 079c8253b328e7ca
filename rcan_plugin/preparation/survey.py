"""Identifies the degradation of every pair of two folders and groups the pairs that were made in the same way."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from tqdm import tqdm

from rcan_plugin.degradations import Identification, identify
from rcan_plugin.images.pairs import find_pairs
from rcan_plugin.images.store import ImageStore

_NOISE_TOLERANCE = 0.1  # relative; the estimate from a small image errs by a few percent


@dataclass
class Group:
    """Pairs that were made in the same way.

    Attributes:
        first: identification of the first pair, or of the first whose border is known.
        pairs: identification of each pair, by the LR image's name.
    """

    first: Identification
    pairs: dict[str, Identification] = field(default_factory=dict)

    def __str__(self) -> str:
        first = self.first
        if not first.belongs:
            return "not a pair"
        text = f"x{first.scale} {first.kind}"
        if first.border is not None:
            text += ", either border" if first.border == "either" else f", {first.border} border"
        if first.noise is not None:
            noises = sorted(pair.noise or 0.0 for pair in self.pairs.values())
            text += f", noise about {noises[len(noises) // 2]:.1f}"
        if first.shift != (0, 0):
            text += ", shifted by ({:g}, {:g}) HR pixels (down, right)".format(*first.shift)
        if first.kind == "DN":
            return text
        most = max(pair.differing for pair in self.pairs.values())
        return text + (f", not exactly: {most} values differ at most" if most else ", exactly")

    def fits(self, pair: Identification) -> bool:
        """Whether a pair was made in the same way as those of this group."""
        first = self.first
        if not (first.belongs and pair.belongs):
            return first.belongs == pair.belongs
        if (first.scale, first.kind, first.shift) != (pair.scale, pair.kind, pair.shift):
            return False
        if _is_inexact(first) != _is_inexact(pair):
            return False
        if first.noise is not None and pair.noise is not None:
            return abs(first.noise - pair.noise) <= _NOISE_TOLERANCE * first.noise
        return first.border == pair.border or "either" in (first.border, pair.border)

    def add(self, name: str, pair: Identification) -> None:
        """Add a pair by the name of its LR image."""
        self.pairs[name] = pair
        if self.first.border == "either":
            self.first = pair


def _is_inexact(pair: Identification) -> bool:
    return pair.kind != "DN" and not pair.matches_up_to_ties


def survey(
    hr_root: str | os.PathLike[str],
    lr_root: str | os.PathLike[str],
    *,
    hr_template: str | None = None,
    lr_template: str | None = None,
) -> list[Group]:
    """Identify every pair of two folders or LMDBs, showing progress, and group those that were made in the same way.

    Args:
        hr_root, lr_root: folders of images, or LMDBs as BasicSR makes them.
        hr_template, lr_template: how the names are made from the name both share, such as `{}_HR_x4`; guessed from the
            names if neither is given.

    Returns:
        The groups, the largest first; images that do not belong together are last, however many they are.

    Raises:
        FileNotFoundError: a folder or LMDB is missing.
        ValueError: an image without partner, or one that cannot be read.
    """
    hr, lr = ImageStore(hr_root), ImageStore(lr_root)
    groups: list[Group] = []
    pairs = find_pairs(hr, lr, gt_template=hr_template, lq_template=lr_template)
    for pair in tqdm(pairs, desc="identifying", unit="pair", leave=False):
        images = hr.read(pair.gt, keep_depth=True), lr.read(pair.lq, keep_depth=True)
        try:
            identification = identify(*images)
        except TypeError as error:
            raise ValueError(f"{hr.describe(pair.gt)} and {lr.describe(pair.lq)}: {error}.") from None
        group = next((group for group in groups if group.fits(identification)), None)
        if group is None:
            groups.append(group := Group(identification))
        group.add(pair.lq, identification)
    return sorted(groups, key=lambda group: (not group.first.belongs, -len(group.pairs)))
