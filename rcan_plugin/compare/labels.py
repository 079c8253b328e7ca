"""Places names beside the points of a plot so that they do not overlap; sizes of names in legends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels of the figure."""

LETTER = 0.08
"""Inches of a letter in a legend."""
_DIRECTIONS = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]


def place(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float, float]]) -> None:
    """Write the name of each point beside it, neither over another name or point nor outside the axes.

    A thin line joins a name to its point if it is not next to it.

    Args:
        figure: figure of the axes; the position of the axes in it must be final.
        axes: axes of the points.
        points: name, x, y and the marker's area in square points; area 0 is the left end of a horizontal line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    axes.autoscale_view()
    renderer, pixel = FigureCanvasAgg(figure).get_renderer(), figure.dpi / 72
    frame = axes.bbox
    centers = [axes.transData.transform((x, y)) for _, x, y, _ in points]
    radii = [math.sqrt(area) / 2 * pixel for *_, area in points]
    taken: list[Box] = [(cx - r, cy - r, cx + r, cy + r) for (cx, cy), r in zip(centers, radii, strict=True) if r > 0]
    for (name, _, _, area), (cx, cy), radius in sorted(
        zip(points, centers, radii, strict=True), key=lambda item: item[0][3]
    ):
        label = axes.text(0, 0, name, fontsize=8.5, ha="center", va="center", transform=None, zorder=5)
        size = label.get_window_extent(renderer)
        width, height = size.width, size.height
        if area == 0:  # above or below the line, from its left end on
            choices = [
                (cx + 6 + width / 2 + shift, cy + side * (height / 2 + 3))
                for shift in (0, 40, 80, 160)
                for side in (1, -1)
            ]
        else:
            choices = [
                (cx + dx * (reach + width / 2), cy + dy * (reach + height / 2))
                for gap, (dx, dy) in itertools.product((4, 10, 18, 28, 40, 54, 70, 90), _DIRECTIONS)
                for reach in (radius * (0.75 if dx and dy else 1) + gap * pixel * 0.75,)
            ]
        boxes = [(x - width / 2, y - height / 2, x + width / 2, y + height / 2) for x, y in choices]
        inside = (frame.x0, frame.y0, frame.x1, frame.y1)
        best = next(
            (
                number
                for number, box in enumerate(boxes)
                if _within(box, inside) and not any(_meet(box, b) for b in taken)
            ),
            min(range(len(boxes)), key=lambda number: sum(_overlap(boxes[number], b) for b in taken)),
        )
        x, y = choices[best]
        label.set_position((x, y))
        taken.append(boxes[best])
        if area and math.hypot(x - cx, y - cy) > radius + width / 2 + 14 * pixel:
            ends = axes.transData.inverted().transform([(cx, cy), (x, y - math.copysign(height / 2, y - cy))])
            axes.plot(*ends.T, color="#8a8f98", linewidth=0.6, zorder=2, scalex=False, scaley=False)
        label.set_transform(axes.transData)
        label.set_position(tuple(axes.transData.inverted().transform((x, y))))


def columns(names: Sequence[str], inches: float) -> int:
    """How many columns of these names, in letters of 8 to 9 points, fit into a legend of `inches`; at least 1."""
    return max(int(inches / max(map(entry_width, names), default=inches)), 1)


def entry_width(name: str) -> float:
    """Inches of a name in a legend, with its line."""
    return 0.5 + LETTER * len(name)


def _within(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _overlap(a: Box, b: Box) -> float:
    """Common area of two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
