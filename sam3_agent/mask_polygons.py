"""Outlines of a mask as polygons with holes, along the edges of its pixels or simplified.

A polygon is a list of rings, the outer one first, then its holes; a ring is a flat list of corners
x, y, x, y, ... in pixels, where 0, 0 is the upper left corner of the image's first pixel. Pixels
that touch only at a corner belong to different polygons.
"""

from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sam3_agent.errors import InputError
from sam3_agent.rle import BoolArray

Corners: TypeAlias = npt.NDArray[np.int64]
Polygon: TypeAlias = list[list[int]]

MAX_EDGES = 400_000
"""Pixel edges on the outline of one mask; more raise InputError."""

PIECE = 512
"""Corners of a ring that are simplified together: the time grows with the square of this."""


def mask_polygons(
    crop: BoolArray, corner: tuple[int, int] = (0, 0), tolerance: float = 0.0
) -> list[Polygon]:
    """The polygons of an (h, w) bool mask that lies at the (x0, y0) of an image.

    tolerance: pixels that a left out corner may be from the line that replaces it; 0 keeps the
    outline of every pixel. Filled, all rings together by the even-odd rule, they are the mask.
    """
    padded = np.pad(crop, 1)
    edges, following = _edges(padded)
    rings, ring_of = _rings(edges, following, padded.size)
    outers = _outer_rings(padded, edges, rings, ring_of)
    polygons: dict[int, Polygon] = {}
    # outer rings come before their holes, each by the ring that holds it
    for hole, number in sorted((outers[number] != number, number) for number in range(len(rings))):
        corners = _corners(edges[rings[number]], padded)
        kept = _simplified(corners, tolerance) if tolerance > 0 else corners
        ring = (kept + np.array(corner) - 1).ravel().tolist()
        polygons.setdefault(outers[number], []).append(ring)
        assert hole or len(polygons[number]) == 1
    return list(polygons.values())


def _edges(padded: BoolArray) -> tuple[Corners, Corners]:
    """The pixel edges on the outline, ascending, and the index of the edge that follows each.

    An edge is side * size + pixel, with sides 0 top, 1 right, 2 bottom, 3 left. It is walked with
    the mask at its right hand, so outer rings run clockwise and holes against it.
    """
    inside, width = padded.ravel(), padded.shape[1]
    outward = np.array([-width, 1, width, -1])
    ahead = np.array([1, width, -1, -width])
    pixels = [
        np.flatnonzero(inside & ~np.roll(inside, -step)) for step in outward
    ]  # the padding keeps what np.roll brings round outside of the mask
    edges = np.concatenate([side * inside.size + found for side, found in enumerate(pixels)])
    if len(edges) > MAX_EDGES:
        raise InputError(
            f"a mask has an outline of {len(edges)} pixels, more than the {MAX_EDGES} that are "
            "made polygons: take rle"
        )
    side, pixel = np.divmod(edges, inside.size)
    straight = pixel + ahead[side]
    corner = straight + outward[side]
    # to the right where the mask ends, straight on along its edge, or left around an inner corner
    turns_right, turns_left = ~inside[straight], inside[straight] & inside[corner]
    next_side = (side + turns_right - turns_left) % 4
    next_pixel = np.where(turns_right, pixel, np.where(turns_left, corner, straight))
    return edges, np.searchsorted(edges, next_side * inside.size + next_pixel)


def _rings(edges: Corners, following: Corners, size: int) -> tuple[list[list[int]], Corners]:
    """The indexes of each ring's edges in order, and the ring of each edge."""
    ring_of = [-1] * len(edges)
    after = following.tolist()
    rings: list[list[int]] = []
    for start in range(int(np.searchsorted(edges, size))):  # every ring has an edge on top
        if ring_of[start] >= 0:
            continue
        ring: list[int] = []
        edge = start
        while ring_of[edge] < 0:
            ring_of[edge] = len(rings)
            ring.append(edge)
            edge = after[edge]
        rings.append(ring)
    return rings, np.array(ring_of, np.int64)


def _outer_rings(
    padded: BoolArray, edges: Corners, rings: list[list[int]], ring_of: Corners
) -> list[int]:
    """For each ring the outer ring of its polygon; for an outer ring itself."""
    outer = [_area(_corners(edges[ring], padded)) > 0 for ring in rings]
    outers = list(range(len(rings)))
    if all(outer):
        return outers
    width, size = padded.shape[1], padded.size
    # the column where the run of mask pixels that a pixel belongs to begins
    columns = np.where(padded, 0, np.arange(1, width + 1, dtype=np.int32))
    first = np.maximum.accumulate(columns, axis=1).ravel()
    # left of a hole's leftmost edge lies a run of its polygon, which begins at another ring
    leftmost: dict[int, int] = {}
    for number, ring in enumerate(rings):
        if not outer[number]:
            right = edges[ring]
            right = right[right // size == 1] - size
            leftmost[number] = int(right[np.argmin(right % width)])
    for number in sorted(leftmost, key=lambda hole: leftmost[hole] % width):
        pixel = leftmost[number]
        begins = pixel // width * width + int(first[pixel])
        left = int(np.searchsorted(edges, 3 * size + begins))
        outers[number] = outers[int(ring_of[left])]
    return outers


def _corners(ring: Corners, padded: BoolArray) -> Corners:
    """(N, 2) x y: the corners of a ring of edges."""
    side, pixel = np.divmod(ring, padded.size)
    turned = side != np.roll(side, 1)
    side, (y, x) = side[turned], np.divmod(pixel[turned], padded.shape[1])
    return np.stack([x + ((side == 1) | (side == 2)), y + (side >= 2)], axis=1)


def _area(corners: Corners) -> int:
    """Twice the area inside a ring: positive when it runs clockwise."""
    x, y = corners.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _simplified(corners: Corners, tolerance: float) -> Corners:
    """The corners of a ring that Ramer, Douglas and Peucker's algorithm keeps.

    A ring that would lose its area is kept as it is.
    """
    count = len(corners)
    farthest = int(np.argmax(((corners - corners[0]) ** 2).sum(axis=1)))
    fixed = sorted({*range(0, count, PIECE), farthest, count})
    closed = np.concatenate([corners, corners[:1]])
    kept = np.zeros(count + 1, np.bool_)
    kept[fixed] = True
    pieces = list(pairwise(fixed))
    while pieces:
        start, end = pieces.pop()
        if end - start < 2:
            continue
        distances = _distances(closed[start : end + 1])
        worst = int(np.argmax(distances))
        if distances[worst] > tolerance:
            kept[start + worst] = True
            pieces += [(start, start + worst), (start + worst, end)]
    simple = corners[kept[:count]]
    return simple if len(simple) > 2 and _area(simple) * _area(corners) > 0 else corners


def _distances(piece: Corners) -> npt.NDArray[np.float64]:
    """How far each of N corners is from the line through the first and the last."""
    across, away = piece[-1] - piece[0], piece - piece[0]
    length = float(np.hypot(*across))
    distances: npt.NDArray[np.float64]
    if length:
        distances = np.abs(across[0] * away[:, 1] - across[1] * away[:, 0]) / length
    else:
        distances = np.hypot(away[:, 0], away[:, 1])
    return distances
