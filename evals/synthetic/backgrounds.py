"""Random backgrounds of synthetic scenes, low in contrast."""

import colorsys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Floats = npt.NDArray[np.float32]
Rng = np.random.Generator


def background(rng: Rng, width: int, height: int) -> Image.Image:
    """Draws a random RGB background, low in contrast and saturation, unlike the objects."""
    paint = _PAINTERS[int(rng.choice(len(_PAINTERS), p=_SHARES))]
    pixels = paint(rng, width, height)
    if rng.random() < 0.3:
        pixels = pixels + _grain(rng, width, height)
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
    if rng.random() < 0.35:
        _add_blurred_shapes(picture, rng)
    return picture


def _quiet_color(rng: Rng, light: float | None = None) -> Floats:
    """Draws a pale, sometimes a dark colour (3,), 0-255; `light` is its lightness (0-1)."""
    if light is None:
        light = rng.uniform(0.78, 0.97) if rng.random() < 0.82 else rng.uniform(0.1, 0.26)
    rgb = colorsys.hls_to_rgb(rng.random(), light, rng.uniform(0.05, 0.5))
    return np.array(rgb, dtype=np.float32) * 255


def _near(rng: Rng, color: Floats, reach: float) -> Floats:
    shift = rng.uniform(-reach, reach, 3) + rng.uniform(-reach, reach)
    return np.asarray(np.clip(color + shift.astype(np.float32), 0, 255), dtype=np.float32)


def _mix(first: Floats, second: Floats, share: Floats) -> Floats:
    """Blends two colours by `share` (H, W), 0-1: (H, W, 3)."""
    return np.asarray(first + (second - first) * share[..., None], dtype=np.float32)


def _grid(width: int, height: int) -> tuple[Floats, Floats]:
    """Returns coordinates x (1, W) and y (H, 1), the shorter side being 1."""
    side = np.float32(min(width, height))
    x = np.arange(width, dtype=np.float32)[None, :] / side
    y = np.arange(height, dtype=np.float32)[:, None] / side
    return x, y


def _plain(rng: Rng, width: int, height: int) -> Floats:
    return np.broadcast_to(_quiet_color(rng), (height, width, 3))


def _gradient(rng: Rng, width: int, height: int) -> Floats:
    x, y = _grid(width, height)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6)
    start = _quiet_color(rng)
    return _mix(start, _near(rng, start, 28), ramp)


def _clouds(rng: Rng, width: int, height: int) -> Floats:
    """Soft blobs: a small grid of random numbers, enlarged smoothly."""
    seeds = rng.random((3 + int(rng.integers(3)), 4 + int(rng.integers(3))), dtype=np.float32)
    share = np.asarray(Image.fromarray(seeds).resize((width, height), Image.Resampling.BICUBIC))
    start = _quiet_color(rng)
    return _mix(start, _near(rng, start, 30), np.clip(share, 0, 1))


def _stripes(rng: Rng, width: int, height: int) -> Floats:
    x, y = _grid(width, height)
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4, -np.pi / 4])
    period = rng.uniform(0.08, 0.3)
    phase = (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y) / np.float32(period)
    start = _quiet_color(rng)
    return _mix(start, _near(rng, start, 12), (phase % 1 < 0.5).astype(np.float32))


def _checks(rng: Rng, width: int, height: int) -> Floats:
    x, y = _grid(width, height)
    period = np.float32(rng.uniform(0.1, 0.3))
    start = _quiet_color(rng)
    share = ((x // period + y // period) % 2).astype(np.float32)
    return _mix(start, _near(rng, start, 12), share)


def _horizon(rng: Rng, width: int, height: int) -> Floats:
    """A sky that fades towards a horizon, and a ground below it."""
    _, y = _grid(width, height)
    line = rng.uniform(0.35, 0.7) * float(y[-1, 0])
    sky = _quiet_color(rng, rng.uniform(0.82, 0.95))
    ground = _quiet_color(rng, rng.uniform(0.7, 0.85))
    fade = np.broadcast_to(np.clip(y / np.float32(line), 0, 1), (height, width))
    pixels = _mix(sky, _near(rng, sky, 14), fade)
    pixels[int(np.searchsorted(y[:, 0], line)) :] = ground
    return pixels


def _grain(rng: Rng, width: int, height: int) -> Floats:
    """Faint noise (H, W, 1), coarser or finer."""
    step = int(rng.integers(1, 4))
    strength = int(rng.integers(3, 9))
    coarse = rng.integers(-strength, strength + 1, (-(-height // step), -(-width // step)), np.int8)
    noise = coarse.astype(np.float32).repeat(step, 0).repeat(step, 1)
    return noise[:height, :width, None]


def _add_blurred_shapes(picture: Image.Image, rng: Rng) -> None:
    """Draws up to four faint shapes, small and blurred, and enlarges them onto the image."""
    # at 40 pixels a blur is cheap, and enlarging it keeps it soft
    scale = 40 / min(picture.size)
    small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    cover = Image.new("L", small.size)
    color = np.asarray(small.getpixel((small.width // 2, small.height // 2)), dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(0, small.width), rng.uniform(0, small.height)
        reach_x, reach_y = rng.uniform(4, 11, 2)
        box = (x - reach_x, y - reach_y, x + reach_x, y + reach_y)
        fill = tuple(int(part) for part in _near(rng, color, 18))
        round_shape = rng.random() < 0.6
        for canvas, ink in ((small, fill), (cover, 220)):
            draw = ImageDraw.Draw(canvas)
            (draw.ellipse if round_shape else draw.rectangle)(box, fill=ink)
    blur = ImageFilter.GaussianBlur(rng.uniform(0.8, 2.0))
    small, cover = small.filter(blur), cover.filter(blur)
    smooth = Image.Resampling.BICUBIC
    picture.paste(small.resize(picture.size, smooth), (0, 0), cover.resize(picture.size, smooth))


_PAINTERS: tuple[Callable[[Rng, int, int], Floats], ...] = (
    _plain,
    _gradient,
    _clouds,
    _stripes,
    _checks,
    _horizon,
)
_SHARES = (0.16, 0.22, 0.22, 0.1, 0.08, 0.22)
