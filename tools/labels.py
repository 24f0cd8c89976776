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
            draw.line([label.pole, near], fill="white", width=2 * thickness - 1)
            draw.line([label.pole, near], fill=label.color, width=max(1, thickness - 1))
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
    """Each label that finds a place in a picture of (width, height), its box, and its font size."""
    smallest, largest = (max(least, min(size) * share) for least, share in (SMALLEST, LARGEST))
    taken = np.empty((0, 4), np.int64)
    placed = []
    for label in sorted(labels, key=lambda label: -label.reach):
        points = round(float(np.clip(label.reach * 0.75, smallest, largest)))
        box = _free_box(label, _extent(points, len(label.text)), taken, size)
        if box is not None:
            taken = np.vstack([taken, box])
            x0, y0, x1, y1 = (int(v) for v in box)
            placed.append((label, (x0, y0, x1, y1), points))
    return placed


def _free_box(
    label: Label, extent: tuple[int, int], taken: Boxes, size: tuple[int, int]
) -> npt.NDArray[np.int64] | None:
    """The best free place of a label of (width, height) in a picture, if there is one.

    It is the pole when the mask is large enough, else above, below or beside the mask, else the
    nearest free place around, else any.
    """
    width, height = extent
    if width > size[0] or height > size[1]:
        return None
    x, y = label.pole
    x0, y0, x1, y1 = label.box
    if 2 * label.reach >= 0.8 * max(extent):
        start, first = (x, y), [(x, y)]
    else:
        start = (x, y0 - height // 2 - 3)
        below, left, right = y1 + height // 2 + 3, x0 - width // 2 - 3, x1 + width // 2 + 3
        first = [start, (x, below), (left, y), (right, y)]
    tries: list[Callable[[], Centres]] = [
        lambda: np.array(first, np.float64),
        lambda: np.array(start) + _rings(1, 8) * height / 2,
        lambda: np.array(start) + _rings(9, 40) * height / 2,
        lambda: _grid(extent, size, label.pole),
    ]
    for centres in tries:
        boxes = _boxes_at(centres(), extent, size)
        free = np.flatnonzero(~_overlaps(boxes, taken).any(axis=1))
        if len(free):
            box: npt.NDArray[np.int64] = boxes[free[0]]
            return box
    return None


@lru_cache
def _rings(first: int, last: int) -> Centres:
    """(N, 2) x y on circles of radius `first` to `last` around 0, the nearest first."""
    around = []
    for ring in range(first, last + 1):
        angles = np.linspace(0, 2 * np.pi, 8 + 4 * ring, endpoint=False)
        around.append(ring * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return np.concatenate(around).astype(np.float64)


def _grid(extent: tuple[int, int], size: tuple[int, int], start: tuple[int, int]) -> Centres:
    """(N, 2) x y all over the picture, the nearest to `start` first."""
    columns = np.arange(0, size[0] - extent[0] + 1, max(1, extent[0] // 4)) + extent[0] / 2
    rows = np.arange(0, size[1] - extent[1] + 1, max(1, extent[1] // 4)) + extent[1] / 2
    places = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    nearest: Centres = places[np.hypot(*(places - start).T).argsort(kind="stable")]
    return nearest


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
