"""Sprites: the vocabulary's nouns as icons in four drawing styles, recoloured to a named colour."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.model.vocabulary import COLORABLE, NOUNS

CELL = 160
COLUMNS = 6
SHEETS = Path(__file__).resolve().parents[1] / "icons"

TRAIN_STYLES = ("noto", "noto-v1", "fluent-emoji-flat")
HELD_OUT_STYLE = "fluent-emoji"
STYLES = (*TRAIN_STYLES, HELD_OUT_STYLE)

PAINTS = {
    "red": (222, 30, 38),
    "orange": (248, 126, 16),
    "yellow": (252, 212, 28),
    "green": (44, 158, 62),
    "blue": (34, 100, 232),
    "purple": (138, 58, 196),
}
"""The RGB of each colour of the vocabulary, with which the body of a sprite is painted."""

HUE_REACH = 45.0
"""Degrees around the dominant hue that belong to the body."""

LEAST_CHROMA = 0.13
"""The chroma (0..1) from which a pixel belongs to the body."""

ODD_BODIES: dict[tuple[str, str], tuple[float, float, float, float]] = {
    ("noto", "bus"): (30.0, 40.0, 0.05, 1.0),
    ("noto-v1", "car"): (203.0, 25.0, 0.3, 0.8),
    ("noto-v1", "umbrella"): (203.0, 25.0, 0.3, 1.0),
    ("fluent-emoji-flat", "bus"): (35.0, 30.0, 0.13, 1.0),
    ("fluent-emoji-flat", "shirt"): (95.0, 70.0, 0.13, 1.0),
    ("fluent-emoji", "shirt"): (100.0, 75.0, 0.1, 1.0),
    ("fluent-emoji", "bus"): (25.0, 70.0, 0.13, 1.0),
}
"""Bodies of another than the dominant hue: hue and reach (degrees), least chroma, most value."""


@cache
def sprite(style: str, noun: str, color: str | None = None) -> Image.Image:
    """Returns the icon of a noun, cropped to its drawn part: RGBA, the longer side CELL pixels.

    color: one of PAINTS for a COLORABLE noun, None for every other noun. The image is cached and
    shared: do not draw on it.
    """
    if (color is None) == (noun in COLORABLE):
        raise ValueError(f"{noun!r} cannot be drawn in colour {color!r}")
    column, row = NOUNS.index(noun) % COLUMNS, NOUNS.index(noun) // COLUMNS
    left, top = column * CELL, row * CELL
    cell = _sheet(style).crop((left, top, left + CELL, top + CELL))
    if color is not None:
        cell = _recolored(cell, PAINTS[color], ODD_BODIES.get((style, noun)))
    return cell.crop(cell.getchannel("A").getbbox())


@cache
def _sheet(style: str) -> Image.Image:
    with Image.open(SHEETS / f"{style}.png") as sheet:
        return sheet.convert("RGBA")


def _recolored(
    icon: Image.Image,
    paint: tuple[int, int, int],
    odd_body: tuple[float, float, float, float] | None,
) -> Image.Image:
    """Paints the body of an icon, keeping light and shade and every other part.

    The body is what has the dominant hue. Its pixels are mapped to a ramp black - paint - white by
    their luminance relative to the body's median, so that pale and dark bodies both get the full
    paint (rotating the hue alone would leave a pale shirt pale and turn yellow into olive).
    """
    pixels = np.asarray(icon, dtype=np.float32) / 255
    rgb, alpha = pixels[..., :3], pixels[..., 3]
    value = rgb.max(-1)
    chroma = value - rgb.min(-1)
    hue = np.asarray(icon.convert("RGB").convert("HSV"), dtype=np.float32)[..., 0] * (360 / 256)

    centre, reach, least, most_value = odd_body or (
        _dominant_hue(hue, chroma * (alpha > 0.5)),
        HUE_REACH,
        LEAST_CHROMA,
        1.0,
    )
    # the shorter way around the circle of hues
    away = np.abs((hue - centre + 180) % 360 - 180)
    # soft limits in chroma and hue: a hard one would leave a fringe of the old colour
    body = np.clip((chroma - 0.5 * least) / (0.5 * least), 0, 1)
    body *= np.clip((reach + 10 - away) / 10, 0, 1) * (value <= most_value)

    luminance = rgb @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    middle = float(np.median(luminance[(body > 0.9) & (alpha > 0.5)]))
    # below the median towards black, above it towards white
    shade = np.clip(luminance / middle, 0, 1) ** 0.7
    light = np.clip((luminance - middle) / max(1 - middle, 0.25), 0, 1) * 0.75
    color = np.array(paint, dtype=np.float32) / 255
    painted = color * shade[..., None]
    painted += (1 - painted) * light[..., None]

    result = pixels.copy()
    result[..., :3] = rgb + (painted - rgb) * body[..., None]
    return Image.fromarray((result * 255).round().astype(np.uint8), "RGBA")


def _dominant_hue(hue: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]) -> float:
    """Returns the centre (degrees) of the 30-degree span of hues with the most weight."""
    histogram, _ = np.histogram(hue, bins=36, range=(0, 360), weights=weight)
    # each bin with its two neighbours; np.roll goes around the circle, where red lies at both ends
    spans = histogram + np.roll(histogram, -1) + np.roll(histogram, 1)
    return float(np.argmax(spans)) * 10 + 5
