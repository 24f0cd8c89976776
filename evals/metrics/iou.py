"""Overlaps: the pixels that an answer shares with the truth, from bool arrays or RLE."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, BoolArray

Protocol = Literal["lisa", "segzero"]


class Overlap(NamedTuple):
    """Pixels in both masks and pixels in either."""

    intersection: int
    union: int

    def iou(self, empty: float = 0.0) -> float:
        """Intersection over union; `empty` where there is no union."""
        return self.intersection / self.union if self.union else empty


def pixel_overlap(
    pred: BoolArray,
    truth: BoolArray,
    ignore: BoolArray | None = None,
    protocol: Protocol = "lisa",
) -> Overlap:
    """The overlap of two (H, W) masks; ignored pixels are left out, or target in `segzero`."""
    if ignore is not None and protocol == "lisa":
        pred, truth = pred & ~ignore, truth & ~ignore
    elif ignore is not None:
        truth = truth | ignore
    return Overlap(int(np.count_nonzero(pred & truth)), int(np.count_nonzero(pred | truth)))


def mask_overlap(
    pred: Masks, truth: Masks, ignore: RLE | None = None, protocol: Protocol = "lisa"
) -> Overlap:
    """The same for the unions of N and M masks of one image, without unpacking a pixel."""
    if pred.size != truth.size:
        raise ValueError(f"masks of {pred.size} and {truth.size} pixels cannot be compared")
    ours, theirs = list(pred.rles), list(truth.rles)
    if ignore is not None and protocol == "segzero":
        theirs.append(ignore)
    either = _merged([*ours, *theirs])
    if either is None:
        return Overlap(0, 0)
    our_union, their_union = _merged(ours), _merged(theirs)
    both = our_union and their_union and _common(our_union, their_union)
    intersection, union = _area(both), _area(either)
    if ignore is not None and protocol == "lisa":
        intersection -= _area(both and _common(both, ignore))
        union -= _area(_common(either, ignore))
    return Overlap(intersection, union)


def resized_overlap(pred: BoolArray, truth: BoolArray, side: int) -> Overlap:
    """The overlap of two (H, W) masks, each resized to (side, side), the nearest pixel each.

    So LAVT (arXiv 2112.02244) resizes the truth, with PIL; its predictions have that size.
    """

    def resized(mask: BoolArray) -> BoolArray:
        picture = Image.fromarray(mask.astype(np.uint8))
        return np.asarray(picture.resize((side, side), Image.Resampling.NEAREST), np.bool_)

    return pixel_overlap(resized(pred), resized(truth))


def _merged(rles: Sequence[RLE]) -> RLE | None:
    merged: RLE | None = coco.merge(list(rles)) if rles else None
    return merged


def _common(first: RLE, second: RLE) -> RLE:
    common: RLE = coco.merge([first, second], intersect=True)
    return common


def _area(rle: RLE | None) -> int:
    return int(coco.area(rle)) if rle is not None else 0
