"""Fits the classifier of the tiny SAM 3's domain, which tells photos from composed scenes.

    python -m sam3_agent.evals.synthetic.fit_domain PHOTOS --out model/tiny/domain.json

PHOTOS is a folder of photos, each a source of its own; a few hundred varied ones are enough, and
nothing of them is stored. Scenes and blank images are composed here. All are augmented as well. The
printed rates are cross-validated: no photo is scored by a classifier fitted to a version of it.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.evals.synthetic.augmentations import PHOTO_AUGMENTATIONS, SCENE_AUGMENTATIONS
from sam3_agent.evals.synthetic.backgrounds import Rng, background
from sam3_agent.evals.synthetic.scenes import compose
from sam3_agent.evals.synthetic.sprites import STYLES, sprite
from sam3_agent.images import load_image
from sam3_agent.model.domain import Floats, measures
from sam3_agent.model.vocabulary import COLORABLE, COLORS, NOUNS

SIZES = ((480, 640), None, (640, 480), (960, 1280), (240, 320), (450, 800))
"""Sizes of the scenes, (height, width) in pixels; None is a small one of random shape."""

FIRST_SEED = 700_000
"""The first seed of the scenes, apart from those of training and of the benchmark."""

FOLDS = 8
HIDDEN = 16
"""Hidden units of the classifier."""

FALSE_ALARMS = 0.005
"""The share of scenes, over all versions, that may be classified as photos."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The (N, M) measures of N images, with the source, group and version of each."""

    values: Floats
    sources: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    versions: npt.NDArray[np.str_]


def photos(folder: Path) -> Measured:
    """Measures every version of the photos in a folder; the group is the photo itself."""

    def versions() -> Iterator[tuple[str, str, str, Image.Image]]:
        for number, path in enumerate(sorted(folder.iterdir())):
            rng = np.random.default_rng([1, number])
            photo = Image.fromarray(load_image(path, max_megapixels=500))
            photo.thumbnail((1600, 1600), Image.Resampling.BICUBIC)
            yield path.name, path.name, "whole", photo
            for name, (count, augment) in PHOTO_AUGMENTATIONS.items():
                for _ in range(count):
                    yield path.name, path.name, name, augment(photo, rng)

    return _measured(versions())


def scenes(count: int, first_seed: int = FIRST_SEED) -> Measured:
    """Measures `count` scenes of all styles and sizes, augmented once each; crowds and blanks."""

    def versions() -> Iterator[tuple[str, str, str, Image.Image]]:
        augmentations = list(SCENE_AUGMENTATIONS.items())
        for number in range(count):
            rng = np.random.default_rng([2, number])
            style, size = STYLES[number % len(STYLES)], SIZES[number // 4 % len(SIZES)]
            scene = compose(first_seed + number, size=size, styles=(style,))
            picture = Image.fromarray(scene.image)
            yield str(number), style, "whole", picture
            name, augment = augmentations[int(rng.integers(len(augmentations)))]
            yield str(number), style, name, augment(picture, rng)
            # `compose` draws at most nine objects, but a picture full of icons is no photo either
            if number % 6 == 0:
                yield str(number), style, "crowd", _crowd(style, rng)
            if number % 8 == 0:
                yield str(number), "none", "blank", _blank(rng)

    return _measured(versions())


def _measured(rows: Iterator[tuple[str, str, str, Image.Image]]) -> Measured:
    labels, values = [], []
    for source, group, version, image in rows:
        labels.append((source, group, version))
        values.append(measures(np.asarray(image.convert("RGB"))))
    columns = np.array(labels).T
    return Measured(np.stack(values), columns[0], columns[1], columns[2])


def _blank(rng: Rng) -> Image.Image:
    """Makes a background without objects, or a single colour."""
    if rng.random() < 0.5:
        return background(rng, 320, 240)
    return Image.new("RGB", (320, 240), tuple(int(part) for part in rng.integers(0, 256, 3)))


def _crowd(style: str, rng: Rng) -> Image.Image:
    """Composes 10 to 400 icons on one background, in rows or anywhere, overlapping or not."""
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


def fitted(photo: Floats, scene: Floats, seed: int = 0) -> dict[str, Any]:
    """Fits the classifier of photos (N, M) against scenes (K, M), in the form of `domain.json`."""
    import torch

    torch.manual_seed(seed)
    values = np.concatenate([photo, scene])
    mean, scale = values.mean(0), values.std(0) + 1e-6
    inputs = torch.from_numpy((values - mean) / scale)
    wanted = torch.cat([torch.ones(len(photo)), torch.zeros(len(scene))])
    # both classes weigh the same in sum, however many images each has
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
    """Computes the photo scores (N,) of (N, M) measures."""
    normed = (values - np.array(found["mean"])) / np.array(found["scale"])
    hidden = np.tanh(normed @ np.array(found["hidden"]).T + found["hidden_bias"])
    return np.asarray(hidden @ np.array(found["output"]) + found["bias"], np.float32)


def cross_validated(photo: Measured, scene: Measured) -> tuple[Floats, Floats]:
    """Scores all photos and scenes, each by a classifier fitted without any version of it."""
    out = np.zeros(len(photo.values), np.float32), np.zeros(len(scene.values), np.float32)
    folds = []
    for part in (photo, scene):
        # folds are of sources, not of images: versions of one photo are too alike to be apart
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
    """Fits the classifier, prints its cross-validated rates, writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--scenes", type=int, default=3000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    photo, scene = photos(given.photos), scenes(given.scenes)
    photo_scores, scene_scores = cross_validated(photo, scene)
    # the threshold comes from scores on images that the classifier had not been fitted to
    threshold = float(np.quantile(scene_scores, 1 - FALSE_ALARMS))
    print(_report(photo, scene, photo_scores <= threshold, scene_scores > threshold))
    found = fitted(photo.values, scene.values)
    # moved into the bias, so that a photo is what scores above 0
    found["bias"] = round(found["bias"] - threshold, 4)
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
