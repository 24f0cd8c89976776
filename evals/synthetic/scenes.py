"""Synthetic scenes: images composed of icons, with the exact visible pixels of every object."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from sam3_agent.evals.synthetic.backgrounds import Rng, background
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES, sprite
from sam3_agent.geometry import Region, Size
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

Split = Literal["train", "heldout"]

SPLIT_NUMBERS = {"train": 0, "heldout": 1}
LEAST_VISIBLE = 0.6
"""The share of every object that must be visible."""

LEAST_PIXELS = 100 / (640 * 480)
"""The share of the image that every object must show."""

SIDES = (0.16, 0.42)
"""The longer side of an object, as a share of the image's shorter side."""

TRAIN_AREA = 192 * 144
TRAIN_ASPECTS = (3 / 4, 16 / 9)
"""Pixels, and range of width / height, of the small scenes of training."""

_OBJECT_COUNTS = np.array([0.06, 0.11, 0.13, 0.15, 0.15, 0.13, 0.11, 0.09, 0.07])
"""The shares of scenes with 1 to 9 objects, before they are scaled to 1."""


@dataclass(frozen=True)
class SceneObject:
    """An object of a scene, with the tight box x0 y0 x1 y1 of its visible pixels.

    The box is of whole pixels; x1 and y1 are exclusive.
    """

    noun: str
    color: str | None
    box: Region

    @property
    def name(self) -> str:
        return f"{self.color} {self.noun}" if self.color else self.noun

    @cached_property
    def concepts(self) -> frozenset[str]:
        """Every concept phrase that names this object: noun, colour and noun, categories."""
        categories = [word for word, nouns in CATEGORIES.items() if self.noun in nouns]
        return frozenset([self.noun, self.name, *categories])


@dataclass(frozen=True)
class SyntheticScene:
    """An image and its ground truth.

    image: (H, W, 3) uint8 RGB. labels: (H, W) uint8, 0 for the background and i for the visible
    pixels of objects[i - 1].
    """

    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    objects: tuple[SceneObject, ...]

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return int(self.labels.shape[0]), int(self.labels.shape[1])

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """Returns the visible pixels of objects[index]: (H, W) bool."""
        return np.equal(self.labels, index + 1)

    def matching(self, phrase: str) -> list[int]:
        """Returns the indexes of the objects that a concept phrase names."""
        return [index for index, obj in enumerate(self.objects) if phrase in obj.concepts]


def compose(
    seed: int,
    *,
    split: Split = "heldout",
    size: Size | None = (480, 640),
    styles: tuple[str, ...] = TRAIN_STYLES,
) -> SyntheticScene:
    """Composes the scene of a seed; the splits have no scene in common.

    size: (height, width) in pixels; None draws a small one, of about TRAIN_AREA pixels.
    """
    rng = np.random.default_rng([SPLIT_NUMBERS[split], seed])
    height, width = _random_size(rng) if size is None else size
    canvas = _Canvas(background(rng, width, height))
    one_style = str(rng.choice(styles)) if rng.random() < 0.8 else None
    placed = []
    for noun, color in _nouns(rng):
        style = one_style or str(rng.choice(styles))
        if canvas.add(_posed(sprite(style, noun, color), rng, min(width, height)), rng):
            placed.append((noun, color))
    objects = tuple(
        # boxes come last: an object that was added later may hide a part of an earlier one
        SceneObject(noun, color, _tight_box(canvas.labels == number))
        for number, (noun, color) in enumerate(placed, start=1)
    )
    return SyntheticScene(_exposed(canvas.picture, rng), canvas.labels, objects)


def _random_size(rng: Rng) -> Size:
    """Draws a (height, width)."""
    low, high = np.log(TRAIN_ASPECTS)
    aspect = float(np.exp(rng.uniform(low, high)))
    return round((TRAIN_AREA / aspect) ** 0.5), round((TRAIN_AREA * aspect) ** 0.5)


def _nouns(rng: Rng) -> list[tuple[str, str | None]]:
    """Draws 1 to 9 (noun, colour), in groups that share a noun or a category."""
    count = 1 + int(rng.choice(len(_OBJECT_COUNTS), p=_OBJECT_COUNTS / _OBJECT_COUNTS.sum()))
    chosen: list[tuple[str, str | None]] = []
    while len(chosen) < count:
        chosen += _group(rng)
    # a group may go beyond the count; shuffled, since later ones lie in front
    del chosen[count:]
    rng.shuffle(chosen)
    return chosen


def _group(rng: Rng) -> list[tuple[str, str | None]]:
    kind = rng.choice(["same noun", "colours", "category", "single"], p=[0.2, 0.4, 0.2, 0.2])
    if kind == "category":
        nouns = CATEGORIES[str(rng.choice(list(CATEGORIES)))]
        chosen = rng.choice(nouns, size=int(rng.integers(2, 4)), replace=False)
        return [(str(noun), _random_color(rng, str(noun))) for noun in chosen]
    noun = str(rng.choice(COLORABLE if kind == "colours" else NOUNS))
    if kind == "single":
        return [(noun, _random_color(rng, noun))]
    # few colours for several objects, so that some share noun and colour and need more words
    palette = [_random_color(rng, noun) for _ in range(int(rng.integers(1, 4)))]
    members = int(rng.integers(2, 5))
    return [(noun, palette[int(rng.integers(len(palette)))]) for _ in range(members)]


def _random_color(rng: Rng, noun: str) -> str | None:
    return str(rng.choice(COLORS)) if noun in COLORABLE else None


def _posed(icon: Image.Image, rng: Rng, shorter_side: int) -> Image.Image:
    """Scales, mirrors and rotates an icon at random."""
    scale = rng.uniform(*SIDES) * shorter_side / max(icon.size)
    size = max(round(icon.width * scale), 4), max(round(icon.height * scale), 4)
    posed = icon.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if rng.random() < 0.5:
        posed = posed.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.6:
        posed = posed.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    return posed


class _Canvas:
    """An image to which objects are added, one over the other, with its labels."""

    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture
        self.labels = np.zeros((picture.height, picture.width), dtype=np.uint8)
        self._whole = np.zeros(1, dtype=np.int64)
        self._visible = np.zeros(1, dtype=np.int64)

    def add(self, icon: Image.Image, rng: Rng, tries: int = 25) -> bool:
        """Pastes an icon where it hides no earlier object too much; False where no place is found.

        Up to `tries` random places are tested on the labels alone, and the first good one is drawn.
        """
        # a pixel belongs to an object where this is more than half of what is seen there
        opaque = np.asarray(icon.getchannel("A")) > 127
        whole = int(np.count_nonzero(opaque))
        least = LEAST_PIXELS * self.labels.size
        # what must stay visible of each earlier object; index 0, the background, needs nothing
        floor = np.maximum(LEAST_VISIBLE * self._whole, least * (self._whole > 0))
        # a third of the objects may hide much of an earlier one, the others only a sliver
        share = LEAST_VISIBLE if rng.random() < 0.35 else 0.93
        for _ in range(tries):
            x, y = (self._place(rng, side, span) for side, span in self._sides(icon))
            rows = slice(max(y, 0), min(y + icon.height, self.picture.height))
            columns = slice(max(x, 0), min(x + icon.width, self.picture.width))
            inside = opaque[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
            under = self.labels[rows, columns]
            # pixels that the icon would take from each label
            hidden = np.bincount(under[inside], minlength=len(self._whole))
            visible = self._visible - hidden
            visible[0] = 0
            # the image's border may cut the icon, which counts as hidden
            own = int(np.count_nonzero(inside))
            if own < max(LEAST_VISIBLE * whole, least):
                continue
            if (visible < np.maximum(floor, share * self._visible)).any():
                continue
            self.picture.paste(icon, (x, y), icon)
            # a view of the labels: the icon in front takes the pixels over
            under[inside] = len(self._whole)
            self._whole = np.append(self._whole, whole)
            self._visible = np.append(visible, own)
            return True
        return False

    def _sides(self, icon: Image.Image) -> tuple[tuple[int, int], tuple[int, int]]:
        return (icon.width, self.picture.width), (icon.height, self.picture.height)

    @staticmethod
    def _place(rng: Rng, side: int, span: int) -> int:
        """Draws a start that leaves at most a tenth of the side outside the image."""
        outside = side // 10
        return int(rng.integers(-outside, max(span - side + outside, 0) + 1))


def _tight_box(mask: npt.NDArray[np.bool_]) -> Region:
    columns = np.flatnonzero(mask.any(0))
    rows = np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _exposed(picture: Image.Image, rng: Rng) -> npt.NDArray[np.uint8]:
    """Changes brightness and contrast a little at random; returns (H, W, 3) uint8."""
    # of the finished picture, so that exposure tells nothing about what is an object
    brighter = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.88, 1.08))
    return np.array(ImageEnhance.Contrast(brighter).enhance(rng.uniform(0.88, 1.12)))
