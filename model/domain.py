"""The domain of the tiny SAM 3: tells photos from scenes of drawn icons by the image's pixels.

A composed scene is a plain background of few colours with icons on it, so that nearly all of its
contrast lies on few pixels; a photo has some contrast almost everywhere. Such measures of two small
copies of the image go into a classifier with one hidden layer, whose weights lie beside the
checkpoint (`domain.json`, fitted by `sam3_agent.evals.synthetic.fit_domain`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.errors import SegmenterError
from sam3_agent.images import Pixels

Floats: TypeAlias = npt.NDArray[np.float32]

FILE = "domain.json"
"""The classifier's file in the folder of a checkpoint that has a domain."""

SIDE = 160
"""The longer side of the smaller copy, in pixels: icons stay, JPEG artefacts and noise go."""

FINE_SIDE = 640
"""The longer side of the finer copy: in a crowd of small icons the background shows only here."""

MEASURES = 26

OUTSIDE = (
    "This looks like a photo, and the segmenter {name} was trained on drawn icons only: it would "
    "find things that are not there. Choose another one, the shortest way first:\n"
    "1. Open weights, no licence and no key: --segmenter open:tiny (Grounding DINO + SAM 2, a "
    "download of 0.9 GB, once; no further package).\n"
    "2. SAM 3: accept its licence at https://huggingface.co/facebook/sam3, run `hf auth login`, "
    "then --segmenter facebook/sam3 (a download of 3.5 GB; a GPU is wise).\n"
    "3. For questions beyond simple ones also a multimodal LLM: --planner openai:MODEL or "
    "gemini:MODEL.\n"
    "`sam3-agent setup` asks for these and keeps the choice; in Python: "
    'Agent(segmenter="open:tiny"). If it is no photo, ask with --any-image, in Python '
    "Agent(check_domain=False)."
)
"""The message for an image that the checkpoint was not trained for."""


@dataclass(frozen=True, eq=False)
class Domain:
    """A classifier over M measures with H hidden units.

    mean, scale: (M,) of the measures over the training images. hidden: (H, M), hidden_bias: (H,),
    output: (H,) weights; bias: of the result, such that 0 is the chosen threshold.
    """

    mean: Floats
    scale: Floats
    hidden: Floats
    hidden_bias: Floats
    output: Floats
    bias: float

    @classmethod
    def read(cls, path: Path) -> "Domain":
        """The classifier in a file; SegmenterError when it holds none."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            arrays = {
                name: np.array(values[name], np.float32)
                for name in ("mean", "scale", "hidden", "hidden_bias", "output")
            }
            domain = cls(**arrays, bias=float(values["bias"]))
            if domain.mean.shape != (MEASURES,):
                raise ValueError(f"it is made for {domain.mean.size} measures, not {MEASURES}")
            units = domain.hidden_bias.shape
            shapes = [domain.scale.shape, domain.hidden.shape, domain.output.shape]
            if shapes != [(MEASURES,), (*units, MEASURES), units]:
                raise ValueError(f"its arrays of {shapes} do not fit together")
            if not (np.isfinite(domain._sum()) and domain.scale.all()):
                raise ValueError("it has numbers that are not finite, or a scale of 0")
            return domain
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SegmenterError(
                f"{path} holds no domain of a checkpoint ({error}): copy "
                "or download the checkpoint again"
            ) from error

    def _sum(self) -> float:
        """The sum of all numbers, which is finite if they are."""
        arrays = (self.mean, self.scale, self.hidden, self.hidden_bias, self.output)
        return self.bias + sum(float(array.sum()) for array in arrays)

    def reason(self, image: Pixels, name: str) -> str | None:
        """Why the checkpoint of this name cannot judge an (H, W, 3) uint8 image; None if it can."""
        return OUTSIDE.format(name=name) if self.photo_score(image) > 0 else None

    def photo_score(self, image: Pixels) -> float:
        """How much an (H, W, 3) uint8 image looks like a photo; above 0 it is taken for one."""
        normed = (measures(image) - self.mean) / self.scale
        return float(np.tanh(self.hidden @ normed + self.hidden_bias) @ self.output + self.bias)


def measures(image: Pixels) -> Floats:
    """(MEASURES,) numbers that separate photos from scenes, of an (H, W, 3) uint8 image."""
    # skipping pixels first keeps this at milliseconds for images of any size
    step = max(1, max(image.shape[:2]) // FINE_SIDE)
    fine = _copy(Image.fromarray(np.ascontiguousarray(image[::step, ::step])), FINE_SIDE)
    small = _copy(fine, SIDE)
    pixels, fine_pixels = (np.asarray(one, np.float32) for one in (small, fine))
    return np.array(
        [
            *_contrast(pixels),
            *_colours(pixels),
            *_surroundings(pixels),
            *_contrast(fine_pixels),
        ],
        np.float32,
    )


def _copy(picture: Image.Image, side: int) -> Image.Image:
    """The picture with a longer side of at most, and a shorter one of at least 16 pixels."""
    scale = min(1.0, side / max(picture.size))
    width_height = (max(round(picture.width * scale), 16), max(round(picture.height * scale), 16))
    resampling = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return picture.resize(width_height, resampling)


def _contrast(small: Floats) -> list[float]:
    """How the steps between neighbouring pixels are spread: quantiles, and on how few they lie."""
    right = np.abs(np.diff(small, axis=1)).max(2)[:-1]
    down = np.abs(np.diff(small, axis=0)).max(2)[:, :-1]
    steps = np.sort(np.maximum(right, down), axis=None)
    quantiles = np.log1p(np.quantile(steps, (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)))
    tenth = steps[-(len(steps) // 10) :].sum() / (steps.sum() + 1)
    return [*quantiles, tenth, (steps >= 30).mean()]


def _colours(small: Floats) -> list[float]:
    """How many colours there are, how dull and how vivid; of 16 levels to a channel."""
    levels = (small / 16).astype(np.int64)
    keys = (levels * (256, 16, 1)).sum(2)
    shares = np.sort(np.bincount(keys.ravel(), minlength=4096) / keys.size)[::-1]
    used = shares[shares > 0]
    entropy = -(used * np.log(used)).sum()
    spread = small.max(2) - small.min(2)
    light = (small.max(2) + small.min(2)) / 2
    # the colours that backgrounds of scenes have: pale, or dark and dull
    quiet = ((light > 170) & (spread < 60)) | ((light < 75) & (spread < 45))
    return [
        entropy,
        shares[:3].sum(),
        np.log((shares > 0.0005).sum()),
        quiet.mean(),
        (spread > 110).mean(),
    ]


def _surroundings(small: Floats) -> list[float]:
    """The colour along the image's border, how even it is, and how much of the image has it."""
    sides = (small[:3], small[-3:], small[:, :3], small[:, -3:])
    border = np.concatenate([side.reshape(-1, 3) for side in sides])
    colour = np.median(border, axis=0)
    off = np.abs(border - colour).max(1)
    near = (np.abs(small - colour).max(2) < 40).mean()
    saturation = (colour.max() - colour.min()) / 255
    return [
        *np.log1p(np.quantile(off, (0.5, 0.8))),
        saturation,
        (colour.max() + colour.min()) / 510,
        near,
    ]
