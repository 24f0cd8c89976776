"""Tiles: a large image as overlapping windows, and their masks as masks of the whole."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from sam3_agent.masks import Masks

Window: TypeAlias = tuple[int, int, int, int]
"""x0 y0 x1 y1 in whole pixels; x1 and y1 are exclusive."""

TILE_SIDE = 1008
"""Pixels; SAM 3 sees a tile of this size without making it smaller."""

TILE_OVERLAP = 0.25
"""Part of a tile's side that it shares with the next; things up to this size are seen whole."""

SEAM_SHARE = 0.5
"""Masks of two tiles are one thing when they share this much of the smaller one, as far as both
tiles can see it."""


def tiles(window: Window, side: int = TILE_SIDE, overlap: float = TILE_OVERLAP) -> list[Window]:
    """Windows of equal size, at most side x side, that cover `window` and overlap; row by row."""
    columns = _starts(window[0], window[2], side, overlap)
    rows = _starts(window[1], window[3], side, overlap)
    return [(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns]


def merged_tiles(parts: Sequence[Masks], windows: Sequence[Window]) -> Masks:
    """The masks of several windows (all of the whole image's size) as one set, best first.

    What two windows both saw is one mask: their union.
    """
    if len(parts) == 1:
        return parts[0]
    masks = Masks.concatenate(parts)
    owner = np.concatenate([[i] * len(part) for i, part in enumerate(parts)]).astype(int)
    group = list(range(len(masks)))
    for i, first in enumerate(windows):
        for j in range(i + 1, len(windows)):
            shared = _intersection(first, windows[j])
            if shared is not None:
                _join(masks, np.flatnonzero(owner == i), np.flatnonzero(owner == j), shared, group)
    whole = [
        masks[[k for k, other in enumerate(group) if other == name]].merged()
        for name in dict.fromkeys(group)
    ]
    if not whole:
        return masks
    joined = Masks.concatenate(whole)
    return joined[np.argsort(-joined.scores, kind="stable")]


def _join(
    masks: Masks, first: "np.ndarray", second: "np.ndarray", shared: Window, group: list[int]
) -> None:
    """Put masks of two windows that are one thing within `shared` into one group."""
    seen_first = [_within(masks, int(i), shared) for i in first]
    seen_second = [_within(masks, int(j), shared) for j in second]
    for i, a in zip(first, seen_first, strict=True):
        for j, b in zip(second, seen_second, strict=True):
            least = min(int(a.sum()), int(b.sum()))
            if least and int((a & b).sum()) >= SEAM_SHARE * least:
                old, new = group[int(j)], group[int(i)]
                group[:] = [new if name == old else name for name in group]


def _within(masks: Masks, index: int, window: Window) -> "np.ndarray":
    """The pixels of a mask inside a window, (h, w) bool."""
    x0, y0, x1, y1 = window
    out = np.zeros((y1 - y0, x1 - x0), np.bool_)
    crop, (x, y) = masks.crop(index)
    top, left = max(y0, y), max(x0, x)
    bottom, right = min(y1, y + crop.shape[0]), min(x1, x + crop.shape[1])
    if top < bottom and left < right:
        out[top - y0 : bottom - y0, left - x0 : right - x0] = crop[
            top - y : bottom - y, left - x : right - x
        ]
    return out


def _starts(low: int, high: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """The (start, stop) of equal pieces of low..high, at most `side` long."""
    length = high - low
    if length <= side:
        return [(low, high)]
    count = int(np.ceil((length - side) / (side * (1 - overlap)))) + 1
    starts = np.linspace(low, high - side, count).round().astype(int)
    return [(int(start), int(start) + side) for start in starts]


def _intersection(a: Window, b: Window) -> Window | None:
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
