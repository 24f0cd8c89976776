"""Converts run-length encoded masks: COCO's compressed RLE to and from the pixels in a mask's box.

pycocotools does the rest (area, IoU, union) but converts only whole images: 12 MB for each mask of
a 12-megapixel photo. Here the cost is that of the mask's own box.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.geometry import Size

RLE: TypeAlias = dict[str, Any]
"""Compressed COCO run-length encoding: {"size": [H, W], "counts": bytes}, column by column."""

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float32]
Positions: TypeAlias = npt.NDArray[np.int64]

MAX_MASK_PIXELS = 2**29 - 1
"""Pixels of a mask, 537 megapixels. Of a larger one pycocotools can read a run wrongly: it keeps
the differences of runs in 32 bits, of which the compressed form uses 30."""

AT_ONCE = 8
"""Masks that pycocotools unites in one call."""

MAX_DIGITS = 6
"""Characters of a number in compressed counts; six hold any difference of two runs."""


def encode_mask(mask: BoolArray) -> RLE:
    """The RLE of an (H, W) bool mask."""
    rle: RLE = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return rle


def encode_crop(crop: BoolArray, corner: tuple[int, int], size: Size) -> RLE:
    """The RLE of a full (H, W) image whose only true pixels are `crop`, (h, w), at (x0, y0)."""
    (x0, y0), height = corner, size[0]
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
    edges = np.stack([starts, ends], axis=1).ravel()
    return _encode_edges(edges, size)


def _encode_edges(edges: Positions, size: Size) -> RLE:
    """The RLE of a (H, W) mask whose runs, false ones first and in turn, are cut at `edges`."""
    height, width = size
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


def rle_from_record(record: Any, size: Size | None = None) -> RLE:
    """Checks a mask from outside, {"size": [H, W], "counts": str, bytes or list of run lengths}.

    size: the (height, width) that it must have. Raises InputError, which says what is wrong, for
    all that pycocotools cannot read: it crashes, hangs or counts wrongly on counts that do not
    cover the image. Takes time linear in the counts.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"a mask is {type(record).__name__}, and must be an RLE with size, counts")
    own = checked_size(record.get("size"))
    if size is not None and own != tuple(size):
        raise InputError(f"its RLE has size {list(own)} (height, width), the image {list(size)}")
    counts = record.get("counts")
    if isinstance(counts, list | tuple):
        runs = _listed_runs(counts, own)
    else:
        counts = _compressed(counts, own)
        runs = run_lengths(counts)
    total = own[0] * own[1]
    if len(runs) and not 0 <= runs.min() <= runs.max() <= total:
        raise InputError(f"its RLE has a run that is not in 0..{total} pixels")
    if (covered := int(runs.sum())) != total:  # no overflow, since no run is longer than the image
        raise InputError(
            f"its RLE does not cover the {own[1]}x{own[0]} pixels of the image: "
            f"its runs are {covered} pixels"
        )
    if isinstance(counts, bytes) and runs[1:].all():
        return {"size": list(own), "counts": counts}
    # a run of no pixels within makes pycocotools end early when it unites or compares masks; an
    # edge that is there twice is none
    edges, times = np.unique(np.cumsum(runs)[:-1], return_counts=True)
    return _encode_edges(edges[(times % 2 == 1) & (edges < total)], own)


def rles_from_records(records: Iterable[Any], size: Size) -> list[RLE]:
    """Checks the masks of one (height, width) image as `rle_from_record`; the error names which."""
    rles = []
    for record in records:
        try:
            rles.append(rle_from_record(record, size))
        except InputError as error:
            raise InputError(f"mask {len(rles) + 1}: {error}") from error
    return rles


def checked_size(size: Any, least: int = 1) -> Size:
    """Checks the size of an image or mask from outside: (height, width), each at least `least`."""
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise InputError("its size is not [height, width]")
    if not all(isinstance(side, int | np.integer) and not isinstance(side, bool) for side in size):
        raise InputError("its size [height, width] has sides that are no whole numbers")
    height, width = int(size[0]), int(size[1])
    # each side first: the text of a number may be of any length
    if min(height, width) < least or max(height, width) > MAX_MASK_PIXELS:
        raise InputError(f"its size has a side that is not in {least}..{MAX_MASK_PIXELS}")
    if height * width > MAX_MASK_PIXELS:
        raise InputError(
            f"its size is {width}x{height}, and a mask has at most {MAX_MASK_PIXELS} pixels"
        )
    return height, width


def _compressed(counts: Any, size: Size) -> bytes:
    """Compressed counts as bytes, of a length that a mask of this size can have."""
    if not isinstance(counts, str | bytes):
        raise InputError('its RLE has no "counts", text or a list of run lengths')
    if not counts.isascii():
        raise InputError("its RLE cannot be decoded: its counts are not in COCO's compressed form")
    if len(counts) > MAX_DIGITS * (size[0] * size[1] + 1):
        raise InputError(f"its RLE has {len(counts)} characters, too many for its size")
    return counts.encode("ascii") if isinstance(counts, str) else counts


def _listed_runs(counts: Sequence[Any], size: Size) -> Positions:
    """Run lengths in a list, of a number and values that a mask of this size can have."""
    kinds = set(map(type, counts))
    if bool in kinds or not all(issubclass(kind, int | np.integer) for kind in kinds):
        raise InputError("its RLE has runs that are no whole numbers")
    total = size[0] * size[1]
    if len(counts) > total + 1:
        raise InputError(f"its RLE has {len(counts)} runs, too many for its size")
    if counts and not 0 <= min(counts) <= max(counts) <= total:  # also what no array can hold
        raise InputError(f"its RLE has a run that is not in 0..{total} pixels")
    return np.array(counts, np.int64)


def merge_masks(rles: Sequence[RLE]) -> RLE:
    """The union of N masks of one image, at least one."""
    # pycocotools unites one mask after the other with all before it, which takes time quadratic in
    # their number; pairs of pairs take N log N
    while len(rles) > AT_ONCE:
        rles = [coco.merge(list(rles[i : i + AT_ONCE])) for i in range(0, len(rles), AT_ONCE)]
    merged: RLE = coco.merge(list(rles))
    return merged


def tight_boxes(rles: Sequence[RLE]) -> FloatArray:
    """(N, 4) float32 boxes x0 y0 x1 y1 around the pixels of each mask."""
    if not rles:
        return np.zeros((0, 4), np.float32)
    boxes = np.asarray(coco.toBbox(list(rles)), dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def run_lengths(counts: bytes) -> Positions:
    """The run lengths in COCO's compressed form; InputError for bytes that are not of this form.

    Each is a little-endian number in base 32, a character for a digit: 48 + 5 bits + 32 if another
    digit follows, the highest bit of the last digit being the sign. From the fourth on they are
    differences to the run length two places before.
    """
    digits = np.frombuffer(counts, np.uint8) - np.uint8(48)  # below 48 it wraps, and is above 63
    ends = np.flatnonzero(digits < 32)
    if not len(counts) or digits.max() > 63 or digits[-1] >= 32:
        raise InputError("its RLE cannot be decoded: its counts are not in COCO's compressed form")
    lengths = np.diff(ends, prepend=-1)
    longest = int(lengths.max())
    if longest > MAX_DIGITS:
        raise InputError(f"its RLE cannot be decoded: a number in it has {longest} digits")
    # from the last digit of every number to its first, all numbers at once
    values = (digits[ends] & 0x1F).astype(np.int64)
    values -= (values & 0x10) << 1
    for place in range(1, longest):
        longer = np.flatnonzero(lengths > place)
        values[longer] = (values[longer] << 5) | (digits[ends[longer] - place] & 0x1F)
    # differences to two places before, so that odd and even places are sums of their own
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
