"""Scales samples of any type and range to 8 bits: 10 to 32-bit integers, signed ones, floats.

A file states how many bits a sample has, not how many of them are used: cameras, microscopes and
satellites write 10, 12 or 14 bits into files of 16. So the range is measured.
"""

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

logger = logging.getLogger(__name__)

Samples = npt.NDArray[Any]
"""(H, W) or (H, W, C) bool, integers or floats."""

LEVELS = tuple(2.0**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 31, 32))
"""The value of white for 8, 10, ... 32 bits."""

UNUSED = 1 / 16
"""Samples that stay below this share of their level's white are scaled by their own range."""

UNUSED_FLOATS = 1 / 4
"""The same for floats above 1, which have no nominal white."""

OUTLIERS = 1e-4
"""The share of samples left out at either end of the range: hot pixels, fill values."""

MEASURED_SIDE = 1000
"""Rows and columns that are measured at most; of a larger picture every n-th."""


def to_uint8(samples: Samples, name: str) -> npt.NDArray[np.uint8]:
    """Samples scaled to 0..255, in the same shape; black for NaN.

    White is 1 for floats that stay in 0..1, else the smallest of `LEVELS` that holds the samples.
    Where they go below 0, or stay far below that white, their own range is used instead. Logs a
    warning for every scale but the nominal one of the type.
    """
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    if samples.dtype == np.uint16 and not (samples % 257).any():
        return (samples // 257).astype(np.uint8)  # 8 bits written as 16, however dark
    low, high = _range(samples)
    black, white = _scale(samples.dtype, low, high)
    nominal = float(np.iinfo(samples.dtype).max) if samples.dtype.kind in "iu" else 1.0
    if high > low and (black, white) != (0.0, nominal):
        logger.warning(
            "%s holds %s samples from %.6g to %.6g; they are scaled so that %.6g is white%s",
            *(name, samples.dtype, low, high, white),
            f" and {black:.6g} black" if black else "",
        )
    return _scaled(samples, black, white)


def opacity_to_uint8(samples: Samples) -> npt.NDArray[np.uint8]:
    """Opacity scaled to 0..255; never by its own range, so that a faint picture stays faint."""
    if samples.dtype == np.uint8:
        return samples
    return _scaled(samples, 0.0, _white(samples.dtype, _range(samples)[1]))


def eight_bit_image(samples: Samples, mode: str, name: str) -> Image.Image:
    """A Pillow image of (H, W) or (H, W, C) samples.

    mode: what the bands are, in Pillow's names: L, LA, La, RGB, RGBA, RGBa or CMYK.
    """
    bands = samples if samples.ndim == 3 else samples[:, :, None]
    # colour and opacity apart: scaling opacity by its own range would make a faint picture solid
    if mode[-1] in "Aa":
        color = to_uint8(bands[:, :, :-1], name)
        bands = np.concatenate([color, opacity_to_uint8(bands[:, :, -1:])], axis=2)
    else:
        bands = to_uint8(bands, name)
    height, width = bands.shape[:2]
    return Image.frombytes(mode, (width, height), np.ascontiguousarray(bands).tobytes())


def _range(samples: Samples) -> tuple[float, float]:
    """The least and the greatest finite sample, without the few outliers of a larger picture."""
    down, across = (max(1, side // MEASURED_SIDE) for side in samples.shape[:2])
    some = samples[::down, ::across].ravel()
    if samples.dtype.kind == "f":
        some = some[np.isfinite(some)]
    if not some.size:
        return 0.0, 0.0
    # one hot pixel would else be the white of the whole picture
    few = int(some.size * OUTLIERS)
    ends = np.partition(some, (few, some.size - 1 - few))
    return float(ends[few]), float(ends[some.size - 1 - few])


def _scale(kind: np.dtype[Any], low: float, high: float) -> tuple[float, float]:
    """The values of black and white for samples in low..high."""
    if low < 0:
        return low, high
    white = _white(kind, high)
    unused = UNUSED_FLOATS if kind.kind == "f" and white > 1 else UNUSED
    return 0.0, (white if high >= white * unused else high)


def _white(kind: np.dtype[Any], high: float) -> float:
    """The smallest level not below the samples, at most the greatest value of their type."""
    levels = LEVELS if kind.kind in "iu" else (1.0, *LEVELS)
    white = next((level for level in levels if level >= high), high)
    return min(white, float(np.iinfo(kind).max)) if kind.kind in "iu" else white


def _scaled(samples: Samples, black: float, white: float) -> npt.NDArray[np.uint8]:
    if white <= black:
        return np.zeros(samples.shape, np.uint8)
    if samples.dtype == np.float16:
        samples = samples.astype(np.float32)  # it cannot hold the white of 16 bits
    if samples.dtype.kind == "f":
        samples = np.nan_to_num(samples, nan=black, posinf=white, neginf=black)
    # clipped in their own type first, so that 4 bytes a sample are enough after that
    ends = np.array([black, white]).astype(samples.dtype)
    wide = np.float64 if samples.dtype.itemsize > 4 else np.float32
    scaled = (np.clip(samples, *ends).astype(wide) - wide(black)) * wide(255 / (white - black))
    eight: npt.NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return eight
