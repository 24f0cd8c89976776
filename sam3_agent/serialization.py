"""Writes masks as JSON values and PNG files: the one place that rounds their scores and boxes."""

import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.errors import InputError
from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, checked_size

MAX_MASKS = 10_000
"""Masks of one image in a file; what compares all pairs of them takes 800 MB and some seconds."""

SCORE_DIGITS, BOX_DIGITS = 4, 2
"""Decimals of a score in 0..1, and of a box in pixels or percent."""


def instance_records(masks: Masks, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """N masks with their N numbers, for people and programs that read JSON.

    box: x0 y0 x1 y1 in pixels. area: pixels. segmentation: compressed COCO RLE.
    """
    areas = masks.areas()
    return [
        {
            "number": number,
            "phrase": masks.phrases[i],
            "score": round(float(masks.scores[i]), SCORE_DIGITS),
            "box": rounded_box(masks.boxes[i]),
            "area": int(areas[i]),
            "segmentation": segmentation,
        }
        for i, (number, segmentation) in enumerate(zip(numbers, masks.rle(), strict=True))
    ]


def rounded_box(box: Sequence[float] | npt.NDArray[Any]) -> list[float]:
    """A box x0 y0 x1 y1 as JSON values."""
    return [round(float(value), BOX_DIGITS) for value in box]


def mask_png(mask: Masks) -> bytes:
    """One mask as a PNG of the image's size: 8-bit grey, 255 where the mask is."""
    file = io.BytesIO()
    pixels = mask.coverage() * np.uint8(255)
    Image.fromarray(pixels).save(file, "PNG", compress_type=zlib.Z_RLE)
    return file.getvalue()


def masks_record(masks: Masks) -> dict[str, Any]:
    """Masks column by column with every digit, so that what is read back is equal."""
    return {
        "size": list(masks.size),
        "boxes": masks.boxes.tolist(),
        "scores": masks.scores.tolist(),
        "phrases": list(masks.phrases),
        "counts": [record["counts"] for record in masks.rle()],
    }


def masks_from_record(record: Any) -> Masks:
    """Checks and reads the masks of a `masks_record`; InputError says what is wrong with it."""
    if not isinstance(record, Mapping):
        raise InputError(f"its masks are {type(record).__name__}, and must be an object")
    size = checked_size(record.get("size"), least=0)
    columns: list[Any] = [record.get(name) for name in ("boxes", "scores", "phrases", "counts")]
    if not all(isinstance(column, list) for column in columns):
        raise InputError("its masks need the lists boxes, scores, phrases and counts")
    boxes, scores, phrases, counts = columns
    if len(counts) > MAX_MASKS:
        raise InputError(f"it has {len(counts)} masks, and at most {MAX_MASKS} are read")
    if not all(isinstance(phrase, str) for phrase in phrases):
        raise InputError("a phrase of its masks is no text")
    rles: list[RLE] = [{"size": size, "counts": one} for one in counts]
    try:
        return Masks(size, _numbers(boxes), _numbers(scores), tuple(phrases), tuple(rles))
    except ValueError as error:
        raise InputError(f"its masks cannot be used: {error}") from error


def _numbers(values: Sequence[Any]) -> npt.NDArray[np.float32]:
    """A list of numbers, or of lists of four numbers, as an array."""
    rows = values if values and all(isinstance(row, list) for row in values) else [values]
    if not all(type(value) in (int, float) for row in rows for value in row):
        raise InputError("its boxes or scores have values that are no numbers")
    if rows is values and not all(len(row) == 4 for row in rows):
        raise InputError("its boxes are not lists of four numbers")
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which no mask may have
            return np.array(values, np.float32)
    except OverflowError as error:  # a whole number that no float can hold
        raise InputError("its boxes or scores have a number that is too large") from error
