"""Converts run-length encoded masks: COCO's compressed RLE to and from the pixels in a mask's box.

pycocotools does the rest (area, IoU, union) but converts only whole images: 12 MB for each mask of
a 12-megapixel photo. Here the cost is that of the mask's own box.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.geometry import Size

RLE: TypeAlias = dict[str, Any]
"""Compressed COCO run-length encoding: {"size": [H, W], "counts": bytes}, column by column."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float32]
Positions: TypeAlias = npt.NDArray[np.int64]


def encode_mask(mask: BoolArray) -> RLE:
    """The RLE of an (H, W) bool mask."""
    rle: RLE = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return rle


def encode_crop(crop: BoolArray, corner: tuple[int, int], size: Size) -> RLE:
    """The RLE of a full (H, W) image whose only true pixels are `crop`, (h, w), at (x0, y0)."""
    (x0, y0), (height, width) = corner, size
    rows, columns = crop.shape
    # column-major pixels with one false row below, so that no run crosses into the next column;
    # a run starts where they step up and ends where they step down
    column_major = np.zeros((columns, rows + 1), dtype=np.int8)
    column_major[:, :rows] = crop.T
    steps = np.diff(column_major.ravel(), prepend=0)

    def in_frame(positions: Positions) -> Positions:
        column, row = np.divmod(positions, rows + 1)
        return (x0 + column) * height + y0 + row

    starts, ends = in_frame(np.flatnonzero(steps > 0)), in_frame(np.flatnonzero(steps < 0))
    # runs that touch across two columns (a mask as high as the image) are one run
    apart = starts[1:] > ends[:-1]
    starts = starts[np.concatenate([[True], apart])] if len(starts) else starts
    ends = ends[np.concatenate([apart, [True]])] if len(ends) else ends
    # the lengths of the runs, false ones first and in turn: the distances between all edges
    edges = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if not counts[-1]:
        counts.pop()
    rle: RLE = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return rle


def decode_crop(rle: RLE) -> tuple[BoolArray, tuple[int, int]]:
    """The pixels of a mask inside its tight box, (h, w) bool, and the (x0, y0) of the box."""
    height = int(rle["size"][0])
    # false and true runs come in turn, so the edges are starts and ends of true runs in turn
    edges = np.cumsum(run_lengths(rle["counts"]))
    edges = edges[: len(edges) // 2 * 2]
    starts, ends = edges[0::2], edges[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return np.zeros((0, 0), np.bool_), (0, 0)
    columns, rows = np.divmod(starts, height)
    last_columns, last_rows = np.divmod(ends - 1, height)
    x0, x1 = int(columns.min()), int(last_columns.max()) + 1
    y0, y1 = int(rows.min()), int(last_rows.max()) + 1
    if (last_columns > columns).any():  # a run over the lower edge goes on at the upper one
        y0, y1 = 0, height
    # +1 where a run begins in the box and -1 where it ends: their running sum is the mask
    begin = (columns - x0) * (y1 - y0) + rows - y0
    steps = np.zeros((x1 - x0) * (y1 - y0) + 1, np.int8)
    steps[begin] += 1
    steps[begin + ends - starts] -= 1
    pixels = np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)
    return pixels.reshape(x1 - x0, y1 - y0).T, (x0, y0)


def rle_record(rle: RLE) -> dict[str, Any]:
    """A mask as JSON can hold it: {"size": [H, W], "counts": str}."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def rle_from_record(record: Mapping[str, Any]) -> RLE:
    """The mask of an `rle_record`; ValueError, KeyError or TypeError for what is none."""
    return {"size": list(record["size"]), "counts": record["counts"].encode("ascii")}


def tight_boxes(rles: Sequence[RLE]) -> FloatArray:
    """(N, 4) float32 boxes x0 y0 x1 y1 around the pixels of each mask."""
    if not rles:
        return np.zeros((0, 4), np.float32)
    boxes = np.asarray(coco.toBbox(list(rles)), dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def run_lengths(counts: bytes) -> Positions:
    """The run lengths in COCO's compressed form.

    Each is a little-endian number in base 32, a character for a digit: 48 + 5 bits + 32 if another
    digit follows, the highest bit of the last digit being the sign. From the fourth on they are
    differences to the run length two places before.
    """
    digits = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    last = (digits & 0x20) == 0
    number = np.concatenate([[0], np.cumsum(last)[:-1]])
    first = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    # all numbers at once: the number that each digit belongs to, and its place in it
    place = np.arange(len(digits)) - first[number]
    values = np.zeros(int(last.sum()), np.int64)
    np.add.at(values, number, (digits & 0x1F) << (5 * place))
    negative = (digits[last] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * (place[last][negative] + 1))
    # differences to two places before, so that odd and even places are sums of their own
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
