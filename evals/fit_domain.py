"""Fits the tiny SAM 3's domain: what tells photos from composed scenes.

    python -m sam3_agent.evals.fit_domain PHOTOS --out model/tiny/domain.json

PHOTOS is a folder of photos, one source each (a few hundred varied ones do); they are read, and
nothing of them is kept. Scenes and blank images are made here. Each is also cut, resized,
compressed, blurred and so on, as people hand images on. What is printed is measured by
cross-validation: no photo is judged by a classifier that was fitted to any version of it.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from sam3_agent.evals.synthetic.backgrounds import background
from sam3_agent.evals.synthetic.scenes import compose
from sam3_agent.evals.synthetic.sprites import STYLES, sprite
from sam3_agent.images import load_image
from sam3_agent.model.domain import Floats, measures
from sam3_agent.model.vocabulary import COLORABLE, COLORS, NOUNS

Rng: TypeAlias = np.random.Generator
Change: TypeAlias = Callable[[Image.Image, Rng], Image.Image]

SIZES = ((480, 640), None, (640, 480), (960, 1280), (240, 320), (450, 800))
"""Sizes of the scenes, (height, width) in pixels; None is a small one of random shape."""

FIRST_SEED = 700_000
"""Of the scenes of this fit: apart from those of training and of the benchmark."""

FOLDS = 8
HIDDEN = 16
FALSE_ALARMS = 0.005
"""The share of scenes, in all versions together, that may be taken for photos."""


@dataclass(frozen=True, eq=False)
class Measured:
    """N images: their (N, M) measures, and for each its source, group and version."""

    values: Floats
    sources: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    versions: npt.NDArray[np.str_]


def photos(folder: Path) -> Measured:
    """Every version of the photos in a folder; the group is the photo itself."""

    def made() -> Iterator[tuple[str, str, str, Image.Image]]:
        for number, path in enumerate(sorted(folder.iterdir())):
            rng = np.random.default_rng([1, number])
            photo = Image.fromarray(load_image(path, max_megapixels=500))
            photo.thumbnail((1600, 1600), Image.Resampling.BICUBIC)
            yield path.name, path.name, "whole", photo
            for name, (count, change) in PHOTO_CHANGES.items():
                for _ in range(count):
                    yield path.name, path.name, name, change(photo, rng)

    return _measured(made())


def scenes(count: int, first_seed: int = FIRST_SEED) -> Measured:
    """`count` scenes in all styles and sizes, whole and in one other version; crowds and blanks."""

    def made() -> Iterator[tuple[str, str, str, Image.Image]]:
        changes = list(SCENE_CHANGES.items())
        for number in range(count):
            rng = np.random.default_rng([2, number])
            style, size = STYLES[number % len(STYLES)], SIZES[number // 4 % len(SIZES)]
            scene = compose(first_seed + number, size=size, styles=(style,))
            picture = Image.fromarray(scene.image)
            yield str(number), style, "whole", picture
            name, change = changes[int(rng.integers(len(changes)))]
            yield str(number), style, name, change(picture, rng)
            if number % 6 == 0:
                yield str(number), style, "crowd", _crowd(style, rng)
            if number % 8 == 0:
                yield str(number), "none", "blank", _blank(rng)

    return _measured(made())


def _measured(rows: Iterator[tuple[str, str, str, Image.Image]]) -> Measured:
    told, values = [], []
    for source, group, version, image in rows:
        told.append((source, group, version))
        values.append(measures(np.asarray(image.convert("RGB"))))
    columns = np.array(told).T
    return Measured(np.stack(values), columns[0], columns[1], columns[2])


def _blank(rng: Rng) -> Image.Image:
    """A background without things, or a single colour."""
    if rng.random() < 0.5:
        return background(rng, 320, 240)
    return Image.new("RGB", (320, 240), tuple(int(part) for part in rng.integers(0, 256, 3)))


def _crowd(style: str, rng: Rng) -> Image.Image:
    """10 to 400 icons on one background, in rows or anywhere, over each other or not."""
    width, height = int(rng.integers(600, 2400)), int(rng.integers(600, 1800))
    picture = background(rng, width, height)
    count = int(np.exp(rng.uniform(np.log(10), np.log(400))))
    share, in_rows, nouns = rng.uniform(0.1, 0.6), rng.random() < 0.5, rng.choice(NOUNS, 3)
    side = (share * width * height / count) ** 0.5
    columns = max(1, round((count * width / height) ** 0.5))
    rows = -(-count // columns)
    for number in range(count):
        noun = str(rng.choice(nouns if share < 0.3 else NOUNS))
        icon = sprite(style, noun, str(rng.choice(COLORS)) if noun in COLORABLE else None)
        scale = side * rng.uniform(0.8, 1.2) / max(icon.size)
        size = (max(4, round(icon.width * scale)), max(4, round(icon.height * scale)))
        x = (number % columns + 0.1) * width / columns if in_rows else rng.uniform(0, width - side)
        y = (number // columns + 0.1) * height / rows if in_rows else rng.uniform(0, height - side)
        icon = icon.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        picture.paste(icon, (int(x), int(y)), icon)
    return picture


def _cut(least: float) -> Change:
    def change(image: Image.Image, rng: Rng) -> Image.Image:
        width, height = (
            max(24, round(side * share))
            for side, share in zip(image.size, np.sqrt(rng.uniform(least, 0.9, 2)), strict=True)
        )
        x = int(rng.integers(image.width - width + 1))
        y = int(rng.integers(image.height - height + 1))
        return image.crop((x, y, x + width, y + height))

    return change


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
    """The image in a window with a title bar, on a plain screen."""
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


def _then(*changes: Change) -> Change:
    def change(image: Image.Image, rng: Rng) -> Image.Image:
        for one in changes:
            image = one(image, rng)
        return image

    return change


SCENE_CHANGES: dict[str, Change] = {
    "jpeg": _compressed,
    "resized": _resized,
    "resized, jpeg": _then(_resized, _compressed),
    "cut": _cut(0.25),
    "blurred": _blurred,
    "screenshot": _screenshot,
    "screenshot, jpeg": _then(_screenshot, _resized, _compressed),
}

PHOTO_CHANGES: dict[str, tuple[int, Change]] = {
    "resized": (2, _resized),
    "cut": (4, _then(_cut(0.12), _resized)),
    "jpeg": (2, _then(_resized, _compressed)),
    "blurred": (1, _then(_resized, _blurred)),
    "noisy": (1, _then(_resized, _noisy)),
    "grey": (1, _then(_resized, _grey)),
    "darker": (1, _then(_resized, _darker)),
    "paler": (1, _then(_resized, _paler)),
    "screenshot": (2, _then(_resized, _screenshot)),
}


def fitted(photo: Floats, scene: Floats, seed: int = 0) -> dict[str, Any]:
    """The classifier of photos (N, M) against scenes (K, M), as `domain.json` has it."""
    import torch

    torch.manual_seed(seed)
    values = np.concatenate([photo, scene])
    mean, scale = values.mean(0), values.std(0) + 1e-6
    inputs = torch.from_numpy((values - mean) / scale)
    wanted = torch.cat([torch.ones(len(photo)), torch.zeros(len(scene))])
    weight = torch.cat(
        [torch.full((len(part),), len(values) / (2 * len(part))) for part in (photo, scene)]
    )
    hidden, output = torch.nn.Linear(values.shape[1], HIDDEN), torch.nn.Linear(HIDDEN, 1)
    parameters = [*hidden.parameters(), *output.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    steps = 1500
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = output(torch.tanh(hidden(inputs)))[:, 0]
        torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, weight).backward()
        optimizer.step()
        schedule.step()
    return {
        "mean": _rounded(mean),
        "scale": _rounded(scale),
        "hidden": [_rounded(row) for row in hidden.weight.detach().numpy()],
        "hidden_bias": _rounded(hidden.bias.detach().numpy()),
        "output": _rounded(output.weight.detach().numpy()[0]),
        "bias": round(float(output.bias.detach()), 4),
    }


def scores(values: Floats, found: dict[str, Any]) -> Floats:
    """The photo scores (N,) of (N, M) measures."""
    normed = (values - np.array(found["mean"])) / np.array(found["scale"])
    hidden = np.tanh(normed @ np.array(found["hidden"]).T + found["hidden_bias"])
    return np.asarray(hidden @ np.array(found["output"]) + found["bias"], np.float32)


def cross_validated(photo: Measured, scene: Measured) -> tuple[Floats, Floats]:
    """The scores of all photos and scenes, each by a classifier that knows no version of it."""
    out = np.zeros(len(photo.values), np.float32), np.zeros(len(scene.values), np.float32)
    folds = []
    for part in (photo, scene):
        _, source = np.unique(part.sources, return_inverse=True)
        folds.append(np.random.default_rng(0).permutation(source.max() + 1)[source] % FOLDS)
    for fold in range(FOLDS):
        found = fitted(photo.values[folds[0] != fold], scene.values[folds[1] != fold])
        for part, at, result in zip((photo, scene), folds, out, strict=True):
            result[at == fold] = scores(part.values[at == fold], found)
    return out


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 4) for value in values]


def _report(photo: Measured, scene: Measured, missed: Any, alarms: Any) -> str:
    lines = [f"{len(photo.values)} photos of {len(set(photo.sources))} sources"]
    for version in dict.fromkeys(photo.versions):
        chosen = photo.versions == version
        lines.append(f"  missed {missed[chosen].mean():6.2%}  {version} ({chosen.sum()})")
    lines.append(f"  missed {missed.mean():6.2%}  in all; most often:")
    for source in set(photo.sources):
        share = missed[photo.sources == source].mean()
        if share > 0.3:
            lines.append(f"    {share:4.0%} of {source}")
    lines.append(f"{len(scene.values)} scenes")
    for column in (scene.groups, scene.versions):
        for name in dict.fromkeys(column):
            chosen = column == name
            lines.append(f"  false alarms {alarms[chosen].mean():6.2%}  {name} ({chosen.sum()})")
    lines.append(f"  false alarms {alarms.mean():6.2%}  in all")
    return "\n".join(lines)


def main() -> None:
    """Fit, report, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    photo, scene = photos(given.photos), scenes(given.scenes)
    photo_scores, scene_scores = cross_validated(photo, scene)
    threshold = float(np.quantile(scene_scores, 1 - FALSE_ALARMS))
    print(_report(photo, scene, photo_scores <= threshold, scene_scores > threshold))
    found = fitted(photo.values, scene.values)
    found["bias"] = round(found["bias"] - threshold, 4)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
