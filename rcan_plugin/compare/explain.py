"""Finds the cause of a difference from a published figure by trying other protocols and LR images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rcan_plugin.compare.data import LowResolution
from rcan_plugin.degradations import Degradation
from rcan_plugin.degradations.record import Recipe

if TYPE_CHECKING:
    from rcan_plugin.compare.work import Task, Worker

REPRODUCED = 0.02
"""dB; a PSNR this near to the published one counts as equal to it: published ones have two digits."""
MOST_OF_BORDER = 0.3
"""dB; the border of BI cannot cause a larger difference, so it is not tried as an explanation."""


def explanation(
    worker: Worker, tasks: Sequence[Task], low: LowResolution, published: float, difference: float
) -> str | None:
    """Name the other protocol, or the other LR images, with which a method has the published PSNR.

    Args:
        worker: has done the tasks, with `others`.
        tasks: tasks of one method on one set.
        low: how the LR images were made.
        published: published PSNR in dB.
        difference: measured minus published PSNR in dB.

    Returns:
        The cause and the PSNR with it, such as `with RGB instead of Y: 32.63`; None if nothing tried gives this PSNR.
    """
    tried = _means([worker.others(task) for task in tasks])
    if found := _nearest(tried, published):
        return found
    kind = tasks[0].entrant.method.kind
    if kind == "pictures" or low.kind not in ("BI", None) or (low.kind == "BI" and abs(difference) > MOST_OF_BORDER):
        return None
    for border in ("replicate", "symmetric"):
        if low.border == border:
            continue
        recipe = Recipe(Degradation("BI", border))
        other_set = tasks[0].test_set.with_recipe(recipe)
        others = [
            dataclasses.replace(task, test_set=other_set, image=image, names=("psnr",), picture=False)
            for task, image in zip(tasks, other_set.images, strict=True)
        ]
        worker.do(others)
        words = f"of {recipe} made from HR"
        tried = {f"with LR images {words}": _mean([worker.values(task)["psnr"] for task in others])}
        tried |= {f"{name}, and LR images {words}": value for name, value in _means(map(worker.others, others)).items()}
        if found := _nearest(tried, published):
            return found
    return None


def _means(of_images: Sequence[dict[str, float]] | map[dict[str, float]]) -> dict[str, float]:
    of_images = list(of_images)
    names = set.intersection(*(set(values) for values in of_images))
    return {name: _mean([values[name] for values in of_images]) for name in of_images[0] if name in names}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _nearest(tried: dict[str, float], published: float) -> str | None:
    name = min(tried, key=lambda name: abs(tried[name] - published))
    return f"{name}: {tried[name]:.2f}" if abs(tried[name] - published) <= REPRODUCED else None
