"""Masks: N instance masks of one image as columns, stored as compressed COCO RLE."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

RLE: TypeAlias = dict[str, Any]
"""Compressed COCO run-length encoding: {"size": [H, W], "counts": bytes}."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Masks:
    """N masks of one (height, width) image.

    boxes: (N, 4) float32, x0 y0 x1 y1 in pixels, clipped to the image.
    scores: (N,) float32 in 0..1.
    phrases: N concept phrases.
    rles: N compressed RLEs of size (height, width); 100 masks take some 100 kB, whatever the image.
    """

    size: tuple[int, int]
    boxes: FloatArray
    scores: FloatArray
    phrases: tuple[str, ...]
    rles: tuple[RLE, ...]

    def __post_init__(self) -> None:
        count = len(self.rles)
        height, width = self.size
        boxes = np.array(self.boxes, dtype=np.float32).reshape(-1, 4)
        scores = np.array(self.scores, dtype=np.float32).reshape(-1)
        if not len(boxes) == len(scores) == len(self.phrases) == count:
            raise ValueError(
                f"columns differ in length: {len(boxes)} boxes, {len(scores)} scores, "
                f"{len(self.phrases)} phrases, {count} masks"
            )
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError("boxes and scores must be finite")
        if any(tuple(rle["size"]) != (height, width) for rle in self.rles):
            raise ValueError(f"every mask must have the image's size, {height}x{width}")
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        boxes.flags.writeable = scores.flags.writeable = False
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)

    @classmethod
    def empty(cls, size: tuple[int, int]) -> "Masks":
        """No masks of an image of (height, width)."""
        return cls(size, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), ())

    @classmethod
    def from_dense(
        cls,
        dense: BoolArray,
        scores: Sequence[float] | FloatArray | None = None,
        phrases: Sequence[str] | None = None,
    ) -> "Masks":
        """Masks from an (N, H, W) bool array; boxes are tight, scores default to 1."""
        count, height, width = dense.shape
        rles = tuple(coco.encode(np.asfortranarray(one, dtype=np.uint8)) for one in dense)
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
        return cls(
            parts[0].size,
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            tuple(phrase for part in parts for phrase in part.phrases),
            tuple(rle for part in parts for rle in part.rles),
        )

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[Any]) -> "Masks":
        """A selection by index, slice, list of indexes or (N,) bool array."""
        if isinstance(index, Sequence):
            index = np.asarray(index, dtype=int)
        chosen = np.atleast_1d(np.arange(len(self))[index])
        return Masks(
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
        x, y, w, h = (int(v) for v in coco.toBbox(self.rles[index]))
        return coco.decode(self.rles[index])[y : y + h, x : x + w].astype(np.bool_), (x, y)

    def union(self) -> BoolArray:
        """(H, W) bool: the pixels that any mask covers."""
        if not self.rles:
            return np.zeros(self.size, dtype=np.bool_)
        merged: BoolArray = coco.decode(coco.merge(list(self.rles))).astype(np.bool_)
        return merged

    def areas(self) -> npt.NDArray[np.int64]:
        """(N,) pixels that each mask covers."""
        return np.asarray(coco.area(list(self.rles)), dtype=np.int64).reshape(-1)

    def iou(self, other: "Masks") -> npt.NDArray[np.float64]:
        """(N, M) intersection over union of every mask here with every mask of `other`."""
        if not len(self) or not len(other):
            return np.zeros((len(self), len(other)))
        return np.asarray(coco.iou(list(self.rles), list(other.rles), [0] * len(other)))

    def rle(self) -> list[dict[str, Any]]:
        """N compressed COCO RLEs that JSON can hold: {"size": [H, W], "counts": str}."""
        return [
            {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode("ascii")}
            for rle in self.rles
        ]


def tight_boxes(rles: Sequence[RLE]) -> FloatArray:
    """(N, 4) float32 boxes x0 y0 x1 y1 around the pixels of each mask."""
    if not rles:
        return np.zeros((0, 4), np.float32)
    boxes = np.asarray(coco.toBbox(list(rles)), dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def encode_crop(crop: BoolArray, corner: tuple[int, int], size: tuple[int, int]) -> RLE:
    """The RLE of a full (H, W) image whose only true pixels are `crop`, (h, w) bool, at (x0, y0).

    Its cost is that of the crop: the frame around it is added to the run lengths, never painted.
    """
    (x0, y0), (height, width) = corner, size
    rows, columns = crop.shape
    # column-major pixels with one false row below, so that no run crosses into the next column
    column_major = np.zeros((columns, rows + 1), dtype=np.int8)
    column_major[:, :rows] = crop.T
    steps = np.diff(column_major.ravel(), prepend=0)

    def in_frame(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        column, row = np.divmod(positions, rows + 1)
        return (x0 + column) * height + y0 + row

    starts, ends = in_frame(np.flatnonzero(steps > 0)), in_frame(np.flatnonzero(steps < 0))
    # runs that touch across two columns (a mask as high as the image) are one run
    apart = starts[1:] > ends[:-1]
    starts = starts[np.concatenate([[True], apart])] if len(starts) else starts
    ends = ends[np.concatenate([apart, [True]])] if len(ends) else ends
    edges = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if not counts[-1]:
        counts.pop()
    rle: RLE = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return rle
