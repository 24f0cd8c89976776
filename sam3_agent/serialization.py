"""Writes masks as JSON values and PNG files: the one place that rounds their scores and boxes."""

import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.masks import Masks
from sam3_agent.rle import rle_from_record

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


def masks_from_record(record: Mapping[str, Any]) -> Masks:
    """The masks of a `masks_record`; ValueError, KeyError or TypeError for what is none."""
    height, width = record["size"]
    return Masks(
        (height, width),
        np.array(record["boxes"], np.float32).reshape(-1, 4),
        np.array(record["scores"], np.float32),
        tuple(record["phrases"]),
        tuple(
            rle_from_record({"size": (height, width), "counts": text}) for text in record["counts"]
        ),
    )
