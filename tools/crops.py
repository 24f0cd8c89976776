"""The tool `look`: crops of masks in a grid, or a region of the image enlarged."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam3_agent.errors import ToolError
from sam3_agent.geometry import Region
from sam3_agent.image_encoding import MAX_SIDE
from sam3_agent.images import Pixels
from sam3_agent.observations import MaskNumbers
from sam3_agent.overlay import outlined, view
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation
from sam3_agent.tools.coordinates import percent_box, pixel_box, plain
from sam3_agent.tools.observation_text import checked_numbers

MAX_CROPS = 25
"""Masks of one call: five rows of five."""

MARGIN = 0.3
"""What a crop adds to the mask's box on each side, as a share of the box."""

LARGEST_CELL, GAP, TITLE = 768, 6, 30
"""Pixels: side of a cell of the grid at most, space between cells, height of a cell's title."""

MAX_SCALE = 8.0
BACKGROUND = 32
"""The grey around crops."""


def look(
    scene: Scene, numbers: list[int] | None = None, region: list[float] | None = None
) -> Observation:
    """See masks close up, each in a tile, or a region enlarged (with numbers: marked in it)."""
    if numbers is None and region is None:
        raise ToolError("look needs the numbers of masks, or a region x0,y0,x1,y1 in percent")
    chosen = checked_numbers(scene, numbers or (), 1 if region is None else 0, MAX_CROPS)
    if region is not None:
        window = scene.window(pixel_box(scene, region, "region"))
        picture = view(scene.image, scene.select(chosen), chosen, window)
        factor = plain(picture.shape[1] / (window[2] - window[0]))
        text = f"The region {percent_box(scene, window)} at {factor} times its pixels."
    else:
        picture = crop_grid(scene, chosen)
        text = f"Close-ups, row by row: {', '.join(map(str, chosen))}."
    return Observation(text, (picture,), MaskNumbers(chosen))


def crop_grid(scene: Scene, numbers: Sequence[int]) -> Pixels:
    """A grid (H, W, 3) of masks, row by row, each in its surroundings below its number."""
    columns = math.ceil(math.sqrt(len(numbers)))
    rows = math.ceil(len(numbers) / columns)
    width, height = ((MAX_SIDE + GAP) // n - GAP for n in (columns, rows))
    side = min(LARGEST_CELL, width, height - TITLE)
    height = TITLE + side
    grid = np.full(
        (rows * (height + GAP) - GAP, columns * (side + GAP) - GAP, 3), BACKGROUND, np.uint8
    )
    for i, number in enumerate(numbers):
        y, x = i // columns * (height + GAP), i % columns * (side + GAP)
        grid[y : y + height, x : x + side] = _cell(scene, number, side)
    return grid


def _cell(scene: Scene, number: int, side: int) -> Pixels:
    """A cell (TITLE + side, side, 3): the crop of a mask in its middle, the number in its title."""
    mask = scene.select([number])
    window = _surroundings(mask.boxes[0].tolist(), scene)
    scale = min(side / max(window[2] - window[0], window[3] - window[1]), MAX_SCALE)
    crop, color = outlined(scene.image, mask, number, window, scale)
    crop = crop[:side, :side]
    cell = np.full((TITLE + side, side, 3), BACKGROUND, np.uint8)
    cell[:TITLE] = color
    height, width = crop.shape[:2]
    top, left = TITLE + (side - height) // 2, (side - width) // 2
    cell[top : top + height, left : left + width] = crop
    picture = Image.fromarray(cell)
    font = ImageFont.load_default(TITLE * 0.75)
    ImageDraw.Draw(picture).text((side / 2, TITLE / 2), str(number), "white", font, anchor="mm")
    return np.asarray(picture)


def _surroundings(box: Sequence[float], scene: Scene) -> Region:
    """The square around a box with its margin, clipped to the image."""
    x0, y0, x1, y1 = box
    reach = max(x1 - x0, y1 - y0, 8) * (0.5 + MARGIN)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    return (
        max(0, math.floor(x - reach)),
        max(0, math.floor(y - reach)),
        min(scene.width, math.ceil(x + reach)),
        min(scene.height, math.ceil(y + reach)),
    )
