"""Checks what a segmenter returns: a plug-in's or a damaged model's NaN would end as no masks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sam3_agent.errors import SegmenterError
from sam3_agent.geometry import Size
from sam3_agent.masks import Masks
from sam3_agent.segmenter import Detection, Segmenter


def checked_detections(segmenter: Segmenter, found: Any, count: int) -> list[Detection]:
    """What `detect` returned for so many prompts; raises SegmenterError for anything else."""
    if isinstance(found, (list, tuple)) and all(isinstance(one, Detection) for one in found):
        if len(found) == count:
            for one in found:
                _check_presence(segmenter, one)
            return list(found)
        wrong = f"{len(found)} detections for {count} prompts"
    elif isinstance(found, (list, tuple)):
        other = next(one for one in found if not isinstance(one, Detection))
        wrong = f"a list with {type(other).__name__}"
    else:
        wrong = type(found).__name__
    raise SegmenterError(
        f"the segmenter {segmenter.name} returned {wrong}; detect returns a list with one "
        "Detection(prompt, presence, masks) per prompt"
    )


def _check_presence(segmenter: Segmenter, found: Detection) -> None:
    presence = found.presence
    if not isinstance(presence, float | int | np.number) or not 0 <= presence <= 1:
        raise SegmenterError(
            f"the segmenter {segmenter.name} returned a presence of {presence!r:.80}; give the "
            "probability that the concept is in the image, a number in 0..1"
        )


def checked_masks(segmenter: Segmenter, found: Any, size: Size) -> Masks:
    """Masks for an image of this (height, width); raises SegmenterError for anything else."""
    if not isinstance(found, Masks) or found.size != size:
        wrong = f"masks of {found.size}" if isinstance(found, Masks) else type(found).__name__
        raise SegmenterError(
            f"the segmenter {segmenter.name} returned {wrong} for an image of {size}; give Masks "
            "of the image's (height, width)"
        )
    problem = _wrong_column(found)
    if problem is not None:
        raise SegmenterError(f"the segmenter {segmenter.name} returned {problem}")
    return found


def _wrong_column(masks: Masks) -> str | None:
    """What is wrong with the scores, boxes or phrases of masks; Masks checks the rest itself."""
    for score in masks.scores:
        if not 0 <= score <= 1:
            return f"a score of {score}; give scores in 0..1"
    height, width = masks.size
    for box in masks.boxes:  # clipped to the image
        x0, y0, x1, y1 = box
        outside = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
        if box.any() and (outside or x0 > x1 or y0 > y1):  # a mask without pixels has zeros
            return (
                f"a box that becomes {box.tolist()} in an image of {width}x{height}; give "
                "x0 y0 x1 y1 in pixels with x0 < x1 and y0 < y1"
            )
    return None


@contextmanager
def segmenter_output(segmenter: Segmenter) -> Iterator[None]:
    """Runs a segmenter inside; a ValueError, such as of Masks with NaN, is a SegmenterError."""
    try:
        yield
    except ValueError as error:
        raise SegmenterError(f"the segmenter {segmenter.name} failed: {error}") from error
