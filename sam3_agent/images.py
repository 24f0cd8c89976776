"""Loads pictures of any source, format and depth as (H, W, 3) uint8 arrays."""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sam3_agent.bit_depth import eight_bit_image
from sam3_agent.errors import ImageError
from sam3_agent.extras import available, require
from sam3_agent.geometry import Extent
from sam3_agent.image_limits import MAX_MEGAPIXELS as MAX_MEGAPIXELS
from sam3_agent.image_limits import MIN_SIDE, check_size
from sam3_agent.image_parts import check_parts
from sam3_agent.image_source import read_source
from sam3_agent.sanitize import one_line
from sam3_agent.tiff import (
    PHOTOMETRIC,
    WHITE_IS_ZERO,
    is_deep,
    is_tiff,
    read_tiff,
    without_false_opacity,
)
from sam3_agent.warning_filters import without_warnings

logger = logging.getLogger(__name__)

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]"

ARRAY_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""The mode of an (H, W, C) array by its C."""

PNG_MODES = {2: "RGB", 4: "LA", 6: "RGBA"}
"""The mode of a PNG by its color type, where it has more than one band and no palette."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that undoes each EXIF orientation."""

SHOWN = 160
"""Characters of a decoder's error that are repeated."""

DARK = 64
"""A picture whose upper 8 bits stay below this has its content in the lower ones, or is black."""

UPPER_BITS = "of the 16 bits of %s only the upper 8 are read; pip install 'sam3-agent[tiff]'"
"""A warning: Pillow alone drops the lower bits of deep colors."""

FAX = ("group3", "group4", "tiff_ccitt")
"""Compressions of a TIFF of which libtiff writes a line to stderr for each damaged line."""

RUN_LENGTHS = (1, 2)
"""The compressions of a BMP that are run lengths."""

RLE_MEGAPIXELS = 8.0
"""Megapixels of a run-length encoded BMP, which Pillow decodes in Python, run by run."""


def load_image(
    source: ImageSource,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    formats: tuple[str, ...] | None = None,
) -> Pixels:
    """Read a picture as RGB pixels.

    `source` is a path (`~` is the home folder), an http(s), file: or data: URL, the bytes of a
    file, a PIL image, or an array: (H, W) or (H, W, 1) grey, (H, W, 3) RGB, (H, W, 4) RGBA, of
    bools, integers or floats. EXIF rotation is applied, transparency is laid on white, samples of
    more than 8 bits are scaled (see `bit_depth`), and of an animation the first frame is taken.
    `formats` are the file formats that are tried, by Pillow's names; all by default. With them, of
    callers who are not trusted, a TIFF in a compression for fax is refused, see `FAX`.

    Returns a read-only (H, W, 3) uint8 array. Raises ImageError with what was wrong.
    """
    if isinstance(source, np.ndarray):
        name = "the array"
        picture = _from_array(source, name, max_megapixels)
    elif isinstance(source, Image.Image):
        picture, name = source, "the image"
    else:
        data, name = read_source(source)
        check_parts(data, name)
        with _decoding(name):
            picture = _open(data, name, max_megapixels, formats)
    check_size(picture.size, name, max_megapixels)
    with _decoding(name):
        # turned before anything else sees it: boxes and masks are of the image as people see it
        pixels = np.ascontiguousarray(_to_rgb(_upright(picture, name), name))
    pixels.flags.writeable = False
    return pixels


@contextlib.contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Raises as ImageError whatever decoders raise for bytes from outside, which is open-ended."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} is too large for the memory of this machine") from error
    except Exception as error:
        words = one_line(str(error), SHOWN) or type(error).__name__
        raise ImageError(f"{name} is damaged and cannot be decoded: {words}") from error


def _open(
    data: bytes, name: str, max_megapixels: float, formats: tuple[str, ...] | None
) -> Image.Image:
    may_be_tiff = is_tiff(data) and (formats is None or "TIFF" in formats)
    try:
        # sizes come first: a small file that unpacks to gigabytes must not be decoded
        picture = _open_header(data, formats)
    except UnidentifiedImageError as error:
        if may_be_tiff:
            return read_tiff(data, name, max_megapixels)
        what = "is empty" if not data else "is not an image that Pillow can read"
        raise ImageError(f"{name} {what}") from error
    check_size(picture.size, name, max_megapixels)
    check_size(_tile(picture), name, max_megapixels)
    if picture.format == "BMP" and picture.info.get("compression") in RUN_LENGTHS:
        check_size(picture.size, name, min(max_megapixels, RLE_MEGAPIXELS))
    if formats is not None and picture.info.get("compression") in FAX:
        raise ImageError(f"{name} is a TIFF in a compression for fax; save it as PNG")
    # Pillow drops the lower bits of deep colours, or does not read them at all
    if may_be_tiff and is_deep(picture):
        if available("tifffile", "imagecodecs"):
            return read_tiff(data, name, max_megapixels)
        if picture.mode in ("RGB", "RGBA", "CMYK"):
            _check_upper_bits(picture, name)
    picture.load()
    if may_be_tiff:
        return without_false_opacity(picture, name)
    # only what Pillow has decoded without an error: with Python 3.11 each damaged PNG takes a
    # reference from None in imagecodecs 2026.3, until the interpreter aborts
    if not _is_deep_color_png(data):
        return picture
    if not available("imagecodecs"):
        _check_upper_bits(picture, name)
        return picture
    return _deep_png(data, name) or picture


def _check_upper_bits(picture: Image.Image, name: str) -> None:
    """Warn that Pillow has read the upper 8 of 16 bits; ImageError when these are hardly used.

    Samples of 10 to 14 bits stay below a quarter of the range, and would make a black picture.
    """
    extrema = picture.convert("RGB").getextrema()
    if max(high for _, high in extrema) < DARK:  # type: ignore[misc]
        require(
            "tifffile", "imagecodecs", purpose=f"reading the lower bits of {name}", error=ImageError
        )
    logger.warning(UPPER_BITS, name)


def _tile(picture: Image.Image) -> Extent:
    """The width and height of what is decoded at once; a TIFF's tile may be larger than it is."""
    tags = getattr(picture, "tag_v2", {})
    width, height = (tags.get(tag) for tag in (322, 323))  # TileWidth, TileLength
    if isinstance(width, int) and isinstance(height, int):
        return max(width, MIN_SIDE), max(height, MIN_SIDE)
    return picture.size


def _open_header(data: bytes, formats: tuple[str, ...] | None) -> Image.Image:
    """Open without decoding; instead of Pillow's own pixel limit the caller's is checked next."""
    # the limit is one value for the whole process; threads take turns here
    with without_warnings(module="PIL"):
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data), formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _is_deep_color_png(data: bytes) -> bool:
    """Whether these are the bytes of a PNG with 16 bits and more than one band.

    Pillow reads only the upper 8 bits of those, which are dark when 12 are used.
    """
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10" and data[25] in PNG_MODES


def _deep_png(data: bytes, name: str) -> Image.Image | None:
    """The picture in a PNG of 16 bits with all of them; None where that cannot be done."""
    import imagecodecs

    try:
        samples = imagecodecs.png_decode(data)
    except (imagecodecs.PngError, ValueError):
        return None
    return eight_bit_image(samples, PNG_MODES[data[25]], name)


def _from_array(array: npt.NDArray[Any], name: str, max_megapixels: float) -> Image.Image:
    bands = 1 if array.ndim == 2 else array.shape[-1]
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or bands not in ARRAY_MODES:
        raise ImageError(
            "an image array must be (H, W), (H, W, 3) or (H, W, 4) of bools, integers or floats, "
            f"not {array.dtype} {array.shape}"
        )
    if 0 in array.shape:
        raise ImageError(f"the array is empty: {array.shape}")
    check_size((array.shape[1], array.shape[0]), name, max_megapixels)
    return eight_bit_image(array, ARRAY_MODES[bands], name)


def _upright(picture: Image.Image, name: str) -> Image.Image:
    """Apply the EXIF orientation; a picture with broken EXIF stays as it is stored."""
    picture.load()
    try:
        with without_warnings(module="PIL"):
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
        turn = TURNS.get(orientation)  # in broken EXIF it may be a list
    except Exception as error:  # what broken EXIF or XMP makes Pillow raise is open-ended
        words = one_line(str(error), SHOWN)
        logger.warning("the EXIF data of %s is broken and left out: %s", name, words)
        return picture
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        # Pillow converts these without scaling them, and does not invert them
        inverted = getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO
        grey = eight_bit_image(np.asarray(picture), "L", name)
        return (ImageOps.invert(grey) if inverted else grey).convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")
    # what lies under transparent pixels is arbitrary, often black; on white it looks as in a viewer
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return picture.convert("RGB")
