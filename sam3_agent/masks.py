"""Masks: N instance masks of one image as columns, stored as compressed COCO RLE."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.geometry import Size
from sam3_agent.rle import (
    RLE,
    BoolArray,
    FloatArray,
    checked_size,
    decode_crop,
    encode_crop,
    encode_mask,
    merge_masks,
    rle_record,
    rles_from_records,
    tight_boxes,
)
from sam3_agent.sanitize import shorten

Measure: TypeAlias = Literal["iou", "iom"]
"""How the overlap of two masks is measured: the intersection as a share of their union (IoU), or of
the smaller of the two (intersection over minimum)."""

SHOWN_PHRASES = 5
"""Different phrases in a repr."""


@dataclass(frozen=True, eq=False)
class Masks:
    """N masks of one (height, width) image.

    boxes: (N, 4) float32, x0 y0 x1 y1 in pixels, clipped to the image.
    scores: (N,) float32 in 0..1.
    phrases: N concept phrases.
    rles: N compressed RLEs of size (height, width); 100 masks take some 100 kB, whatever the image.
    """

    size: Size
    boxes: FloatArray
    scores: FloatArray
    phrases: tuple[str, ...]
    rles: tuple[RLE, ...]

    def __post_init__(self) -> None:
        count = len(self.rles)
        if isinstance(self.phrases, str) or not all(isinstance(one, str) for one in self.phrases):
            raise ValueError("phrases are N texts, one for each mask")
        try:
            height, width = checked_size(self.size, least=0)
            boxes = np.array(self.boxes, dtype=np.float32).reshape(-1, 4)
            scores = np.array(self.scores, dtype=np.float32).reshape(-1)
        except (InputError, OverflowError) as error:
            raise ValueError(f"masks cannot be made: {error}") from error
        if not len(boxes) == len(scores) == len(self.phrases) == count:
            raise ValueError(
                f"columns differ in length: {len(boxes)} boxes, {len(scores)} scores, "
                f"{len(self.phrases)} phrases, {count} masks"
            )
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError("boxes and scores must be finite")
        try:
            rles = tuple(rles_from_records(self.rles, self.size))
        except InputError as error:
            raise ValueError(str(error)) from error
        # real SAM 3 boxes can leave the image
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        boxes.flags.writeable = scores.flags.writeable = False
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "rles", rles)

    @classmethod
    def empty(cls, size: Size) -> "Masks":
        """No masks of an image of (height, width)."""
        return cls(size, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), ())

    @classmethod
    def from_dense(
        cls,
        dense: BoolArray,
        scores: Sequence[float] | FloatArray | None = None,
        phrases: Sequence[str] | None = None,
    ) -> "Masks":
        """Masks from an (N, H, W) bool array; boxes are tight, scores default to 1.

        Of whole numbers all but 0 are the mask; ValueError for parts, such as probabilities.
        """
        if dense.dtype.kind not in "biu" and not np.isin(dense, (0, 1)).all():
            raise ValueError(f"masks are bools, not {dense.dtype}: compare them with a threshold")
        dense = dense.astype(np.bool_, copy=False)  # no 256 that would be 0 in 8 bits
        count, height, width = dense.shape
        rles = tuple(encode_mask(one) for one in dense)
        return cls(
            (height, width),
            tight_boxes(rles),
            np.ones(count, np.float32) if scores is None else np.asarray(scores, np.float32),
            tuple(phrases) if phrases is not None else ("",) * count,
            rles,
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Masks"]) -> "Masks":
        """All masks of `parts` (at least one, all of the same image size) in order."""
        if any(part.size != parts[0].size for part in parts):
            raise ValueError("masks of images of different sizes cannot be joined")
        return _selected(
            parts[0].size,
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            tuple(phrase for part in parts for phrase in part.phrases),
            tuple(rle for part in parts for rle in part.rles),
        )

    def __repr__(self) -> str:
        """Such as `Masks(3 in 640x480 px: 2 dog, 1 leash)`."""
        height, width = self.size
        counts = Counter(self.phrases).most_common()
        shown = ", ".join(
            f"{count} {shorten(str(phrase), 40)}" for phrase, count in counts[:SHOWN_PHRASES]
        )
        more = f" and {len(counts) - SHOWN_PHRASES} more" if len(counts) > SHOWN_PHRASES else ""
        what = f": {shown}{more}" if counts else ""
        return f"Masks({len(self)} in {width}x{height} px{what})"

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[Any]) -> "Masks":
        """A selection by index, slice, indexes in a list or array, or N bools in a list or array.

        Raises IndexError for an index that is not there, and for bools that are not N.
        """
        chosen = np.atleast_1d(np.arange(len(self))[_checked_index(index, len(self))])
        return _selected(
            self.size,
            self.boxes[chosen],
            self.scores[chosen],
            tuple(self.phrases[i] for i in chosen),
            tuple(self.rles[i] for i in chosen),
        )

    def __iter__(self) -> Iterator["Masks"]:
        return (self[i] for i in range(len(self)))

    def dense(self) -> BoolArray:
        """(N, H, W) bool: N x H x W bytes, so prefer `crop` for many masks of a large image."""
        out = np.zeros((len(self), *self.size), dtype=np.bool_)
        for i, rle in enumerate(self.rles):
            out[i] = coco.decode(rle)
        return out

    def crop(self, index: int) -> tuple[BoolArray, tuple[int, int]]:
        """The mask inside its own tight box: (h, w) bool and the (x0, y0) of its upper left."""
        return decode_crop(self.rles[index])

    def coverage(self) -> BoolArray:
        """(H, W) bool: the pixels that any mask covers."""
        if not self.rles:
            return np.zeros(self.size, dtype=np.bool_)
        merged: BoolArray = coco.decode(merge_masks(self.rles)).astype(np.bool_)
        return merged

    def areas(self) -> npt.NDArray[np.int64]:
        """(N,) pixels that each mask covers."""
        # one by one: with numpy 2, pycocotools 2.0.11 counts a list of masks in an uint8
        return np.array([coco.area(rle) for rle in self.rles], dtype=np.int64)

    def centroids(self) -> FloatArray:
        """(N, 2) float32: x y of the centre of gravity of each mask, in pixels; NaN if empty."""
        out = np.full((len(self), 2), np.nan, np.float32)
        for i in range(len(self)):
            crop, corner = self.crop(i)
            if crop.size:
                rows, columns = np.nonzero(crop)
                # + 0.5: the middle of a pixel, not its upper left
                out[i] = columns.mean() + corner[0] + 0.5, rows.mean() + corner[1] + 0.5
        return out

    def overlap(self, other: "Masks", measure: Measure = "iou") -> npt.NDArray[np.float64]:
        """(N, M) overlap in 0..1 of every mask here with every mask of `other`."""
        if not len(self) or not len(other):
            return np.zeros((len(self), len(other)))
        ours, theirs = list(self.rles), list(other.rles)
        if measure == "iou":
            return np.asarray(coco.iou(ours, theirs, [0] * len(theirs)))
        # with a "crowd" pycocotools divides by the area of the first mask alone
        of_ours = np.asarray(coco.iou(ours, theirs, [1] * len(theirs)))
        of_theirs = np.asarray(coco.iou(theirs, ours, [1] * len(ours))).T
        # the share of the smaller mask is the larger of the two shares
        larger: npt.NDArray[np.float64] = np.maximum(of_ours, of_theirs)
        return larger

    def nms(self, measure: Measure, limit: float) -> "Masks":
        """Non-maximum suppression: without masks that overlap an earlier, kept one by over `limit`.

        Masks come best first, so of two that overlap the better one is kept; one that was left out
        suppresses nothing.
        """
        overlap = self.overlap(self, measure)
        kept: list[int] = []
        for i in range(len(self)):
            if not kept or overlap[i, kept].max() <= limit:
                kept.append(i)
        return self[kept]

    def subtract(self, others: "Masks") -> "Masks":
        """Each mask without the pixels of `others`; boxes become tight, empty masks stay."""
        if not len(others):
            return self
        away = merge_masks(others.rles)
        rles = []
        for i, rle in enumerate(self.rles):
            crop, (x, y) = self.crop(i)
            # what is shared lies inside the mask's own box, so the image is never decoded whole
            shared, (sx, sy) = decode_crop(coco.merge([rle, away], intersect=True))
            left = crop.copy()
            left[sy - y : sy - y + shared.shape[0], sx - x : sx - x + shared.shape[1]] &= ~shared
            rles.append(encode_crop(left, (x, y), self.size) if crop.size else rle)
        return Masks(self.size, tight_boxes(rles), self.scores, self.phrases, tuple(rles))

    def union(self) -> "Masks":
        """One mask: the union of all, with the best score and the first phrase."""
        if len(self) < 2:
            return self
        rle = merge_masks(self.rles)
        score = np.array([self.scores.max()], np.float32)
        return Masks(self.size, tight_boxes([rle]), score, self.phrases[:1], (rle,))

    def contour(self, index: int) -> npt.NDArray[np.int64]:
        """(K, 2) x y of the mask's pixels with one of their four neighbours outside the mask."""
        crop, (x0, y0) = self.crop(index)
        padded = np.pad(crop, 1)
        # the pixels whose neighbours above, below, left and right belong to the mask
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        rows, columns = np.nonzero(crop & ~inner)
        return np.stack([columns + x0, rows + y0], axis=1)

    def paste(self, corner: tuple[int, int], size: Size) -> "Masks":
        """The same masks in a larger (H, W) image, with the upper left of this one at (x0, y0)."""
        rles = []
        for i in range(len(self)):
            crop, (x, y) = self.crop(i)
            rles.append(encode_crop(crop, (x + corner[0], y + corner[1]), size))
        boxes = self.boxes + np.array([*corner, *corner], np.float32)
        return Masks(size, boxes, self.scores, self.phrases, tuple(rles))

    def rle(self) -> list[dict[str, Any]]:
        """N compressed COCO RLEs as JSON values: {"size": [H, W], "counts": str}."""
        return [rle_record(rle) for rle in self.rles]


def _selected(
    size: Size,
    boxes: FloatArray,
    scores: FloatArray,
    phrases: tuple[str, ...],
    rles: tuple[RLE, ...],
) -> Masks:
    """Masks of columns that belong to Masks already, which are not checked again."""
    boxes.flags.writeable = scores.flags.writeable = False
    masks = object.__new__(Masks)
    # a selection is taken often, and to check an RLE takes some 40 us
    masks.__dict__.update(size=size, boxes=boxes, scores=scores, phrases=phrases, rles=rles)
    return masks


def _checked_index(
    index: int | slice | Sequence[int] | npt.NDArray[Any], count: int
) -> slice | npt.NDArray[Any]:
    """An index that numpy reads as meant: N bools select, and are never the indexes 0 and 1."""
    if isinstance(index, slice):
        return index
    chosen = np.asarray(index)
    if isinstance(index, Sequence):
        if not index:
            return np.zeros(0, np.int64)
        mixed = len({isinstance(one, bool | np.bool_) for one in index}) > 1
    else:
        mixed = chosen.ndim == 0 and chosen.dtype == np.bool_
    if mixed or chosen.ndim > 1 or chosen.dtype.kind not in "biu":
        raise IndexError(f"select masks by indexes, a slice or {count} bools, not {index!r}")
    if chosen.dtype == np.bool_ and len(chosen) != count:
        raise IndexError(f"{len(chosen)} bools cannot select from {count} masks")
    return chosen
