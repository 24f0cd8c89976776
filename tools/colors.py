"""Names the colours of pixels."""

import numpy as np
import numpy.typing as npt
from PIL import Image

NAMES = (
    "black", "grey", "white", "red", "orange", "brown", "yellow", "green", "blue", "purple", "pink",
)  # fmt: skip
"""The basic colour terms of English (Berlin and Kay, 1969)."""

_HUES = (
    (14, "red"), (43, "orange"), (68, "yellow"), (170, "green"), (256, "blue"),
    (300, "purple"), (345, "pink"), (361, "red"),
)  # fmt: skip
"""Up to which hue, in degrees, a strong colour has a name."""


def color_shares(pixels: npt.NDArray[np.uint8], least: float = 0.15) -> list[tuple[str, float]]:
    """The colour names that at least this share of (K, 3) pixels have, with it, largest first."""
    if not len(pixels):
        return []
    counts = np.bincount(_names(pixels), minlength=len(NAMES)) / len(pixels)
    return [(NAMES[i], float(counts[i])) for i in np.argsort(-counts) if counts[i] >= least]


def _names(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(K,) index in NAMES of each pixel."""
    hsv = np.asarray(Image.fromarray(pixels[None]).convert("HSV"))[0].astype(np.float64)
    hue, saturation, value = hsv[:, 0] * 360 / 255, hsv[:, 1] / 255, hsv[:, 2] / 255
    limits = [limit for limit, _ in _HUES]
    named = np.array([NAMES.index(name) for _, name in _HUES])[
        np.searchsorted(limits, hue, "right")
    ]
    chroma = saturation * value
    warm = (hue < 50) | (hue >= 345)
    pale_red = ((hue < 14) | (hue >= 300)) & (saturation < 0.55) & (value > 0.7)
    grey = np.where(value > 0.82, "white", np.where(value < 0.22, "black", "grey"))
    named = np.where(pale_red, NAMES.index("pink"), named)
    dull_red = ((hue < 14) | (hue >= 345)) & (saturation < 0.55) & (value <= 0.7)
    brown = (warm & (hue >= 14) & (hue < 50) & (value < 0.72)) | dull_red
    named = np.where(brown, NAMES.index("brown"), named)
    colourless = (chroma < 0.1) | (saturation < 0.12) | (value < 0.15)
    greys = np.array([NAMES.index(name) for name in grey])
    return np.where(colourless, greys, named).astype(np.int64)
