"""Covers a large image with overlapping tiles, and merges their masks into masks of the whole."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.geometry import Region
from sam3_agent.mask_parts import Groups, dilated, without_stray_pixels
from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, BoolArray, decode_crop, encode_crop, tight_boxes

TILE_SIDE = 1008
"""Pixels; SAM 3 takes a tile of this size without making it smaller."""

TILE_OVERLAP = 0.25
"""Share of its side by which a tile overlaps the next; smaller things lie whole in a tile."""

SAME_IOU = 0.5
"""Masks of two tiles with at least this IoU, where both are known, are one object."""

PIECE_SHARE = 0.8
"""A mask that its tile cuts is a piece of another when at least this share of it lies in that."""

LEAST_SHARED = 0.1
"""Two masks are compared if they share at least this part of the smaller one."""

TOLERANCE = 2
"""Pixels by which the masks of two tiles may differ at one edge: SAM 3 gives masks in cells of 3.5
pixels, and the cells of two tiles do not coincide."""

CUT_MARGIN = 1 / 200
"""A mask that comes this near to a side of its tile, as a share of the tile's width or height, is
taken to be cut there."""


def tiles(window: Region, side: int = TILE_SIDE, overlap: float = TILE_OVERLAP) -> list[Region]:
    """Windows of equal size, at most side x side, that cover `window` and overlap; row by row."""
    columns = _starts(window[0], window[2], side, overlap)
    rows = _starts(window[1], window[3], side, overlap)
    return [(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns]


def merged_tiles(parts: Sequence[Masks], windows: Sequence[Region]) -> Masks:
    """The masks that one prompt found in several windows as one set of objects, best first.

    parts: one for each window, all of the whole image's size. The masks of one object in several
    windows become one mask, their union, with their best score.

    1. What is compared: masks without stray pixels and TOLERANCE thicker (`_TileMask`), so that
       slim objects whose edges differ by a pixel still overlap.
    2. Where: both tiles contain all of the strip that they share, so two masks of one object agree
       there. A mask that no side of its tile cuts is complete: there is no more of it outside the
       tile. So the IoU is taken where both masks are known: in the strip if both are cut,
       everywhere if neither is, else in the tile of the cut one. The sliver of an object at the
       end of the strip thus never equals its neighbour, though it may lie inside the neighbour.
    3. One to one: pairs are joined by falling IoU, and never two masks of one tile, because two
       objects in one tile are two; nor two complete objects by a third mask that covers both.
       Objects longer than a tile, or in the corner of four, grow pair by pair.
    4. Pieces: a tile may cut an object into several pieces (the legs of a horse), or hold so little
       of it that the mask is poor. Such a mask equals no other. It joins one that holds it and
       goes on beyond the side at which it is cut.
    """
    if len(parts) == 1:
        return parts[0]
    masks = Masks.concatenate(parts)
    tile_masks = _tile_masks(parts, windows)
    pairs = list(_pairs(tile_masks, windows))
    objects = _Objects([tile for tile, part in enumerate(parts) for _ in part.rles], tile_masks)
    for pair in sorted(pairs, key=lambda pair: -pair.iou):
        if pair.iou >= SAME_IOU and objects.may_be_one(pair.first, pair.second):
            objects.groups.join(pair.first.index, pair.second.index)
    pieces = [found for pair in pairs for found in pair.pieces() if found[0] >= PIECE_SHARE]
    for _, piece, whole in sorted(pieces, key=lambda found: -found[0]):
        if objects.lacks(piece, whole.tile):
            objects.groups.join(whole.index, piece.index)
    merged = [masks[members].union() for members in objects.groups.members.values()]
    if not merged:
        return masks
    joined = Masks.concatenate(merged)
    return joined[np.argsort(-joined.scores, kind="stable")]


@dataclass(frozen=True)
class _TileMask:
    """A mask of one tile as it is compared: without stray pixels, and TOLERANCE thicker.

    index: of the mask among all. box: x0 y0 x1 y1 around the pixels. known: the window in which
    they are all that there is of the object.
    """

    index: int
    tile: int
    rle: RLE
    area: int
    box: Region
    known: tuple[float, float, float, float]

    @property
    def complete(self) -> bool:
        """Whether no side of its tile cuts it."""
        return not any(map(math.isfinite, self.known))

    def area_in(self, window: Sequence[float]) -> int:
        """Pixels in a window."""
        if _contains(window, self.box):
            return self.area
        crop, (x, y) = decode_crop(self.rle)
        x0, y0, x1, y1 = np.clip(window, self.box[:2] * 2, self.box[2:] * 2).astype(int)
        return int(np.count_nonzero(crop[y0 - y : y1 - y, x0 - x : x1 - x]))


@dataclass(frozen=True)
class _Pair:
    """Masks of two tiles that share pixels.

    iou: where both are known. shares: how much of the first, and of the second, lies in the other,
    where that is known.
    """

    first: _TileMask
    second: _TileMask
    iou: float
    shares: tuple[float, float]

    def pieces(self) -> Iterator[tuple[float, _TileMask, _TileMask]]:
        """(share, piece, whole): one that may be a piece of the other, which goes on beyond it."""
        sides = (self.first, self.second), (self.second, self.first)
        for share, (piece, whole) in zip(self.shares, sides, strict=True):
            if not _contains(piece.known, whole.box):
                yield share, piece, whole


class _Objects:
    """Masks in groups, each one object. tiles: the tile of each mask."""

    def __init__(self, tiles: Sequence[int], tile_masks: Sequence[Sequence[_TileMask]]) -> None:
        self.groups = Groups(len(tiles))
        self._tiles = tiles
        self._complete = {mask.index for masks in tile_masks for mask in masks if mask.complete}

    def may_be_one(self, first: _TileMask, second: _TileMask) -> bool:
        """Whether no tile has two masks of the two groups.

        Nor may both groups be complete already, unless it is by these two masks.
        """
        groups = self.groups.of(first.index), self.groups.of(second.index)
        if not (first.complete and second.complete) and all(map(self._is_complete, groups)):
            return False
        tiles, others = ({self._tiles[i] for i in group} for group in groups)
        return tiles.isdisjoint(others)

    def lacks(self, piece: _TileMask, tile: int) -> bool:
        """Whether the group of a piece is not complete, and has no mask of this tile."""
        group = self.groups.of(piece.index)
        return not self._is_complete(group) and all(self._tiles[i] != tile for i in group)

    def _is_complete(self, group: Sequence[int]) -> bool:
        return not self._complete.isdisjoint(group)


def _tile_masks(parts: Sequence[Masks], windows: Sequence[Region]) -> list[list[_TileMask]]:
    """The masks of each tile that reach into another tile."""
    starts, stops = np.min(windows, axis=0), np.max(windows, axis=0)
    outer = (int(starts[0]), int(starts[1]), int(stops[2]), int(stops[3]))
    tile_masks: list[list[_TileMask]] = []
    before = 0
    for tile, (part, window) in enumerate(zip(parts, windows, strict=True)):
        boxes = tight_boxes(part.rles)
        others = [_intersecting(boxes, other) for i, other in enumerate(windows) if i != tile]
        shared = np.flatnonzero(np.any(others, axis=0))
        ready = ((int(i), _comparable(part, int(i), window)) for i in shared)
        tile_masks.append(
            [_tile_mask(before + i, tile, rle, window, outer) for i, rle in ready if rle]
        )
        before += len(part)
    return tile_masks


def _comparable(part: Masks, i: int, window: Region) -> RLE | None:
    """Mask i without stray pixels and TOLERANCE thicker, if any of it is in the window."""
    crop, (x, y) = part.crop(i)
    crop = dilated(without_stray_pixels(crop), TOLERANCE)
    x, y = x - TOLERANCE, y - TOLERANCE
    top, left = max(0, window[1] - y), max(0, window[0] - x)
    crop = crop[top : max(0, window[3] - y), left : max(0, window[2] - x)]
    return encode_crop(crop, (x + left, y + top), part.size) if crop.any() else None


def _tile_mask(index: int, tile: int, rle: RLE, window: Region, outer: Region) -> _TileMask:
    x0, y0, x1, y1 = (int(v) for v in tight_boxes([rle])[0])
    box = (x0, y0, x1, y1)
    return _TileMask(index, tile, rle, int(coco.area(rle)), box, _known(box, window, outer))


def _known(box: Region, window: Region, outer: Region) -> tuple[float, float, float, float]:
    """A tile without the sides that do not cut what is in a box: nothing more of it lies beyond.

    outer: the window that all tiles cover; its sides cut nothing.
    """
    beyond = (-math.inf, -math.inf, math.inf, math.inf)
    margin = [CUT_MARGIN * (window[i + 2] - window[i]) for i in (0, 1)] * 2
    cut = [window[i] != outer[i] and abs(box[i] - window[i]) <= margin[i] for i in range(4)]
    x0, y0, x1, y1 = (window[i] if cut[i] else beyond[i] for i in range(4))
    return x0, y0, x1, y1


def _pairs(tile_masks: Sequence[Sequence[_TileMask]], windows: Sequence[Region]) -> Iterator[_Pair]:
    """All pairs of masks of two different tiles that share enough pixels to be compared."""
    for (i, ours), (j, theirs) in combinations(enumerate(tile_masks), 2):
        first = [mask for mask in ours if _intersecting(np.array([mask.box]), windows[j])[0]]
        second = [mask for mask in theirs if _intersecting(np.array([mask.box]), windows[i])[0]]
        if first and second:
            # with a "crowd" pycocotools divides by the area of the first mask alone
            crowd = [1] * len(second)
            share = coco.iou([mask.rle for mask in first], [mask.rle for mask in second], crowd)
            for a, b in np.argwhere(share > 0):
                shared = float(share[a, b]) * first[a].area
                if shared >= LEAST_SHARED * min(first[a].area, second[b].area):
                    yield _pair(first[a], second[b], shared)


def _pair(first: _TileMask, second: _TileMask, shared: float) -> _Pair:
    # what they share lies in both tiles, so only what is not shared must be looked for
    areas = first.area_in(second.known), second.area_in(first.known)
    iou = shared / (sum(areas) - shared)
    return _Pair(first, second, iou, (shared / areas[0], shared / areas[1]))


def _intersecting(boxes: npt.NDArray[Any], window: Sequence[float]) -> BoolArray:
    """(N,) bool: which of (N, 4) boxes share pixels with a window."""
    intersecting: BoolArray = np.all(boxes[:, :2] < window[2:], axis=1) & np.all(
        boxes[:, 2:] > window[:2], axis=1
    )
    return intersecting


def _contains(window: Sequence[float], box: Region) -> bool:
    return all(window[i] <= box[i] and box[i + 2] <= window[i + 2] for i in (0, 1))


def _starts(low: int, high: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """The (start, stop) of equal pieces of low..high, at most `side` long."""
    length = high - low
    if length <= side:
        return [(low, high)]
    count = int(np.ceil((length - side) / (side * (1 - overlap)))) + 1
    starts = np.linspace(low, high - side, count).round().astype(int)
    return [(int(start), int(start) + side) for start in starts]
