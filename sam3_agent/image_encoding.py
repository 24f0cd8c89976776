"""Bounds pictures in size and encodes them as JPEG or PNG for planners, MCP clients, reports."""

import base64
import io
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sam3_agent.fork_safety import fork_safe_lock
from sam3_agent.geometry import Extent
from sam3_agent.images import Pixels

MAX_SIDE = 1568
"""Pixels of the longest side of a picture for a multimodal model: providers scale down what is
larger. SAM 3 itself gets the original."""

JPEG_QUALITY = 85
"""High enough that the numbers on masks stay crisp."""

SAMPLE = 16
"""A picture's height divided by that of the band that tells which format suits it."""


@dataclass(frozen=True)
class EncodedImage:
    """A picture as the bytes of a JPEG or PNG file, and its MIME type."""

    data: bytes
    media_type: str

    @property
    def base64(self) -> str:
        """The file in base64."""
        return base64.b64encode(self.data).decode("ascii")

    @property
    def data_url(self) -> str:
        """The file as a `data:` URL."""
        return f"data:{self.media_type};base64,{self.base64}"


class PictureEncoder:
    """Encodes pictures and caches the last few: the same ones are sent turn after turn."""

    def __init__(self, max_side: int = MAX_SIDE, capacity: int = 16) -> None:
        self.max_side = max_side
        self._capacity = capacity
        # the picture is kept beside its encoding, so that its id is not given to another one
        self._cache: OrderedDict[tuple[int, int], tuple[Pixels, EncodedImage]] = OrderedDict()
        self._lock = fork_safe_lock()

    def encode(self, picture: Pixels, max_side: int | None = None) -> EncodedImage:
        """See `encode_smaller`; `max_side` may lower the encoder's own limit."""
        side = min(self.max_side, max_side or self.max_side)
        with self._lock:
            cached = self._cache.get((id(picture), side))
        if cached is not None and cached[0] is picture:
            return cached[1]
        encoded = encode_smaller(picture, side)
        with self._lock:
            self._cache[id(picture), side] = (picture, encoded)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        return encoded


def bounded_size(picture: Pixels, max_side: int = MAX_SIDE) -> Extent:
    """The (width, height) of a picture whose longest side is made at most `max_side` pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def encode_jpeg(
    picture: Pixels, max_side: int = MAX_SIDE, quality: int = JPEG_QUALITY
) -> EncodedImage:
    """The (H, W, 3) uint8 picture as JPEG, its longest side at most `max_side` pixels."""
    return _encode(_bounded(picture, max_side), "JPEG", quality=quality)


def encode_smaller(picture: Pixels, max_side: int = MAX_SIDE) -> EncodedImage:
    """The (H, W, 3) uint8 picture as JPEG or PNG, whichever is smaller, at most `max_side` a side.

    PNG is slow to make, so a band from the middle is encoded both ways first: the whole picture
    becomes a PNG only where that of the band is not much larger than its JPEG.
    """
    image = _bounded(picture, max_side)
    jpeg = _encode(image, "JPEG", quality=JPEG_QUALITY)
    height = max(1, image.height // SAMPLE)
    top = (image.height - height) // 2
    band = image.crop((0, top, image.width, top + height))
    band_jpeg = _encode(band, "JPEG", quality=JPEG_QUALITY)
    if len(_encode(band, "PNG").data) >= 1.5 * len(band_jpeg.data):
        return jpeg
    return min(jpeg, _encode(image, "PNG"), key=lambda file: len(file.data))


def _bounded(picture: Pixels, max_side: int) -> Image.Image:
    image = Image.fromarray(np.asarray(picture))
    size = bounded_size(picture, max_side)
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _encode(image: Image.Image, kind: str, **options: int) -> EncodedImage:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return EncodedImage(buffer.getvalue(), f"image/{kind.lower()}")
