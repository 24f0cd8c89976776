"""A segmenter with open weights: Grounding DINO finds what a phrase names, SAM 2 draws the masks.

For people who are refused SAM 3's licence. All weights in `NAMED` are on the Hugging Face hub
without a gate.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sam3_agent.errors import PromptError, SegmenterError
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.checkpoints import weights_digest
from sam3_agent.model.devices import best_device, memory_error
from sam3_agent.model.grounding_dino import GroundingDino, View
from sam3_agent.model.lru import WeighedLRU
from sam3_agent.model.mask_decoding import decode_mask
from sam3_agent.model.sam2 import Sam2
from sam3_agent.model.sam3 import MAX_PROMPTS
from sam3_agent.rle import RLE, FloatArray, tight_boxes
from sam3_agent.segmenter import (
    STANDARD,
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    Prompt,
    Selection,
    checked_concept,
    checked_object,
)

PREFIX = "open:"

NAMED = {
    "tiny": ("IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"),
    "base": ("IDEA-Research/grounding-dino-base", "facebook/sam2.1-hiera-large"),
}
"""Detector and SAM 2 of the names after `open:`."""

THRESHOLD = 0.3
"""The least score of a box in Grounding DINO's own demo (IDEA-Research/GroundingDINO)."""

IMAGE_BYTES = 1_000_000_000
"""Memory that the features of encoded images may take; one takes 0.07 GB at full size."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """All Q boxes that the detector has for one phrase, before any of them is chosen.

    scores: (Q,) in 0..1. boxes: (Q, 4) x0 y0 x1 y1 in pixels, clipped to the image. decoded: the
    masks at image size that were made so far; None is one without pixels.
    """

    scores: FloatArray
    boxes: FloatArray
    decoded: dict[int, RLE | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Features:
    """An encoded image: what both models keep of it, and the candidates found with it so far.

    size: (height, width) of the image.
    """

    view: View
    maps: list[Any]
    size: tuple[int, int]
    candidates: WeighedLRU[Candidates]


class OpenVocabularySegmenter:
    """The Segmenter `open:tiny`, `open:base` or `open:DETECTOR+SAM2` (folders or hub ids).

    Image encoders run once for an image; the detector's transformer runs once for each phrase, and
    SAM 2's small mask decoder for the boxes that are kept. Both models run in float32.

    It takes phrases, clicks and boxes of one object; no exemplars. Detection.presence is the best
    score of any box, as a stand-in: the detector has no presence head. So Selection.presence
    changes nothing here.

    device: a torch device; by default CUDA or MPS where there is one, else the CPU.
    threshold: the least score of a mask that is kept. image_bytes: memory for the features of
    encoded images; an image is not encoded twice.

    encoded: how often the image encoders have run. Safe from several threads. Raises SegmenterError
    when a checkpoint cannot be loaded.
    """

    prompts = frozenset({"clicks"})
    """What it takes besides phrases."""

    def __init__(
        self,
        name: str = "open:tiny",
        *,
        device: str | None = None,
        threshold: float = THRESHOLD,
        image_bytes: float = IMAGE_BYTES,
    ) -> None:
        detector, sam2 = checkpoint_places(name)
        self.name = name
        self.device = device or best_device()
        self.threshold = threshold
        self.encoded = 0
        self._detector = GroundingDino(detector, self.device)
        self._sam2 = Sam2(sam2, self.device)
        self._images: WeighedLRU[Features] = WeighedLRU(image_bytes, _feature_bytes)
        self._lock = threading.RLock()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its masks; see `segmenter.settings_of`."""
        return {
            "weights": weights_digest(self._detector.model, self._sam2.model),
            "device": self.device,
            "dtype": "float32",
            "threshold": self.threshold,
        }

    def encode(self, image: Pixels) -> Features:
        """Run both image encoders, unless this image was encoded before; (H, W, 3) uint8 in."""
        size = (int(image.shape[0]), int(image.shape[1]))
        content = np.ascontiguousarray(image)
        key = hashlib.sha256(repr(size).encode() + content.tobytes()).hexdigest()
        with self._lock:
            features = self._images.get(key)
            if features is None:
                self.encoded += 1
                with self._inference():
                    view, maps = self._detector.look(content), self._sam2.look(content)
                features = Features(view, maps, size, WeighedLRU(MAX_PROMPTS))
                self._images.put(key, features)
            return features

    def detect(
        self, features: Features, prompts: Sequence[Prompt], selection: Selection = STANDARD
    ) -> list[Detection]:
        """One Detection per phrase; a phrase that was asked before costs no pass of the detector.

        Raises PromptError for exemplars.
        """
        if len(prompts) > MAX_PROMPTS:
            raise PromptError(f"{len(prompts)} prompts in one call, the limit is {MAX_PROMPTS}")
        checked = [checked_concept(prompt, features.size) for prompt in prompts]
        for prompt in checked:
            if prompt.positive or prompt.negative:
                raise PromptError(
                    f"{self.name} takes phrases, and clicks or a box for one object, but no "
                    "exemplars; facebook/sam3 and tiny take exemplars"
                )
            self._detector.tokens(prompt.phrase)
        with self._lock, self._inference():
            found = {
                prompt: self._selected(features, prompt, selection)
                for prompt in dict.fromkeys(checked)
            }
        return [found[prompt] for prompt in checked]

    def segment_at(self, features: Features, prompt: ObjectPrompt) -> Masks:
        """The one object at a place: one mask, or none."""
        prompt = checked_object(prompt, features.size)
        with self._lock, self._inference():
            logits, score = self._sam2.object_to_mask(features.maps, features.size, prompt)
        rle = decode_mask(logits, features.size)
        if rle is None:
            return Masks.empty(features.size)
        scores = np.array([score], np.float32)
        return Masks(features.size, tight_boxes([rle]), scores, ("this object",), (rle,))

    def _candidates(self, features: Features, phrase: str) -> Candidates:
        known = features.candidates.get(phrase)
        if known is None:
            height, width = features.size
            scores, boxes = self._detector.find(features.view, phrase)
            scale = np.array([width, height, width, height], np.float32)
            known = Candidates(scores, (boxes * scale).clip(0, scale))
            features.candidates.put(phrase, known)
        return known

    def _selected(
        self, features: Features, prompt: ConceptPrompt, selection: Selection
    ) -> Detection:
        """What the selection leaves of the candidates, as masks at image size, best first."""
        candidates = self._candidates(features, prompt.phrase)
        least = self.threshold if selection.threshold is None else selection.threshold
        scores, boxes, decoded = candidates.scores, candidates.boxes, candidates.decoded
        area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        order = np.argsort(-scores, kind="stable")
        order = order[(scores[order] >= least) & area[order]]
        new = [int(i) for i in order if int(i) not in decoded]
        if new:
            masks = self._sam2.boxes_to_masks(features.maps, features.size, boxes[new])
            for i, logits in zip(new, masks, strict=True):
                decoded[i] = decode_mask(logits, features.size)
        chosen = [int(i) for i in order if decoded[int(i)] is not None]
        rles = tuple(rle for i in chosen if (rle := decoded[i]) is not None)
        labels = (prompt.label,) * len(rles)
        found = Masks(features.size, boxes[chosen], scores[chosen], labels, rles)
        kept = found.nms(selection.measure, selection.limit)
        return Detection(prompt, float(scores.max(initial=0.0)), kept)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Without gradients; a lack of memory becomes a SegmenterError."""
        import torch

        try:
            with torch.inference_mode():
                yield
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise memory_error(error, self.device, self.name) from error


def checkpoint_places(name: str) -> tuple[str, str]:
    """Detector and SAM 2 of an `open:` name; raises SegmenterError for one that is neither."""
    what = name.removeprefix(PREFIX)
    if what in NAMED:
        return NAMED[what]
    detector, _, sam2 = what.partition("+")
    if not detector or not sam2:
        names = ", ".join(PREFIX + known for known in NAMED)
        raise SegmenterError(
            f"there is no segmenter {name!r}; choose {names}, or {PREFIX}DETECTOR+SAM2 with hub "
            "ids or folders of a Grounding DINO and a SAM 2 checkpoint"
        )
    return detector, sam2


def _feature_bytes(features: Features) -> float:
    tensors = [*features.view.tensors, *features.maps]
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
