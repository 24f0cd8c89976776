"""Random augmentations of images: crops, resizing, compression, blur, noise, screenshots."""

import io
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from sam3_agent.evals.synthetic.backgrounds import Rng

Augmentation: TypeAlias = Callable[[Image.Image, Rng], Image.Image]


def _cut(least: float) -> Augmentation:
    def augment(image: Image.Image, rng: Rng) -> Image.Image:
        width, height = (
            max(24, round(side * share))
            # roots, so that the area that is left is `least` to 0.9 of the whole
            for side, share in zip(image.size, np.sqrt(rng.uniform(least, 0.9, 2)), strict=True)
        )
        x = int(rng.integers(image.width - width + 1))
        y = int(rng.integers(image.height - height + 1))
        return image.crop((x, y, x + width, y + height))

    return augment


def _resized(image: Image.Image, rng: Rng) -> Image.Image:
    scale = np.exp(rng.uniform(np.log(160), np.log(1600))) / max(image.size)
    size = (max(32, round(image.width * scale)), max(32, round(image.height * scale)))
    ways = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    return image.resize(size, ways[int(rng.integers(3))])


def _compressed(image: Image.Image, rng: Rng) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.uniform(20, 95)))
    return Image.open(buffer).convert("RGB")


def _blurred(image: Image.Image, rng: Rng) -> Image.Image:
    reach = max(image.size) / 640 * rng.uniform(0.3, 2.0)
    return image.filter(ImageFilter.GaussianBlur(reach))


def _noisy(image: Image.Image, rng: Rng) -> Image.Image:
    noise = rng.normal(0, rng.uniform(2, 20), (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def _grey(image: Image.Image, rng: Rng) -> Image.Image:
    return image.convert("L").convert("RGB")


def _darker(image: Image.Image, rng: Rng) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.25, 0.6))


def _paler(image: Image.Image, rng: Rng) -> Image.Image:
    bright = ImageEnhance.Brightness(image).enhance(rng.uniform(1.1, 1.6))
    return ImageEnhance.Contrast(bright).enhance(rng.uniform(0.5, 1.0))


def _screenshot(image: Image.Image, rng: Rng) -> Image.Image:
    """Pastes the image into a window with a title bar, on a plain screen."""
    width, height = (side + int(rng.integers(10, max(side // 2, 11))) for side in image.size)
    shades = ((255, 255, 255), (240, 240, 240), (30, 30, 30), (0, 0, 0), (200, 210, 220))
    screen = Image.new("RGB", (width, height), shades[int(rng.integers(len(shades)))])
    draw = ImageDraw.Draw(screen)
    bar = tuple(int(part) for part in rng.integers(0, 256, 3))
    draw.rectangle((0, 0, width, max(4, height // 25)), fill=bar)
    draw.text((5, 2), "Image viewer  File  Edit  View", fill=(128, 128, 128))
    x, y = rng.integers(width - image.width + 1), rng.integers(height - image.height + 1)
    screen.paste(image, (int(x), int(y)))
    return screen


def _chain(*augmentations: Augmentation) -> Augmentation:
    def augment(image: Image.Image, rng: Rng) -> Image.Image:
        for one in augmentations:
            image = one(image, rng)
        return image

    return augment


SCENE_AUGMENTATIONS: dict[str, Augmentation] = {
    "jpeg": _compressed,
    "resized": _resized,
    "resized, jpeg": _chain(_resized, _compressed),
    "cut": _cut(0.25),
    "blurred": _blurred,
    "screenshot": _screenshot,
    "screenshot, jpeg": _chain(_screenshot, _resized, _compressed),
}

PHOTO_AUGMENTATIONS: dict[str, tuple[int, Augmentation]] = {
    "resized": (2, _resized),
    "cut": (4, _chain(_cut(0.12), _resized)),
    "jpeg": (2, _chain(_resized, _compressed)),
    "blurred": (1, _chain(_resized, _blurred)),
    "noisy": (1, _chain(_resized, _noisy)),
    "grey": (1, _chain(_resized, _grey)),
    "darker": (1, _chain(_resized, _darker)),
    "paler": (1, _chain(_resized, _paler)),
    "screenshot": (2, _chain(_resized, _screenshot)),
}
"""Augmentations of a photo, with how many random versions of each are made."""
