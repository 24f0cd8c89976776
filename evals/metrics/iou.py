"""Intersection over union of masks (bool arrays or RLE) and of boxes."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, BoolArray, merge_masks

ReasonSegProtocol = Literal["lisa", "segzero"]
"""How ignored pixels and empty unions are scored, see `reasonseg`."""


class Overlap(NamedTuple):
    """The numbers of pixels in both masks and in either of them."""

    intersection: int
    union: int

    def iou(self, empty: float = 0.0) -> float:
        """Computes intersection over union; `empty` where the union is empty."""
        return self.intersection / self.union if self.union else empty


def pixel_overlap(
    pred: BoolArray,
    truth: BoolArray,
    ignore: BoolArray | None = None,
    protocol: ReasonSegProtocol = "lisa",
) -> Overlap:
    """Compares two (H, W) masks; ignored pixels are left out, or count as target in `segzero`."""
    # LISA leaves ignored pixels out of both masks; the code of the Seg-Zero line has no third value
    # in its masks, so that what LISA ignores is target there
    if ignore is not None and protocol == "lisa":
        pred, truth = pred & ~ignore, truth & ~ignore
    elif ignore is not None:
        truth = truth | ignore
    return Overlap(int(np.count_nonzero(pred & truth)), int(np.count_nonzero(pred | truth)))


def mask_overlap(
    pred: Masks, truth: Masks, ignore: RLE | None = None, protocol: ReasonSegProtocol = "lisa"
) -> Overlap:
    """Compares the unions of N and M masks of one image, without decoding them."""
    if pred.size != truth.size:
        raise ValueError(f"masks of {pred.size} and {truth.size} pixels cannot be compared")
    ours, theirs = list(pred.rles), list(truth.rles)
    # the steps of `pixel_overlap` in sums of run lengths: |A and B| - |A and B and ignored|
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
    """Compares two (H, W) masks, each resized to (side, side) by the nearest pixel.

    LAVT (arXiv 2112.02244) resizes the truth so, with PIL; its predictions have that size.
    """

    def resized(mask: BoolArray) -> BoolArray:
        picture = Image.fromarray(mask.astype(np.uint8))
        return np.asarray(picture.resize((side, side), Image.Resampling.NEAREST), np.bool_)

    return pixel_overlap(resized(pred), resized(truth))


def box_iou(
    boxes: npt.NDArray[np.floating], others: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Computes the (N, M) IoU of (N, 4) and (M, 4) boxes x0 y0 x1 y1."""
    ours, theirs = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    low, high = (
        np.maximum(ours[..., :2], theirs[..., :2]),
        np.minimum(ours[..., 2:], theirs[..., 2:]),
    )
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(one[..., 2:] - one[..., :2], axis=-1) for one in (ours, theirs)]
    iou: npt.NDArray[np.float64] = shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
    return iou


def _merged(rles: Sequence[RLE]) -> RLE | None:
    return merge_masks(rles) if rles else None


def _common(first: RLE, second: RLE) -> RLE:
    common: RLE = coco.merge([first, second], intersect=True)
    return common


def _area(rle: RLE | None) -> int:
    return int(coco.area(rle)) if rle is not None else 0
