"""Places the numbers of masks in a picture: in their mask, or beside it with a line to it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sam3_agent.geometry import Extent, Region
from sam3_agent.rle import BoolArray

Color: TypeAlias = tuple[int, int, int]
"""Red, green, blue in 0..255."""

Boxes: TypeAlias = npt.NDArray[np.int64]
"""(N, 4): x0 y0 x1 y1 in pixels."""

Centers: TypeAlias = npt.NDArray[np.float64]
"""(N, 2): x y in pixels."""

SMALLEST, LARGEST = (12, 1 / 45), (14, 1 / 22)
"""A label's font size: pixels at least, and the share of the picture's shorter side."""

RINGS = 8
"""How far around its mask a label may be placed, in halves of its height."""

INSIDE_RATIO = 1.4
"""A label is placed inside a mask that is, at its widest, so many times as wide as the label; of a
smaller mask it would hide too much."""


@dataclass(frozen=True)
class Label:
    """What is written for a mask, at best around its pole.

    pole: x y of the pixel farthest from the mask's edge. reach: its pixels from the edge. box: of
    the mask.
    """

    text: str
    color: Color
    pole: tuple[int, int]
    reach: float
    box: Region


@dataclass(frozen=True)
class PlacedLabel:
    """A label, the box that it fills, and its font size in pixels."""

    label: Label
    box: Region
    points: int


def draw_labels(picture: Image.Image, labels: Sequence[Label], thickness: int) -> None:
    """Draw labels inside the picture so that none overlap; see `place_labels`.

    thickness: of lines, in pixels. Lines come first, so that they hide no label.
    """
    draw = ImageDraw.Draw(picture)
    placed = place_labels(labels, picture.size)
    for one in placed:
        label, (x0, y0, x1, y1) = one.label, one.box
        x, y = label.pole
        if not (x0 <= x < x1 and y0 <= y < y1):
            near = (min(max(x, x0), x1), min(max(y, y0), y1))
            draw.line([label.pole, near], fill="white", width=thickness + 1)
            draw.line([label.pole, near], fill=label.color, width=max(1, thickness // 2))
    for one in placed:
        label, (x0, y0, x1, y1) = one.label, one.box
        draw.rounded_rectangle(
            (x0, y0, x1 - 1, y1 - 1),
            radius=thickness + 1,
            fill=label.color,
            outline="white",
            width=max(1, thickness // 2),
        )
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        draw.text(middle, label.text, "white", _font(one.points), anchor="mm")


def place_labels(labels: Sequence[Label], extent: Extent) -> list[PlacedLabel]:
    """Place labels in a picture of (width, height), without overlap.

    A greedy pass, labels of large masks first, takes the best free place in or around each mask.
    Labels without one share what is then left of the picture, each as near to its mask as it can.
    Where nothing is left either, a label is left out.
    """
    smallest, largest = (max(least, min(extent) * share) for least, share in (SMALLEST, LARGEST))
    taken = np.empty((len(labels), 4), np.int64)
    placed: list[PlacedLabel] = []
    crowded: list[Label] = []
    for label in sorted(labels, key=lambda label: -label.reach):
        points = round(float(np.clip(label.reach * 0.5, smallest, largest)))
        box = _free_box(label, _label_extent(points, len(label.text)), taken[: len(placed)], extent)
        if box is None:
            crowded.append(label)
        else:
            taken[len(placed)] = box
            placed.append(PlacedLabel(label, box, points))
    return placed + _placed_on_grid(crowded, round(smallest), taken[: len(placed)], extent)


def _free_box(label: Label, extent: Extent, taken: Boxes, picture: Extent) -> Region | None:
    """The best free place of a label of (width, height) in or around its mask, if there is one.

    It is the pole when the mask is large enough, else above, below or beside the mask, else the
    nearest free place on rings around.
    """
    width, height = extent
    if width > picture[0] or height > picture[1]:
        return None
    x, y = label.pole
    x0, y0, x1, y1 = label.box
    if 2 * label.reach >= INSIDE_RATIO * max(extent):
        start, first = (x, y), [(x, y)]
    else:
        start = (x, y0 - height // 2 - 3)
        below, left, right = y1 + height // 2 + 3, x0 - width // 2 - 3, x1 + width // 2 + 3
        first = [start, (x, below), (left, y), (right, y)]
    # the rings are many, so they are made only where the first places are taken
    tries: list[Callable[[], Centers]] = [
        lambda: np.array(first, np.float64),
        lambda: np.array(start) + _rings(1, RINGS) * height / 2,
    ]
    for centers in tries:
        boxes = _boxes_at(centers(), extent, picture)
        # only what is taken near all these places is compared with each of them
        around = np.array([[*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]])
        near = taken[_overlaps(around, taken)[0]]
        free = np.flatnonzero(~_overlaps(boxes, near).any(axis=1))
        if len(free):
            left, top, right, bottom = (int(v) for v in boxes[free[0]])
            return left, top, right, bottom
    return None


def _placed_on_grid(
    labels: Sequence[Label], points: int, taken: Boxes, picture: Extent
) -> list[PlacedLabel]:
    """Labels in what is left of a picture, each in the free place nearest to its pole.

    The places are a grid with steps of a quarter of a label. `free[i, j]` says whether a label
    whose upper left is (left[j], top[i]) overlaps nothing; each label that is placed clears all
    places less than a label's size, that is less than about four steps, away.
    """
    if not labels:
        return []
    width, height = _label_extent(points, max(len(label.text) for label in labels))
    step_x, step_y = max(1, width // 4), max(1, height // 4)
    left = np.arange(0, picture[0] - width + 1, step_x)
    top = np.arange(0, picture[1] - height + 1, step_y)
    free = np.ones((len(top), len(left)), np.bool_)
    reach_x, reach_y = -(-width // step_x), -(-height // step_y)
    for x0, y0, x1, y1 in taken:
        rows = slice(*np.searchsorted(top, [y0 - height + 1, y1]))
        free[rows, slice(*np.searchsorted(left, [x0 - width + 1, x1]))] = False
    placed = []
    for label in labels:
        rows_left, columns_left = np.nonzero(free)
        if not len(rows_left):
            break
        away = np.hypot(
            left[columns_left] + width / 2 - label.pole[0],
            top[rows_left] + height / 2 - label.pole[1],
        )
        row, column = rows_left[away.argmin()], columns_left[away.argmin()]
        x0, y0 = int(left[column]), int(top[row])
        placed.append(PlacedLabel(label, (x0, y0, x0 + width, y0 + height), points))
        free[
            max(0, row - reach_y + 1) : row + reach_y,
            max(0, column - reach_x + 1) : column + reach_x,
        ] = False
    return placed


@lru_cache
def _rings(first: int, last: int) -> Centers:
    """(N, 2) x y on circles of radius `first` to `last` around 0, the nearest first."""
    around = []
    for ring in range(first, last + 1):
        angles = np.linspace(0, 2 * np.pi, 8 + 4 * ring, endpoint=False)
        around.append(ring * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return np.concatenate(around).astype(np.float64)


def _boxes_at(centers: Centers, extent: Extent, picture: Extent) -> Boxes:
    """The boxes of one (width, height) around (N, 2) centers, moved into the picture."""
    sides = np.array(extent, np.int64)
    corners = np.rint(centers - sides / 2).astype(np.int64).clip(0, picture - sides)
    return np.hstack([corners, corners + sides])


def _overlaps(boxes: Boxes, others: Boxes) -> npt.NDArray[np.bool_]:
    """(N, M): whether box n and box m share a pixel."""
    a, b = boxes[:, None], others[None]
    apart_x = (a[..., 0] >= b[..., 2]) | (b[..., 0] >= a[..., 2])
    apart_y = (a[..., 1] >= b[..., 3]) | (b[..., 1] >= a[..., 3])
    return ~(apart_x | apart_y)


@lru_cache(maxsize=64)
def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(float(points))


@lru_cache(maxsize=256)
def _label_extent(points: int, digits: int) -> Extent:
    """The (width, height) in pixels of a label with so many digits."""
    x0, y0, x1, y1 = _font(points).getbbox("0" * digits, anchor="mm")
    padding = round(0.2 * (y1 - y0)) + 4
    return round(x1 - x0) + padding, round(y1 - y0) + padding


def pole(crop: BoolArray, resolution: int = 40) -> tuple[int, int, float]:
    """The pole of inaccessibility, the pixel farthest from the mask's edge: (row, column, pixels).

    An exact Euclidean distance transform on a grid of at most `resolution` points a side. For each
    point, `down` is the squared distance to the nearest point outside the mask in its column; its
    minimum over all columns, each with its own squared distance added, is the squared distance
    in the plane. Of several poles the one nearest to their mean is taken.
    """
    step = max(1, -(-max(crop.shape) // resolution))
    small = np.pad(crop[step // 2 :: step, step // 2 :: step], 1)
    if not small.any():  # a mask too thin for the grid: any of its pixels will do
        places = np.flatnonzero(crop)
        row, column = divmod(int(places[len(places) // 2]), crop.shape[1])
        return row, column, 0.5
    rows = np.arange(small.shape[0])[:, None]
    above = np.maximum.accumulate(np.where(small, -1, rows), axis=0)
    below = np.minimum.accumulate(np.where(small, len(rows), rows)[::-1], axis=0)[::-1]
    down = np.minimum(rows - above, below - rows) ** 2
    columns = np.arange(small.shape[1])
    square = (down[:, None, :] + (columns[:, None] - columns) ** 2).min(axis=2)
    deepest = np.argwhere(square == square.max())
    row, column = deepest[np.abs(deepest - deepest.mean(axis=0)).sum(axis=1).argmin()] - 1
    reach = (math.sqrt(square.max()) - 0.5) * step
    return int(row) * step + step // 2, int(column) * step + step // 2, reach
