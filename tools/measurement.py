"""The tool `measure`: areas, colours, orders and relations that a model should not guess."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.observations import Measurement, Measurements, PairMeasurement
from sam3_agent.scene import Scene
from sam3_agent.tool import Observation
from sam3_agent.tools.colors import color_shares
from sam3_agent.tools.coordinates import percent_point, plain
from sam3_agent.tools.observation_text import checked_numbers

MAX_MEASURED, MAX_PAIRED = 60, 8
"""Masks of one call, and masks up to which each pair is measured."""

LEVEL = 0.01
"""Two masks are left and right of each other, or above and below, when their centres are at least
this share of the image's width or height apart."""

INSIDE = 0.9
"""A mask is inside a larger one when at least this share of its box is in the other's box."""

COLOR_PIXELS, OUTLINE_POINTS = 4000, 600
"""Pixels of a mask that its colours are taken from; points of an outline that are compared."""


def measure(scene: Scene, numbers: list[int]) -> Observation:
    """Area, centre, colours, orders by place and size; for up to 8 masks each pair: left/right,
    above/below, inside, overlap, gap.
    """
    chosen = checked_numbers(scene, numbers, most=MAX_MEASURED)
    masks = scene.select(chosen)
    areas, centres = masks.areas(), masks.centroids()
    percent = 100 * areas / (scene.width * scene.height)
    measured = tuple(
        Measurement(
            number,
            int(areas[i]),
            (round(float(centres[i, 0]), 1), round(float(centres[i, 1]), 1)),
            dict(color_shares(_pixels(scene.image, masks, i))[:3]),
        )
        for i, number in enumerate(chosen)
    )
    lines = [f"{len(chosen)} masks, {plain(float(percent.sum()))}% of the image in sum"]
    for i, mask in enumerate(measured):
        colors = ", ".join(f"{name} {share:.0%}" for name, share in mask.colors.items())
        centre = percent_point(scene, *centres[i])
        lines.append(f"{chosen[i]}: area {percent[i]:.2f}% centre {centre} {colors or 'no colour'}")
    orders = {
        "left to right": _ordered(chosen, centres[:, 0]),
        "top to bottom": _ordered(chosen, centres[:, 1]),
        "largest first": _ordered(chosen, -areas),
    }
    pairs = _pairs(scene, masks, chosen) if len(chosen) <= MAX_PAIRED else ()
    if len(chosen) > 1:
        lines += [f"{name}: {', '.join(map(str, order))}" for name, order in orders.items()]
        lines.append(
            "pairs, the first as seen from the second, gaps in percent of the diagonal:"
            if pairs
            else f"(pairs are told for up to {MAX_PAIRED} masks)"
        )
        lines += [_pair_line(pair) for pair in pairs]
    return Observation("\n".join(lines), findings=Measurements(measured, orders, pairs))


def _ordered(numbers: Sequence[int], keys: npt.NDArray[Any]) -> tuple[int, ...]:
    return tuple(numbers[i] for i in np.argsort(keys, kind="stable"))


def _pixels(image: Pixels, masks: Masks, index: int) -> Pixels:
    """(K, 3): the mask's pixels, of a large mask every n-th."""
    crop, (x, y) = masks.crop(index)
    places = np.flatnonzero(crop)
    rows, columns = np.divmod(places[:: max(1, len(places) // COLOR_PIXELS)], crop.shape[1])
    pixels: Pixels = image[y + rows, x + columns]
    return pixels


def _pairs(scene: Scene, masks: Masks, numbers: Sequence[int]) -> tuple[PairMeasurement, ...]:
    """How each mask lies to each later one."""
    areas, centres = masks.areas(), masks.centroids() / (scene.width, scene.height)
    shared = masks.overlap(masks, "iom") * np.minimum(areas[:, None], areas)
    outlines = [masks.contour(i) for i in range(len(masks))]
    pairs = []
    for i, j in itertools.combinations(range(len(masks)), 2):
        x, y = centres[i] - centres[j]
        relations = []
        if abs(x) >= LEVEL:
            relations.append("left" if x < 0 else "right")
        if abs(y) >= LEVEL:
            relations.append("above" if y < 0 else "below")
        if _is_inside(masks, i, j):
            relations.append("inside")
        if _is_inside(masks, j, i):
            relations.append("around")
        gap = 0.0 if shared[i, j] else _gap(outlines[i], outlines[j])
        pairs.append(
            PairMeasurement(
                (numbers[i], numbers[j]),
                tuple(relations),
                (float(shared[i, j] / max(1, areas[i])), float(shared[i, j] / max(1, areas[j]))),
                gap / math.hypot(scene.width, scene.height),
            )
        )
    return tuple(pairs)


def _is_inside(masks: Masks, index: int, other: int) -> bool:
    small, large = masks.boxes[index], masks.boxes[other]
    size = np.prod(small[2:] - small[:2])
    width, height = np.minimum(small[2:], large[2:]) - np.maximum(small[:2], large[:2])
    return bool(
        size < np.prod(large[2:] - large[:2]) and max(width, 0) * max(height, 0) >= INSIDE * size
    )


def _gap(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """The pixels between two outlines (K, 2), 0 for neighbours.

    All pairs of points would be too many: of a sample of both, the closest pair gives a start, and
    then the nearest point of the one outline and of the other are taken in turn, among all points.
    """
    # at random, since every other point of an outline may be on its left
    chance = np.random.default_rng(0)
    few, fewer = (chance.permutation(points)[:OUTLINE_POINTS] for points in (one, other))
    square = ((few[:, None] - fewer) ** 2).sum(axis=-1)
    a, b = few[square.argmin() // len(fewer)], fewer[square.argmin() % len(fewer)]
    for _ in range(3):
        b = other[((other - a) ** 2).sum(axis=1).argmin()]
        a = one[((one - b) ** 2).sum(axis=1).argmin()]
    return max(0.0, math.hypot(*(a - b)) - 1)


def _pair_line(pair: PairMeasurement) -> str:
    first, second = pair.numbers
    parts = list(pair.relations)
    if any(pair.overlap):
        of_first, of_second = pair.overlap
        parts.append(f"overlap {of_first:.0%} of {first} and {of_second:.0%} of {second}")
    else:
        parts.append(f"gap {plain(100 * pair.gap)}")
    return f"{first}-{second}: {', '.join(parts)}"
