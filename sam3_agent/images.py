"""Reading pictures: whatever a caller hands over becomes one (H, W, 3) uint8 array."""

import io
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from sam3_agent.errors import ImageError

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]"

MAX_MEGAPIXELS = 100.0
MAX_DOWNLOAD_BYTES = 200_000_000
MIN_SIDE = 2
_DOWNLOAD_SECONDS = 60
_PILLOW_LIMIT = threading.Lock()


def load_image(
    source: ImageSource,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    formats: tuple[str, ...] | None = None,
) -> Pixels:
    """Read a picture as RGB pixels.

    `source` is a path, an http(s) URL, the bytes of a file, a PIL image or an (H, W, 3), (H, W, 4)
    or (H, W) uint8 array. EXIF rotation is applied, transparency is laid on white, 16-bit samples
    are scaled to 8 bits, and of an animation the first frame is taken. `formats` are the file
    formats that are tried, by Pillow's names; all by default.

    Returns a read-only (H, W, 3) uint8 array. Raises ImageError with what was wrong.
    """
    if isinstance(source, np.ndarray):
        picture, name = _from_array(source), "the array"
    elif isinstance(source, Image.Image):
        picture, name = source, "the image"
    else:
        data, name = _read(source)
        picture = _open(data, name, max_megapixels, formats)
    _check_size(picture.size, name, max_megapixels)
    try:
        pixels = np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name} is damaged and cannot be decoded: {error}") from error
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return pixels


def _read(source: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        return source, "the image data"
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        return _download(source), source
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(
            f"cannot read an image from {type(source).__name__}; "
            "pass a path, a URL, bytes, a PIL image or a uint8 array"
        )
    path = Path(source)
    try:
        return path.read_bytes(), str(path)
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot read {path}: {reason}") from error


def _download(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "sam3-agent"})
    try:
        with urllib.request.urlopen(request, timeout=_DOWNLOAD_SECONDS) as response:
            data: bytes = response.read(MAX_DOWNLOAD_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ImageError(f"cannot download {url}: {getattr(error, 'reason', error)}") from error
    if len(data) > MAX_DOWNLOAD_BYTES:
        raise ImageError(f"{url} is larger than {MAX_DOWNLOAD_BYTES // 1_000_000} MB")
    return data


def _open(
    data: bytes, name: str, max_megapixels: float, formats: tuple[str, ...] | None
) -> Image.Image:
    try:
        picture = _open_header(data, formats)
        _check_size(picture.size, name, max_megapixels)
        _check_size(_tile(picture), name, max_megapixels)
        picture.load()
    except UnidentifiedImageError as error:
        what = "is empty" if not data else "is not an image that Pillow can read"
        raise ImageError(f"{name} {what}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name} is damaged and cannot be decoded: {error}") from error
    return picture


def _tile(picture: Image.Image) -> tuple[int, int]:
    """The width and height of what is decoded at once; a TIFF's tile may be larger than it is."""
    tags = getattr(picture, "tag_v2", {})
    width, height = (tags.get(tag) for tag in (322, 323))  # TileWidth, TileLength
    if isinstance(width, int) and isinstance(height, int):
        return max(width, MIN_SIDE), max(height, MIN_SIDE)
    return picture.size


def _open_header(data: bytes, formats: tuple[str, ...] | None) -> Image.Image:
    """Open without decoding; instead of Pillow's own pixel limit the caller's is checked next."""
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(size: tuple[int, int], name: str, max_megapixels: float) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageError(
            f"{name} is {width}x{height} pixels; each side needs at least {MIN_SIDE} pixels"
        )
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            f"{name} has {width * height / 1e6:.0f} megapixels, the limit is {max_megapixels:g}; "
            "make it smaller or raise the limit (max_megapixels, --max-megapixels)"
        )


def _from_array(array: npt.NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or not (
        array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    ):
        raise ImageError(
            f"an image array must be uint8 of shape (H, W, 3), not {array.dtype} {array.shape}"
        )
    if 0 in array.shape:
        raise ImageError(f"the array is empty: {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        samples = np.asarray(picture).astype(np.float64) / 257
        return Image.fromarray(np.clip(samples.round(), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        samples = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        scale = 255.0 if samples.max(initial=0.0) <= 1.0 else 1.0
        return Image.fromarray(np.clip(samples * scale, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return picture.convert("RGB")
