"""Draws numbered masks on an image (set-of-marks), for planners and people."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.geometry import Region
from sam3_agent.image_encoding import MAX_SIDE
from sam3_agent.images import Pixels
from sam3_agent.label_layout import Color, Label, draw_labels, pole
from sam3_agent.mask_parts import eroded
from sam3_agent.masks import Masks
from sam3_agent.rle import BoolArray

PALETTE: tuple[Color, ...] = (
    (220, 20, 60),
    (0, 115, 225),
    (30, 140, 60),
    (205, 95, 0),
    (135, 40, 190),
    (0, 140, 150),
    (225, 40, 180),
    (130, 80, 40),
    (45, 50, 150),
    (115, 125, 0),
    (150, 20, 90),
    (70, 75, 80),
)
"""The colour of mask n is PALETTE[(n - 1) % 12], unless a neighbour with a lower number has it."""

HATCH = 10
"""Pixels from one hatching line to the next, per pixel of outline. Hatching, since a fill would
change the colour of what it marks: a red car would be taken for a purple one."""

HALO = 204
"""The opacity of the light line, of 255."""

LEAST_HALO, LEAST_HATCH = 5, 12
"""Pixels from the edge to the middle of a mask from which on it gets a light line, and hatching."""

OUTLINE = 5
"""Pixels of the outline in a crop: thick, since its colour may be that of the object."""

SHORT_SIDE = 768
"""Pixels of the longest side that a planner is shown at least: in a smaller picture numbers are
hard to read."""

LABEL_AREA = 1300
"""Pixels of a picture for each label: three times what the label itself covers."""


@dataclass(frozen=True)
class _Mark:
    """One mask in the pixels of the picture: (h, w) bool in its own box, whose corner is x0 y0."""

    number: int
    color: Color
    crop: BoolArray
    corner: tuple[int, int]


def draw_masks(image: Pixels, masks: Masks, numbers: Sequence[int]) -> Pixels:
    """Outline and hatch each mask and label it with its number; the (H, W, 3) uint8 picture.

    The pixels between the lines stay as they are, so that colours can be judged. Larger masks lie
    below smaller ones. Labels stay inside the image and do not overlap; one that does not fit into
    its mask stands beside it with a line to it, and one for which there is no place is left out.
    """
    return _drawn(Image.fromarray(np.asarray(image)), _marks(masks, numbers, (0, 0), 1.0))


def view(
    image: Pixels, masks: Masks, numbers: Sequence[int], region: Region | None = None
) -> Pixels:
    """Draw masks as `draw_masks` on the image, or a region of it, in a size that suits a planner.

    The picture is enlarged so far that every label finds a place, but never beyond MAX_SIDE.
    """
    region = region or (0, 0, image.shape[1], image.shape[0])
    scale = _scale(region[2] - region[0], region[3] - region[1], len(masks))
    canvas = _canvas(image, region, scale)
    marks = (_clipped(mark, canvas) for mark in _marks(masks, numbers, region[:2], scale))
    return _drawn(canvas, [mark for mark in marks if mark])


def outlined(
    image: Pixels, masks: Masks, number: int, region: Region, scale: float
) -> tuple[Pixels, Color]:
    """Outline one mask, without a label, on a region of the image at a scale; also its colour."""
    canvas = _canvas(image, region, scale)
    (mark,) = _marks(masks, [number], region[:2], scale)
    clipped = _clipped(mark, canvas)
    if clipped:
        _outline(canvas, clipped, OUTLINE, _label(clipped).reach)
    return np.asarray(canvas), mark.color


def _canvas(image: Pixels, region: Region, scale: float) -> Image.Image:
    """A region of the image at a scale, as a copy that may be drawn on."""
    x0, y0, x1, y1 = region
    picture = Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    return picture if picture.size == size else picture.resize(size, how)


def _scale(width: int, height: int, labels: int) -> float:
    """The scale at which a planner gets a picture: SHORT_SIDE at least, more for many labels."""
    longest = max(width, height)
    for_labels = math.sqrt(labels * LABEL_AREA / (width * height))
    return min(max(1.0, SHORT_SIDE / longest, for_labels), MAX_SIDE / longest)


def _marks(
    masks: Masks, numbers: Sequence[int], origin: tuple[int, int], scale: float
) -> list[_Mark]:
    """The masks, largest first, in the pixels of a picture whose upper left is `origin`."""
    areas = masks.areas()
    colors = _colors(masks, numbers)
    marks = []
    for i in np.argsort(-areas, kind="stable"):
        if areas[i]:
            crop, (x, y) = masks.crop(int(i))
            crop, corner = _scaled(crop, (x - origin[0], y - origin[1]), scale)
            marks.append(_Mark(numbers[int(i)], colors[int(i)], crop, corner))
    return marks


def _scaled(
    crop: BoolArray, corner: tuple[int, int], scale: float
) -> tuple[BoolArray, tuple[int, int]]:
    if scale == 1:
        return crop, corner
    rows, columns = crop.shape
    x0, y0 = math.floor(corner[0] * scale), math.floor(corner[1] * scale)
    x1 = max(x0 + 1, round((corner[0] + columns) * scale))
    y1 = max(y0 + 1, round((corner[1] + rows) * scale))
    grey = Image.fromarray(crop.astype(np.uint8) * 255)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    level = np.asarray(grey.resize((x1 - x0, y1 - y0), how))
    # at least the fullest pixel stays, or a mask thinner than a pixel of the picture would vanish
    return level >= min(128, int(level.max())), (x0, y0)


def _clipped(mark: _Mark, canvas: Image.Image) -> _Mark | None:
    """The part of a mark inside a picture, if any."""
    (x, y), (rows, columns) = mark.corner, mark.crop.shape
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(canvas.width, x + columns), min(canvas.height, y + rows)
    if x0 >= x1 or y0 >= y1:
        return None
    crop = mark.crop[y0 - y : y1 - y, x0 - x : x1 - x]
    return _Mark(mark.number, mark.color, crop, (x0, y0)) if crop.any() else None


def _colors(masks: Masks, numbers: Sequence[int]) -> list[Color]:
    """A colour for each mask that no mask near it has.

    In the order of the numbers, each mask takes the first colour, from its own on, that no mask
    within 2 % of the image's side has; where all are taken, that of the farthest neighbour.
    """
    boxes = masks.boxes
    near = 0.02 * max(masks.size)
    chosen = np.full(len(masks), -1)
    for i in np.argsort(np.asarray(numbers, dtype=np.int64), kind="stable"):
        own = (numbers[i] - 1) % len(PALETTE)
        others = np.flatnonzero(chosen >= 0)
        apart = np.full(len(PALETTE), np.inf)
        np.minimum.at(apart, chosen[others], _gaps(boxes[i], boxes[others]))
        in_turn = np.roll(np.arange(len(PALETTE)), -own)
        free = in_turn[apart[in_turn] > near]
        chosen[i] = free[0] if len(free) else in_turn[apart[in_turn].argmax()]
    return [PALETTE[i] for i in chosen]


def _gaps(box: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N,) pixels between a box and each of (N, 4) others; negative where they overlap."""
    x = np.maximum(box[0] - others[:, 2], others[:, 0] - box[2])
    y = np.maximum(box[1] - others[:, 3], others[:, 1] - box[3])
    gaps: npt.NDArray[np.float32] = np.maximum(x, y)
    return gaps


def _drawn(canvas: Image.Image, marks: Sequence[_Mark]) -> Pixels:
    thickness = max(2, round(min(canvas.size) / 200))  # visible at any scale
    labels = [_label(mark) for mark in marks]
    for mark, label in zip(marks, labels, strict=True):
        _outline(canvas, mark, thickness, label.reach)
        if label.reach >= LEAST_HATCH:
            _hatch(canvas, mark, thickness)
    draw_labels(canvas, labels, thickness)
    return np.asarray(canvas)


def _outline(canvas: Image.Image, mark: _Mark, thickness: int, reach: float) -> None:
    """Outline a mask inside its edge: a light line in a coloured one is visible on any colour.

    reach: pixels from the edge to the middle of the mask; the lines leave most of them free.
    """
    thickness = max(1, min(thickness, round(reach / 10)))
    inside = eroded(mark.crop, thickness)
    canvas.paste(mark.color, mark.corner, Image.fromarray((mark.crop ^ inside) * np.uint8(255)))
    if reach >= LEAST_HALO:
        light = inside ^ eroded(inside, max(1, thickness // 2))
        canvas.paste((255, 255, 255), mark.corner, Image.fromarray(light * np.uint8(HALO)))


def _hatch(canvas: Image.Image, mark: _Mark, thickness: int) -> None:
    """Draw thin diagonal lines across a mask, for even numbers the other way than for odd ones."""
    (x, y), (rows, columns) = mark.corner, mark.crop.shape
    across = np.arange(x, x + columns)[None] * (1 if mark.number % 2 else -1)
    lines = (across + np.arange(y, y + rows)[:, None]) % (HATCH * thickness) < thickness // 2
    canvas.paste(mark.color, mark.corner, Image.fromarray((mark.crop & lines) * np.uint8(255)))


def _label(mark: _Mark) -> Label:
    (x, y), (rows, columns) = mark.corner, mark.crop.shape
    row, column, reach = pole(mark.crop)
    box = (x, y, x + columns, y + rows)
    return Label(str(mark.number), mark.color, (x + column, y + row), reach, box)
