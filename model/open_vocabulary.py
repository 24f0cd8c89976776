"""A segmenter with open weights: Grounding DINO finds what a phrase names, SAM 2 draws the masks.

For people who do not get SAM 3's weights: those in `NAMED` can be downloaded without a licence.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sam3_agent.errors import InputError, PromptError
from sam3_agent.fork_safety import fork_safe_lock
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.checkpoints import weights_digest
from sam3_agent.model.detection import (
    Candidates,
    Features,
    ImageCache,
    checked_concepts,
    detect,
    object_masks,
)
from sam3_agent.model.devices import best_device, memory_error
from sam3_agent.model.grounding_dino import DetectorFeatures, GroundingDino
from sam3_agent.model.mask_decoding import FloatGrid, refuse_not_finite
from sam3_agent.model.sam2 import Sam2
from sam3_agent.rle import FloatArray
from sam3_agent.segmenter import (
    STANDARD,
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    Prompt,
    Selection,
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
class Encoded:
    """An image as both models encoded it. maps: the feature maps of SAM 2, finest first."""

    detector: DetectorFeatures
    maps: list[Any]


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

    detector, sam2: the two models. encoded: how often the image encoders have run. Safe from
    several threads. Raises SegmenterError when a checkpoint cannot be loaded.
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
        self.name = PREFIX + name.removeprefix(PREFIX)
        detector, sam2 = checkpoint_sources(self.name)
        self.device = device or best_device()
        self.threshold = threshold
        self.encoded = 0
        self.detector = GroundingDino(detector, self.device)
        self.sam2 = Sam2(sam2, self.device)
        self._images: ImageCache[Encoded] = ImageCache(image_bytes, _encoded_bytes)
        self._lock = fork_safe_lock()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its masks; see `SegmenterDefaults`."""
        return {
            "weights": weights_digest(self.detector.model, self.sam2.model),
            "device": self.device,
            "dtype": "float32",
            "threshold": self.threshold,
        }

    def encode(self, image: Pixels) -> Features[Encoded]:
        """Run both image encoders, unless this image was encoded before; (H, W, 3) uint8 in."""
        with self._lock:
            return self._images.get(image, self._encode)

    def detect(
        self,
        features: Features[Encoded],
        prompts: Sequence[Prompt],
        selection: Selection = STANDARD,
    ) -> list[Detection]:
        """One Detection per phrase; a phrase that was asked before costs no pass of the detector.

        Raises PromptError for exemplars.
        """
        checked = checked_concepts(prompts, features.size)
        for prompt in checked:
            if prompt.positive or prompt.negative:
                raise PromptError(
                    f"{self.name} takes phrases, and clicks or a box for one object, but no "
                    "exemplars; facebook/sam3 and tiny take exemplars"
                )
            self.detector.tokens(prompt.phrase)
        selection = replace(selection, presence=False)  # it is the best score, and no factor
        with self._lock, self._inference():
            return detect(features, checked, selection, self.threshold, self._find)

    def segment_at(self, features: Features[Encoded], prompt: ObjectPrompt) -> Masks:
        """The one object at a place: one mask, or none."""
        prompt = checked_object(prompt, features.size)
        with self._lock, self._inference():
            maps = features.encoded.maps
            logits, score = self.sam2.object_to_mask(maps, features.size, prompt)
        return object_masks(logits, score, features.size)

    def _encode(self, image: Pixels, _key: str) -> Encoded:
        self.encoded += 1
        with self._inference():
            encoded = Encoded(self.detector.encode(image), self.sam2.encode(image))
            maps = [level for level, _ in encoded.detector.maps]
            refuse_not_finite("features", *maps, *encoded.maps)
        return encoded

    def _find(
        self, features: Features[Encoded], prompts: list[ConceptPrompt]
    ) -> Iterator[tuple[ConceptPrompt, Candidates]]:
        """The candidates of each prompt: boxes with an area, clipped to the image."""
        height, width = features.size
        scale = np.array([width, height, width, height], np.float32)
        for prompt in prompts:
            scores, boxes = self.detector.find(features.encoded.detector, prompt.phrase)
            refuse_not_finite("boxes", boxes)  # below they would be taken for ones without area
            presence = float(scores.max(initial=0.0))
            boxes = (boxes * scale).clip(0, scale)
            area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            yield prompt, self._candidates(features, presence, scores[area], boxes[area])

    def _candidates(
        self, features: Features[Encoded], presence: float, scores: FloatArray, boxes: FloatArray
    ) -> Candidates:
        """The candidates of one prompt; SAM 2 draws the masks of those that are chosen."""
        maps, size = features.encoded.maps, features.size

        def mask_logits(chosen: Sequence[int]) -> FloatGrid:
            return self.sam2.boxes_to_masks(maps, size, boxes[list(chosen)])

        return Candidates(presence, scores, boxes, mask_logits, scores.nbytes + boxes.nbytes)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Without gradients; a lack of memory becomes a SegmenterError."""
        import torch

        try:
            with torch.inference_mode():
                yield
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise memory_error(error, self.device, self.name) from error


def checkpoint_sources(name: str) -> tuple[str, str]:
    """Detector and SAM 2 of an `open:` name; raises InputError for a name that there is not."""
    what = name.removeprefix(PREFIX)
    if what in NAMED:
        return NAMED[what]
    detector, _, sam2 = what.partition("+")
    if not detector or not sam2:
        names = ", ".join(PREFIX + known for known in NAMED)
        raise InputError(
            f"there is no segmenter {name!r}; choose {names}, or {PREFIX}DETECTOR+SAM2 with hub "
            "ids or folders of a Grounding DINO and a SAM 2 checkpoint"
        )
    return detector, sam2


def _encoded_bytes(encoded: Encoded) -> float:
    tensors = [*encoded.detector.tensors, *encoded.maps]
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))
