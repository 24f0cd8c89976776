"""Reads masks of annotation files (RLE, polygons, PNG), checks them, and encodes them as RLE."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.evals.json_io import check_regular
from sam3_agent.geometry import Size
from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, BoolArray, encode_mask, merge_masks, rle_from_record, tight_boxes

LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000")
"""Image formats with lossy compression."""

MAX_COORDINATE = 1e6
"""Coordinates beyond this many pixels are errors."""

MAX_OUTLINE = 200
"""The outline of a mask's polygons, in sums of the image's height and width; longer is an error."""


def masks_of(rles: Sequence[RLE], size: Size) -> Masks:
    """Makes Masks of RLEs of a (height, width) image, with tight boxes and score 1."""
    count = len(rles)
    ones = np.ones(count, np.float32)
    return Masks(size, tight_boxes(rles), ones, ("",) * count, tuple(rles))


def instance(rle: RLE) -> RLE:
    """Checks that the mask of an instance has a pixel."""
    if not coco.area(rle):
        raise InputError(
            "it marks no pixel of the image (a polygon without area or outside of the image, or a "
            "black image); for a query without a target, leave the list of masks empty"
        )
    return rle


def coco_mask(shape: Any, size: Size) -> RLE:
    """Reads COCO's `segmentation`: an RLE, or a list of polygons or RLEs, which are united."""
    if isinstance(shape, dict):
        return rle_from_record(shape, size)
    if not isinstance(shape, list) or not shape:
        raise InputError("its segmentation is neither RLE nor polygons")
    polygons = [polygon(part) for part in shape if not isinstance(part, dict)]
    _check_outline(polygons, size)
    rles = [rle_from_record(part, size) for part in shape if isinstance(part, dict)]
    return merge_masks(rles + [_drawn(corners, size) for corners in polygons])


def polygon_mask(points: Any, size: Size) -> RLE:
    """Rasterises a polygon, [x, y, x, y, ...] or [[x, y], ...], as COCO does."""
    corners = polygon(points)
    _check_outline([corners], size)
    return _drawn(corners, size)


def _drawn(corners: npt.NDArray[np.float64], size: Size) -> RLE:
    # pycocotools draws the outline on a grid five times finer, so edge pixels are those of COCO's
    # own masks; other libraries fill about one pixel more or less along the edge
    mask: RLE = coco.merge(coco.frPyObjects([corners.ravel().tolist()], *size))
    return mask


def _check_outline(polygons: Sequence[npt.NDArray[np.float64]], size: Size) -> None:
    """Raises InputError for polygons of one mask whose outlines are too long together."""
    # pycocotools walks along the outline step by step, and stores every step
    steps = (np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1) for corners in polygons)
    length = sum(float(one.sum()) + len(one) for one in steps)
    if length > (most := MAX_OUTLINE * sum(size)):
        raise InputError(
            f"its polygons have an outline of {length:.3g} pixels, at most {most} are read in an "
            f"image of {size[1]}x{size[0]}"
        )


def polygon(points: Any) -> npt.NDArray[np.float64]:
    """Reads a polygon as (N, 2) x y: at least three corners, all finite."""
    try:
        values = np.array(points)
    except (TypeError, ValueError) as error:
        raise InputError("a polygon has coordinates that are no numbers") from error
    # not texts, bools or null, nor numbers that are too large for any array
    if values.dtype.kind not in "iuf":
        raise InputError("a polygon has coordinates that are no numbers")
    corners = values.astype(np.float64)
    if corners.ndim == 1 and len(corners) % 2 == 0:
        corners = corners.reshape(-1, 2)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise InputError("a polygon must be [x, y, x, y, ...] or [[x, y], ...]")
    # of two points pycocotools would take the four numbers for a box
    if len(corners) < 3:
        raise InputError(f"a polygon has {len(corners)} points, and needs three")
    if not np.isfinite(corners).all():
        raise InputError("a polygon has a coordinate that is not finite")
    if np.abs(corners).max() > MAX_COORDINATE:
        raise InputError(f"a polygon has the coordinate {np.abs(corners).max():g}")
    return corners


def png_mask(path: Path, size: Size) -> RLE:
    """Reads a mask image of this size, whose pixels other than black are the mask.

    Any bit depth; of a palette the indexes are used. InputError where the edge of the mask is
    unclear: a lossy file, or grey values between black and white.
    """
    try:
        check_regular(path)
        with Image.open(path) as picture:
            # before it is decoded: a small file can hold a picture of any size
            if picture.size != size[::-1]:
                width, height = picture.size
                raise InputError(
                    f"{path} is {width}x{height} pixels, the image {size[1]}x{size[0]}"
                )
            lossy = picture.format in LOSSY
            # one band keeps its own values: palette indexes, 16 bits, numbers of instances
            one_band = len(picture.getbands()) == 1
            palette = picture.mode == "P"
            pixels = np.asarray(picture if one_band else picture.convert("RGB"))
    except FileNotFoundError as error:
        raise InputError(f"there is no mask {path}") from error
    except InputError:
        raise
    except Exception as error:  # the readers of broken files raise anything
        raise InputError(f"{path} is no mask that can be read: {error}") from error
    dense: BoolArray = np.asarray(pixels != 0 if pixels.ndim == 2 else pixels.any(axis=2))
    if not palette and (between := _between(pixels, lossy)):
        raise InputError(
            f"{path} has {between} pixels between black and the mask (JPEG artefacts or soft "
            "edges), so where the mask ends is not known: save it as a PNG with two values"
        )
    return encode_mask(dense)


def _between(pixels: npt.NDArray[Any], lossy: bool) -> int:
    """Counts the pixels that are neither black nor the brightest value, where that is an error.

    0 for a lossless file without white, whose values may be numbers or colours of instances.
    """
    # a coloured file without loss may mark instances by colour; a grey one is read as one band
    if pixels.ndim == 3:
        grey = not lossy and bool((pixels == pixels[..., :1]).all())
        pixels = pixels.max(axis=2) if lossy or grey else (pixels != 0).any(axis=2)
    # white at the top means black and white, so grey between is a soft edge; without white the
    # values may be numbers of instances, which are all mask
    top = pixels.max(initial=0)
    white = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else top
    if not lossy and (top != white or pixels.dtype.kind == "i"):
        return 0
    return int(np.count_nonzero((pixels != 0) & (pixels != top)))
