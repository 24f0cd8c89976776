"""Reads TIFF files that Pillow cannot, or only in part: deep samples, many bands, odd layouts.

tifffile (the extra `tiff`) decodes them, once size and compression are checked.
"""

import io
import logging
import math
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from sam3_agent.bit_depth import Samples, eight_bit_image, opacity_to_uint8
from sam3_agent.errors import ImageError
from sam3_agent.extras import require
from sam3_agent.image_limits import check_size
from sam3_agent.image_parts import check_count
from sam3_agent.sanitize import shorten

logger = logging.getLogger(__name__)

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF and a BigTIFF of either byte order."""

BITS, PHOTOMETRIC, ORIENTATION, BANDS, EXTRA_BANDS, NO_DATA = 258, 262, 274, 277, 338, 42113
"""Numbers of tags; the last is GDAL's, the value of pixels that were not measured."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
"""The photometric interpretations that are read here."""

ALPHA = {1: "a", 2: "A"}
"""The kinds of an extra band that are opacity, premultiplied and not, with the letter in a mode."""

COMPRESSIONS = {
    *(1, 5, 8, 32946, 32773),  # none, LZW, deflate, deflate, PackBits
    *(34925, 34926, 50000),  # LZMA, Zstandard
}
"""Compressions whose decoders stop at the expected size: a small file cannot fill the memory."""

SHOWN = 40
"""Characters of a tag's value in an error."""

MAX_PIXEL_BYTES = 16
"""Memory that a page may take for each pixel that is allowed: four bands of 32 bits."""

SEPARATE = 2
"""The value of PlanarConfiguration for bands in planes of their own."""


def is_tiff(data: bytes) -> bool:
    """Whether these are the bytes of a TIFF."""
    return data[:4] in MAGIC


def is_deep(picture: Image.Image) -> bool:
    """Whether an opened TIFF has samples of more than 8 bits."""
    bits = getattr(picture, "tag_v2", {}).get(BITS, 1)
    return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)


def without_false_opacity(picture: Image.Image, name: str) -> Image.Image:
    """A TIFF of 8 bits as Pillow decoded it, without a fourth band that is no opacity.

    Pillow reads an unmarked fourth band as opacity, but it may as well be infrared.
    """
    tags = getattr(picture, "tag_v2", {})
    kinds = tags.get(EXTRA_BANDS, ())
    marked = set(kinds if isinstance(kinds, tuple) else (kinds,)) & set(ALPHA)
    if marked and picture.mode in ("RGBA", "LA"):
        if _is_opacity(np.asarray(picture.getchannel("A")), name):
            return picture
        return picture.convert(picture.mode[:-1])
    if tags.get(PHOTOMETRIC) == RGB and tags.get(BANDS, 3) > 3 and not marked:
        _warn_of_bands(name, tags[BANDS])
        return picture.convert("RGB")
    return picture


def read_tiff(data: bytes, name: str, max_megapixels: float) -> Image.Image:
    """The first page as a Pillow image of 8 bits, with its orientation as EXIF.

    Of three or more bands the first three are red, green and blue, of two the first is grey. Logs
    a warning for bands that are left out, unless they are marked as opacity. Raises ImageError for
    a kind that is not read, and whatever tifffile raises for a damaged file.
    """
    require("tifffile", "imagecodecs", purpose=f"reading {name}", error=ImageError)
    import tifffile

    logging.getLogger("tifffile").addFilter(_not_here)
    token = _reading.set(True)
    try:
        return _read_page(tifffile.TiffFile(io.BytesIO(data)), name, max_megapixels)
    finally:
        _reading.reset(token)


_reading: ContextVar[bool] = ContextVar("reading_tiff", default=False)


def _not_here(_: logging.LogRecord) -> bool:
    """A filter of what tifffile logs: a line for each damaged tag, and a file has thousands."""
    return not _reading.get()


def _read_page(opened: Any, name: str, max_megapixels: float) -> Image.Image:
    with opened as file:
        page: Any = file.pages.first
        _check(page, name, max_megapixels)
        # (planes, depth, height, width, bands); either planes or bands is 1
        values = page.asarray(squeeze=False, maxworkers=1)[:, 0]
        return _picture(page, values[0] if len(values) == 1 else values[..., 0], name)


def _check(page: Any, name: str, max_megapixels: float) -> None:
    """Raises ImageError for a page that would be too large in memory, or is of another kind."""
    check_size((page.imagewidth, page.imagelength), name, max_megapixels)
    # as many as the sizes say, however few of them are in the file
    check_count(math.prod(page.chunked), name)
    tile = page.tilewidth * page.tilelength * page.tiledepth * page.samplesperpixel
    size = max(page.nbytes, tile * page.dtype.itemsize if page.dtype else 0)
    if size > max_megapixels * 1e6 * MAX_PIXEL_BYTES:
        raise ImageError(
            f"{name} takes {size / 1e6:.0f} MB in memory, the limit is "
            f"{max_megapixels * MAX_PIXEL_BYTES:.0f}; keep three bands, or raise the limit "
            "(max_megapixels, --max-megapixels)"
        )
    what = None
    if page.compression not in COMPRESSIONS:
        what = f"compression {_named(page.compression)}"
    elif page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK):
        what = f"colors {_named(page.photometric)}"
    elif page.dtype is None or page.dtype.kind not in "biuf":
        what = f"samples of {page.bitspersample} bits, format {page.sampleformat}"
        what = shorten(what, SHOWN) if what.isprintable() else "damaged samples"
    if what:
        raise ImageError(
            f"{name} is a TIFF with {what}, which is not read; save it as RGB or grey, "
            "uncompressed or with LZW or deflate"
        )


def _named(value: Any) -> str:
    """The name or number of a tag's value, for an error; a damaged one may be any text."""
    return str(getattr(value, "name", shorten(repr(value), SHOWN)))


def _picture(page: Any, samples: Samples, name: str) -> Image.Image:
    """The Pillow image of a page with (H, W, C) or, from planes, (C, H, W) samples."""
    if page.planarconfig == SEPARATE and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    if page.photometric == PALETTE:
        samples, mode = np.asarray(page.colormap).T[samples[..., 0]], "RGB"
    elif page.photometric == CMYK:
        samples, mode = samples[..., :4], "CMYK"
    else:
        chosen, mode = _bands(samples.shape[-1], page.extrasamples, name)
        if mode[-1] in "Aa" and not _is_opacity(samples[..., chosen[-1:]], name):
            chosen, mode = chosen[:-1], mode[:-1]
        samples = _measured(page, samples[..., chosen], mode)
    picture = eight_bit_image(samples, mode, name)
    if page.photometric == WHITE_IS_ZERO and mode in ("L", "RGB"):
        picture = ImageOps.invert(picture)
    if ORIENTATION in page.tags:
        picture.getexif()[ORIENTATION] = int(page.tags[ORIENTATION].value)
    return picture


def _bands(count: int, extra: Sequence[int], name: str) -> tuple[list[int], str]:
    """Which of a page's bands make the picture, and its mode."""
    opacity = [
        (count - len(extra) + i, ALPHA[kind]) for i, kind in enumerate(extra) if kind in ALPHA
    ]
    plain = [band for band in range(count) if band not in dict(opacity)]
    used = 3 if len(plain) >= 3 else 1
    if len(plain) > used:
        _warn_of_bands(name, len(plain), used)
    mode = "RGB" if used == 3 else "L"
    band, letter = opacity[0] if opacity else (None, "")
    return plain[:used] + ([] if band is None else [band]), mode + letter


def _measured(page: Any, samples: Samples, mode: str) -> Samples:
    """The samples with NaN where they have the value of GDAL's tag for "not measured"."""
    if NO_DATA not in page.tags or mode not in ("L", "RGB"):
        return samples
    wide = samples.astype(np.float64 if samples.dtype.itemsize > 2 else np.float32)
    wide[samples == page.nodata] = np.nan
    return wide


def _is_opacity(band: Samples, name: str) -> bool:
    """Whether a band marked as opacity can be that; logs a warning when not.

    Some programs mark every fourth band as opacity. Opacity is mostly all or nothing, and not
    nothing everywhere.
    """
    opacity = opacity_to_uint8(band)
    if opacity.any() and np.isin(opacity, (0, 255)).mean() >= 0.5:
        return True
    logger.warning(
        "%s has a band that is marked as opacity and looks like no opacity; it is left out", name
    )
    return False


def _warn_of_bands(name: str, count: int, used: int = 3) -> None:
    which = "the first is taken for grey" if used == 1 else "the first three for RGB"
    logger.warning("%s has %d bands, none of them marked as opacity; %s", name, count, which)
