"""Set-of-marks: the image with numbered masks drawn on it, for a planner's eye and a person's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.rle import BoolArray

Color: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[int, int, int, int]

PALETTE: tuple[Color, ...] = (
    (230, 25, 75),
    (0, 130, 200),
    (60, 180, 75),
    (245, 130, 48),
    (145, 30, 180),
    (0, 170, 170),
    (240, 50, 230),
    (170, 110, 40),
    (70, 90, 235),
    (128, 160, 0),
    (220, 40, 40),
    (0, 105, 90),
)
"""The colour of mask n is PALETTE[(n - 1) % 12], in every picture."""

TINT = 0.35
"""How much of the colour a masked pixel takes."""


@dataclass(frozen=True)
class _Mark:
    """One mask on its way into the picture: its pixels in their box, and where its label goes."""

    number: int
    crop: BoolArray
    corner: tuple[int, int]
    pole: tuple[int, int]
    reach: float
    """Distance in pixels from the pole to the mask's edge."""

    @property
    def color(self) -> Color:
        return PALETTE[(self.number - 1) % len(PALETTE)]


def draw_masks(image: Pixels, masks: Masks, numbers: Sequence[int]) -> Pixels:
    """The (H, W, 3) uint8 image with each mask tinted, outlined and labelled with its number.

    Larger masks lie below smaller ones. Labels stay inside the image and off each other; one that
    does not fit into its mask stands beside it with a line to it.
    """
    canvas = np.array(image)
    thickness = max(2, round(min(canvas.shape[:2]) / 300))  # seen at any scale
    order = np.argsort(-masks.areas(), kind="stable")
    marks = [_mark(masks, int(i), numbers[int(i)]) for i in order if masks.areas()[i]]
    for mark in marks:
        _tint(canvas, mark, thickness)
    return _label(canvas, marks, thickness)


def _mark(masks: Masks, index: int, number: int) -> _Mark:
    crop, corner = masks.crop(index)
    row, column, reach = _pole(crop)
    return _Mark(number, crop, corner, (corner[0] + column, corner[1] + row), reach)


def _tint(canvas: Pixels, mark: _Mark, thickness: int) -> None:
    (x, y), (rows, columns) = mark.corner, mark.crop.shape
    window = canvas[y : y + rows, x : x + columns]
    color = np.array(mark.color, np.float32)
    inside = mark.crop & _eroded(mark.crop, thickness)
    window[inside] = (window[inside] * (1 - TINT) + color * TINT).astype(np.uint8)
    # a light line inside a coloured one stays visible on dark and on light ground
    edge = mark.crop & ~inside
    halo = inside & ~_eroded(inside, max(1, thickness // 2))
    window[halo] = (window[halo] * 0.4 + 255 * 0.6).astype(np.uint8)
    window[edge] = mark.color


def _eroded(crop: BoolArray, steps: int) -> BoolArray:
    """(h, w) bool: the pixels that are at least `steps` away from the mask's edge."""
    inner = np.pad(crop, 1)
    for _ in range(steps):
        inner[1:-1, 1:-1] = (
            inner[1:-1, 1:-1]
            & inner[:-2, 1:-1]
            & inner[2:, 1:-1]
            & inner[1:-1, :-2]
            & inner[1:-1, 2:]
        )
    return inner[1:-1, 1:-1]


def _pole(crop: BoolArray, resolution: int = 48) -> tuple[int, int, float]:
    """The pole of inaccessibility, on a coarse grid: (row, column, distance to the edge)."""
    step = max(1, -(-max(crop.shape) // resolution))
    small = crop[step // 2 :: step, step // 2 :: step]
    if not small.any():  # a mask too thin for the grid: any of its pixels will do
        row, column = np.argwhere(crop)[crop.sum() // 2]
        return int(row), int(column), 0.5
    depth: npt.NDArray[np.int32] = np.zeros(small.shape, np.int32)
    left = small
    while left.any():
        depth += left
        left = _eroded(left, 1)
    deepest = np.argwhere(depth == depth.max())
    row, column = deepest[np.abs(deepest - deepest.mean(axis=0)).sum(axis=1).argmin()]
    return (
        int(row) * step + step // 2,
        int(column) * step + step // 2,
        float(depth.max() - 0.5) * step,
    )


def _label(canvas: Pixels, marks: Sequence[_Mark], thickness: int) -> Pixels:
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    largest = max(13.0, min(canvas.shape[:2]) / 18)
    smallest = max(10.0, min(canvas.shape[:2]) / 45)
    taken: list[Box] = []
    lines: list[tuple[tuple[int, int], Box, Color]] = []
    labels: list[tuple[Box, _Mark, ImageFont.FreeTypeFont | ImageFont.ImageFont]] = []
    for mark in sorted(marks, key=lambda mark: -mark.reach):
        font = ImageFont.load_default(float(np.clip(mark.reach * 0.9, smallest, largest)))
        box = _free_box(draw, font, mark, taken, picture.size)
        taken.append(box)
        labels.append((box, mark, font))
        if not (box[0] <= mark.pole[0] < box[2] and box[1] <= mark.pole[1] < box[3]):
            lines.append((mark.pole, box, mark.color))
    for pole, box, color in lines:
        near = (int(np.clip(pole[0], box[0], box[2])), int(np.clip(pole[1], box[1], box[3])))
        draw.line([pole, near], fill="white", width=2 * thickness - 1)
        draw.line([pole, near], fill=color, width=max(1, thickness - 1))
    for box, mark, font in labels:
        draw.rounded_rectangle(
            (box[0], box[1], box[2] - 1, box[3] - 1),
            radius=thickness + 1,
            fill=mark.color,
            outline="white",
            width=max(1, thickness // 2),
        )
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        draw.text(centre, str(mark.number), fill="white", font=font, anchor="mm")
    return np.asarray(picture)


def _free_box(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    mark: _Mark,
    taken: Sequence[Box],
    size: tuple[int, int],
) -> Box:
    """Where a label goes: at the pole if it is free, else the nearest free place around it."""
    x0, y0, x1, y1 = draw.textbbox((0, 0), "0" * len(str(mark.number)), font=font, anchor="mm")
    padding = round(0.2 * (y1 - y0)) + 4
    width, height = round(x1 - x0) + padding, round(y1 - y0) + padding
    fits = 2 * mark.reach >= 0.8 * max(width, height)
    (corner_x, corner_y), (rows, columns) = mark.corner, mark.crop.shape
    start = mark.pole if fits else (mark.pole[0], corner_y - height // 2 - 3)
    boxes = [_box_at(start, width, height, size)]
    if not fits:
        beside = [
            (mark.pole[0], corner_y + rows + height // 2 + 3),
            (corner_x - width // 2 - 3, mark.pole[1]),
            (corner_x + columns + width // 2 + 3, mark.pole[1]),
        ]
        boxes += [_box_at(centre, width, height, size) for centre in beside]
    for ring in range(1, 40):
        for angle in np.linspace(0, 2 * np.pi, 8 + 4 * ring, endpoint=False):
            distance = ring * height * 0.5
            centre = (
                round(start[0] + distance * float(np.cos(angle))),
                round(start[1] + distance * float(np.sin(angle))),
            )
            boxes.append(_box_at(centre, width, height, size))
        for box in boxes:
            if not any(_overlap(box, other) for other in taken):
                return box
        boxes = []
    return _box_at(start, width, height, size)


def _box_at(centre: tuple[int, int], width: int, height: int, size: tuple[int, int]) -> Box:
    """The box of this size around `centre`, moved into the image."""
    x = min(max(0, centre[0] - width // 2), max(0, size[0] - width))
    y = min(max(0, centre[1] - height // 2), max(0, size[1] - height))
    return x, y, x + width, y + height


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
