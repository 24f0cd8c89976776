"""What all segmenters share: cached image features, cached candidates, and masks made of them.

A segmenter encodes an image once (`ImageCache`), runs its model once for a prompt, and keeps all
candidates that the model has for it. `detect` chooses among the candidates by threshold, makes the
masks of those, and drops duplicates (NMS); another threshold costs no further run of the model.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from sam3_agent.errors import PromptError
from sam3_agent.geometry import Size
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.lru import WeighedLRU
from sam3_agent.model.mask_decoding import FloatGrid, decode_mask, refuse_not_finite
from sam3_agent.rle import RLE, FloatArray, tight_boxes
from sam3_agent.segmenter import ConceptPrompt, Detection, Prompt, Selection, checked_concept

CANDIDATE_BYTES = 500_000_000
"""Memory that the candidates of one image's prompts may take; SAM 3's take 0.07 GB a prompt."""

MAX_PROMPTS = 1000
"""More prompts than this in one call are refused."""

F = TypeVar("F")


@dataclass(frozen=True, eq=False)
class Candidates:
    """All Q candidates that a model has for one prompt, before any of them is chosen.

    presence: the probability in 0..1 that the concept is in the image. scores: (Q,) in 0..1,
    without the presence. boxes: (Q, 4) x0 y0 x1 y1 in pixels. mask_logits: takes K indices and
    gives K arrays (h, w). nbytes: memory that all this takes. decoded: the masks at image size that
    were made so far, by index; None is one without pixels.
    """

    presence: float
    scores: FloatArray
    boxes: FloatArray
    mask_logits: Callable[[Sequence[int]], Iterable[FloatGrid]]
    nbytes: int
    decoded: dict[int, RLE | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises SegmenterError for numbers that are not finite: no mask would come of them."""
        refuse_not_finite("scores", np.float32(self.presence), self.scores)
        refuse_not_finite("boxes", self.boxes)


@dataclass(frozen=True, eq=False)
class Features(Generic[F]):
    """An encoded image: what the model made of it, and the candidates found with it so far.

    size: (height, width) of the image in pixels.
    """

    encoded: F
    size: Size
    candidates: WeighedLRU[Candidates]


Find: TypeAlias = Callable[
    [Features[F], list[ConceptPrompt]], Iterator[tuple[ConceptPrompt, Candidates]]
]
"""Runs a model on prompts: yields each with its candidates, as soon as they are there."""


class ImageCache(Generic[F]):
    """Keeps the features of the images used last, by the content of the image.

    max_bytes: memory that they may take together. nbytes: the memory of one. Not thread-safe: its
    user locks.
    """

    def __init__(self, max_bytes: float, nbytes: Callable[[F], float]) -> None:
        self._features: WeighedLRU[Features[F]] = WeighedLRU(
            max_bytes, lambda features: nbytes(features.encoded)
        )

    def get(self, image: Pixels, encode: Callable[[Pixels, str], F]) -> Features[F]:
        """The features of an (H, W, 3) uint8 image.

        encode: makes them, when they are not kept, from the image as one block of memory and a hash
        of its content.
        """
        size = (int(image.shape[0]), int(image.shape[1]))
        content = np.ascontiguousarray(image)
        key = hashlib.sha256(repr(size).encode() + content.tobytes()).hexdigest()
        features = self._features.get(key)
        if features is None:
            candidates = WeighedLRU[Candidates](CANDIDATE_BYTES, lambda one: one.nbytes)
            features = Features(encode(content, key), size, candidates)
            self._features.put(key, features)
        return features


def checked_concepts(prompts: Sequence[Prompt], size: Size) -> list[ConceptPrompt]:
    """Each prompt as `checked_concept` returns it for a (height, width) image.

    Raises PromptError for one that cannot be used, and for more than MAX_PROMPTS.
    """
    if len(prompts) > MAX_PROMPTS:
        raise PromptError(f"{len(prompts)} prompts in one call, the limit is {MAX_PROMPTS}")
    return [checked_concept(prompt, size) for prompt in prompts]


def detect(
    features: Features[F],
    prompts: Sequence[ConceptPrompt],
    selection: Selection,
    threshold: float,
    find: Find[F],
) -> list[Detection]:
    """One Detection per checked prompt; `find` runs on those whose candidates are not kept.

    threshold: the least score where the selection has none of its own.
    """
    found: dict[ConceptPrompt, Detection] = {}
    missing = []
    for prompt in dict.fromkeys(prompts):
        candidates = features.candidates.get(prompt)
        if candidates is None:
            missing.append(prompt)
        else:
            found[prompt] = _select(prompt, candidates, features.size, selection, threshold)
    for prompt, candidates in find(features, missing):
        features.candidates.put(prompt, candidates)
        found[prompt] = _select(prompt, candidates, features.size, selection, threshold)
    return [found[prompt] for prompt in prompts]


def _select(
    prompt: ConceptPrompt,
    candidates: Candidates,
    size: Size,
    selection: Selection,
    threshold: float,
) -> Detection:
    """What the selection leaves of the candidates, as masks at image size, best first."""
    least = threshold if selection.threshold is None else selection.threshold
    scores = candidates.scores * (candidates.presence if selection.presence else 1.0)
    order = np.argsort(-scores, kind="stable")
    above: list[int] = order[scores[order] >= least].tolist()
    decoded = candidates.decoded
    new = [i for i in above if i not in decoded]
    if new:
        for i, logits in zip(new, candidates.mask_logits(new), strict=True):
            decoded[i] = decode_mask(logits, size)
    chosen = [(i, rle) for i in above if (rle := decoded[i]) is not None]
    rows, rles = [i for i, _ in chosen], tuple(rle for _, rle in chosen)
    boxes = _boxes_inside(candidates.boxes[rows], rles, size)
    masks = Masks(size, boxes, scores[rows], (prompt.label,) * len(rows), rles)
    kept = masks.nms(selection.measure, selection.limit)
    return Detection(prompt, candidates.presence, kept)


def _boxes_inside(boxes: FloatArray, rles: Sequence[RLE], size: Size) -> FloatArray:
    """The boxes (N, 4); tight ones of their masks for those that lie outside the image.

    A box has its centre in the image, but rounded to half precision it can leave it at the edge.
    """
    height, width = size
    outside = (boxes[:, 2:] <= 0).any(axis=1) | (boxes[:, :2] >= (width, height)).any(axis=1)
    inside = boxes.copy()
    inside[outside] = tight_boxes([rles[i] for i in np.flatnonzero(outside).tolist()])
    return inside


def object_masks(logits: FloatGrid, score: float, size: Size) -> Masks:
    """The mask of one object from its (h, w) logits, at image size; empty when it has no pixels."""
    refuse_not_finite("scores", np.float32(score))
    rle = decode_mask(logits, size)
    if rle is None:
        return Masks.empty(size)
    scores = np.array([score], np.float32)
    return Masks(size, tight_boxes([rle]), scores, ("this object",), (rle,))
