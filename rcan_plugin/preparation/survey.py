"""Identifies the degradation of every pair of two folders and groups the pairs that were made in the same way."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from rcan_plugin.degradations import Identification, identify
from rcan_plugin.degradations.degrade import OFFICIAL_NOISE
from rcan_plugin.degradations.resizers import Resemblance, resemblance
from rcan_plugin.images.pairs import Pair, find_pairs
from rcan_plugin.images.store import ImageStore
from rcan_plugin.preparation.targets import sample_evenly

_NOISE_TOLERANCE = 0.1  # relative; the estimate from a small image errs by a few percent


@dataclass
class Group:
    """Pairs that were made in the same way.

    Attributes:
        first: identification of the first pair, or of the first whose border is known.
        pairs: identification of each pair, by the LR image's name.
        resemblances: for sample pairs, the most similar resizer if no degradation of the papers made them.
    """

    first: Identification
    pairs: dict[str, Identification] = field(default_factory=dict)
    resemblances: list[Resemblance] = field(default_factory=list)

    def __str__(self) -> str:
        first = self.first
        if not first.belongs:
            return "not a pair"
        if first.kind == "DN":
            noises = sorted(pair.noise or 0.0 for pair in self.pairs.values())
            other = "" if first.of_papers else f" (the papers' is {OFFICIAL_NOISE:g})"
            return (
                f"x{first.scale} DN, noise about {noises[len(noises) // 2]:.1f}{other}{self._shift()}{self._likeness()}"
            )
        if first.matches_up_to_ties:
            border = {None: "", "either": ", either border"}.get(first.border, f", {first.border} border")
            most = max(pair.differing for pair in self.pairs.values())
            ties = f" but for ties ({most} values at most)" if most else ""
            return f"x{first.scale} {first.kind}{border}{self._shift()}, exactly{ties}{self._likeness()}"
        kinds = " or ".join(sorted({str(pair.kind) for pair in self.pairs.values()}))
        shares = [100 * pair.differing / pair.total for pair in self.pairs.values()]
        extent = " to ".join(dict.fromkeys(f"{share:.3g}" for share in (min(shares), max(shares))))
        return (
            f"x{first.scale}, none of the papers' degradations: {extent} % of the values differ from {kinds}"
            f"{self._shift()}{self._likeness()}"
        )

    def _shift(self) -> str:
        """The shift, if it is the same for all pairs; for results of another resizer it may be found by chance."""
        shift = self.first.shift
        return (
            ""
            if {pair.shift for pair in self.pairs.values()} != {shift} or shift == (0, 0)
            else ", shifted by ({:g}, {:g}) HR pixels (down, right)".format(*shift)
        )

    def _likeness(self) -> str:
        """The resizers that the samples look like, each with its largest share, and counts if there are several."""
        by_name: dict[str, list[Resemblance]] = {}
        for sample in self.resemblances:
            by_name.setdefault(sample.name, []).append(sample)
        texts = []
        for samples in sorted(by_name.values(), key=len, reverse=True):
            count = f", {len(samples)} of {len(self.resemblances)} samples" if len(by_name) > 1 else ""
            texts.append(f"; {max(samples, key=lambda sample: sample.share)}{count}")
        return "".join(texts)

    def fits(self, pair: Identification) -> bool:
        """Whether a pair was made in the same way as those of this group."""
        first = self.first
        if not (first.belongs and pair.belongs):
            return first.belongs == pair.belongs
        if (first.scale, _is_inexact(first)) != (pair.scale, _is_inexact(pair)):
            return False
        if _is_inexact(first):
            return True  # from another resizer: the nearest kind, border and shift depend on the image
        if (first.kind, first.shift) != (pair.kind, pair.shift):
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

    def read(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        return hr.read(pair.gt, keep_depth=True), lr.read(pair.lq, keep_depth=True)

    groups: list[Group] = []
    pairs = {
        pair.lq: pair
        for pair in find_pairs(
            hr, lr, gt_template=hr_template, lq_template=lr_template, options=("--hr-template", "--lr-template")
        )
    }
    for pair in tqdm(pairs.values(), desc="identifying", unit="pair", leave=False):
        try:
            identification = identify(*read(pair))
        except TypeError as error:
            raise ValueError(f"{hr.describe(pair.gt)} and {lr.describe(pair.lq)}: {error}.") from None
        group = next((group for group in groups if group.fits(identification)), None)
        if group is None:
            groups.append(group := Group(identification))
        group.add(pair.lq, identification)
    for group in groups:
        for name in sample_evenly(list(group.pairs)):
            likeness = resemblance(*read(pairs[name]), group.pairs[name])
            group.resemblances += [likeness] if likeness else []
    return sorted(groups, key=lambda group: (not group.first.belongs, -len(group.pairs)))
