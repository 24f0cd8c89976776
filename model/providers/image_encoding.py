"""Pictures for the wire: bounded in size, as JPEG or PNG, whichever is smaller."""

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sam3_agent.images import Pixels

MAX_SIDE = 1568
"""Pixels of the longest side that a planner is sent; SAM 3 itself sees the original."""

JPEG_QUALITY = 85
"""High enough that the numbers on masks stay crisp."""

SAMPLE = 16
"""A picture's height divided by that of the band that tells which format suits it."""

GAP, GROUND = 12, 32
"""Pixels between pictures that are pasted into one, and the grey around them."""


@dataclass(frozen=True)
class Encoded:
    """A picture as the bytes of a file."""

    data: bytes
    media_type: str


class PictureEncoder:
    """Encodes pictures, and remembers the last few: the same ones are sent turn after turn."""

    def __init__(self, max_side: int = MAX_SIDE, remembered: int = 16) -> None:
        self.max_side = max_side
        self._remembered = remembered
        # the picture is kept beside its encoding, so that its id is not given to another one
        self._done: OrderedDict[tuple[int, int], tuple[Pixels, Encoded]] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, picture: Pixels, max_side: int | None = None) -> Encoded:
        """The (H, W, 3) uint8 picture, its longest side at most `max_side`, as JPEG or PNG."""
        side = min(self.max_side, max_side or self.max_side)
        with self._lock:
            known = self._done.get((id(picture), side))
        if known is not None and known[0] is picture:
            return known[1]
        encoded = _smaller_file(_bounded(picture, side))
        with self._lock:
            self._done[id(picture), side] = (picture, encoded)
            while len(self._done) > self._remembered:
                self._done.popitem(last=False)
        return encoded


def _bounded(picture: Pixels, max_side: int) -> Image.Image:
    image = Image.fromarray(np.asarray(picture))
    if max(image.size) > max_side:
        image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return image


def _smaller_file(image: Image.Image) -> Encoded:
    """JPEG, or PNG where that is smaller; the slow PNG is made only if a sample says it may be."""
    jpeg = _file(image, "JPEG", quality=JPEG_QUALITY)
    height = max(1, image.height // SAMPLE)
    top = (image.height - height) // 2
    band = image.crop((0, top, image.width, top + height))
    likely = len(_file(band, "PNG").data) < 1.5 * len(
        _file(band, "JPEG", quality=JPEG_QUALITY).data
    )
    if not likely:
        return jpeg
    return min(jpeg, _file(image, "PNG"), key=lambda file: len(file.data))


def _file(image: Image.Image, kind: str, **options: int) -> Encoded:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Encoded(buffer.getvalue(), f"image/{kind.lower()}")


def pasted(pictures: Sequence[Pixels]) -> Pixels:
    """Several (H, W, 3) pictures as one, in order: side by side, or below each other if they are
    wide; each keeps its pixels.
    """
    width = sum(picture.shape[1] for picture in pictures)
    height = sum(picture.shape[0] for picture in pictures)
    axis = 0 if width > height else 1
    other = max(picture.shape[1 - axis] for picture in pictures)
    parts: list[Pixels] = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[axis] = (0, GAP if picture is not pictures[-1] else 0)
        padding[1 - axis] = (0, other - picture.shape[1 - axis])
        parts.append(np.pad(picture, padding, constant_values=GROUND))
    return np.concatenate(parts, axis)
