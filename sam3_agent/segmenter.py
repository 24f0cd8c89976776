"""The seam to the eye: what the agent needs of a segmentation model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sam3_agent.images import Pixels
from sam3_agent.masks import Masks


@dataclass(frozen=True)
class Detection:
    """What one concept prompt found in an image.

    presence: the probability in 0..1 that the concept is in the image at all.
    masks: the instances whose score (query score x presence score) reached the threshold,
        best first.
    """

    phrase: str
    presence: float
    masks: Masks


class Segmenter(Protocol):
    """An image is encoded once; concept prompts are then answered from its features."""

    @property
    def name(self) -> str:
        """The name under which `load.segmenter` finds it."""

    def encode(self, image: Pixels) -> Any:
        """The features of one (H, W, 3) uint8 image, opaque to everyone but the segmenter."""

    def detect(
        self, features: Any, phrases: Sequence[str], threshold: float | None = None
    ) -> list[Detection]:
        """One Detection per phrase, in order.

        `threshold` in 0..1 is the least score of a mask that is kept; None means the model's own.
        Raises PhraseError for a phrase that cannot be read, SegmenterError when the model fails.
        """
