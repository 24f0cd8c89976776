"""Where the numbers of masks stand in a picture: in their mask, or beside it with a line to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Color: TypeAlias = tuple[int, int, int]
Boxes: TypeAlias = npt.NDArray[np.int64]
"""(N, 4): x0 y0 x1 y1 in pixels."""
Centres: TypeAlias = npt.NDArray[np.float64]
"""(N, 2): x y in pixels."""

SMALLEST, LARGEST = (12, 1 / 45), (14, 1 / 22)
"""Pixels of a label's font: at least so many, and this share of the picture's shorter side."""

RINGS = 8
"""How far around its mask a label looks for a place, in halves of its height."""

ROOM = 1.4
"""How many times as wide as its label a mask is, at its widest, that has the label inside: beside a
smaller one it hides less of what is marked."""


@dataclass(frozen=True)
class Label:
    """What is written where: at best around the pole of its mask, `reach` pixels from the edge."""

    text: str
    color: Color
    pole: tuple[int, int]
    reach: float
    box: tuple[int, int, int, int]


def draw_labels(picture: Image.Image, labels: Sequence[Label], thickness: int) -> None:
    """Draw labels that stay inside the picture and off each other.

    Those of large masks are placed first; one that finds no place is left out. thickness: of lines,
    in pixels.
    """
    draw = ImageDraw.Draw(picture)
    placed = place_labels(labels, picture.size)
    for label, (x0, y0, x1, y1), _ in placed:
        x, y = label.pole
        if not (x0 <= x < x1 and y0 <= y < y1):
            near = (min(max(x, x0), x1), min(max(y, y0), y1))
            draw.line([label.pole, near], fill="white", width=thickness + 1)
            draw.line([label.pole, near], fill=label.color, width=max(1, thickness // 2))
    for label, (x0, y0, x1, y1), points in placed:
        draw.rounded_rectangle(
            (x0, y0, x1 - 1, y1 - 1),
            radius=thickness + 1,
            fill=label.color,
            outline="white",
            width=max(1, thickness // 2),
        )
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        draw.text(middle, label.text, "white", _font(points), anchor="mm")


def place_labels(
    labels: Sequence[Label], size: tuple[int, int]
) -> list[tuple[Label, tuple[int, int, int, int], int]]:
    """Each label that finds a place in a picture of (width, height), its box, and its font size.

    First each label, those of large masks first, looks for a free place in or around its mask.
    Those that find none share what is left of the picture, each as near to its mask as it can.
    """
    smallest, largest = (max(least, min(size) * share) for least, share in (SMALLEST, LARGEST))
    taken = np.empty((len(labels), 4), np.int64)
    placed: list[tuple[Label, tuple[int, int, int, int], int]] = []
    crowded: list[Label] = []
    for label in sorted(labels, key=lambda label: -label.reach):
        points = round(float(np.clip(label.reach * 0.5, smallest, largest)))
        box = _free_box(label, _extent(points, len(label.text)), taken[: len(placed)], size)
        if box is None:
            crowded.append(label)
        else:
            taken[len(placed)] = box
            placed.append((label, box, points))
    return placed + _squeezed(crowded, round(smallest), taken[: len(placed)], size)


def _free_box(
    label: Label, extent: tuple[int, int], taken: Boxes, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The best free place of a label of (width, height) in or around its mask, if there is one.

    It is the pole when the mask is large enough, else above, below or beside the mask, else the
    nearest free place around.
    """
    width, height = extent
    if width > size[0] or height > size[1]:
        return None
    x, y = label.pole
    x0, y0, x1, y1 = label.box
    if 2 * label.reach >= ROOM * max(extent):
        start, first = (x, y), [(x, y)]
    else:
        start = (x, y0 - height // 2 - 3)
        below, left, right = y1 + height // 2 + 3, x0 - width // 2 - 3, x1 + width // 2 + 3
        first = [start, (x, below), (left, y), (right, y)]
    tries: list[Callable[[], Centres]] = [
        lambda: np.array(first, np.float64),
        lambda: np.array(start) + _rings(1, RINGS) * height / 2,
    ]
    for centres in tries:
        boxes = _boxes_at(centres(), extent, size)
        around = np.array([[*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]])
        near = taken[_overlaps(around, taken)[0]]
        free = np.flatnonzero(~_overlaps(boxes, near).any(axis=1))
        if len(free):
            left, top, right, bottom = (int(v) for v in boxes[free[0]])
            return left, top, right, bottom
    return None


def _squeezed(
    labels: Sequence[Label], points: int, taken: Boxes, size: tuple[int, int]
) -> list[tuple[Label, tuple[int, int, int, int], int]]:
    """Labels in what is left of a picture, each in the place that is nearest to its pole.

    The places are a grid at a quarter of a label's size, so that a label that is set takes all
    places less than four steps away. Without any place left, the other labels are left out.
    """
    if not labels:
        return []
    width, height = _extent(points, max(len(label.text) for label in labels))
    step_x, step_y = max(1, width // 4), max(1, height // 4)
    left = np.arange(0, size[0] - width + 1, step_x)
    top = np.arange(0, size[1] - height + 1, step_y)
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
        placed.append((label, (x0, y0, x0 + width, y0 + height), points))
        free[
            max(0, row - reach_y + 1) : row + reach_y,
            max(0, column - reach_x + 1) : column + reach_x,
        ] = False
    return placed


@lru_cache
def _rings(first: int, last: int) -> Centres:
    """(N, 2) x y on circles of radius `first` to `last` around 0, the nearest first."""
    around = []
    for ring in range(first, last + 1):
        angles = np.linspace(0, 2 * np.pi, 8 + 4 * ring, endpoint=False)
        around.append(ring * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return np.concatenate(around).astype(np.float64)


def _boxes_at(centres: Centres, extent: tuple[int, int], size: tuple[int, int]) -> Boxes:
    """The boxes of one (width, height) around (N, 2) centres, moved into the picture."""
    corners = np.rint(centres - np.array(extent) / 2).astype(np.int64)
    corners = corners.clip(0, np.array(size) - extent)
    return np.hstack([corners, corners + extent])


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
def _extent(points: int, digits: int) -> tuple[int, int]:
    """The (width, height) in pixels of a label with so many digits."""
    x0, y0, x1, y1 = _font(points).getbbox("0" * digits, anchor="mm")
    padding = round(0.2 * (y1 - y0)) + 4
    return round(x1 - x0) + padding, round(y1 - y0) + padding
