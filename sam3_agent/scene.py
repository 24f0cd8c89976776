"""A scene: one image under study, and every mask that was ever found in it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam3_agent.errors import PhraseError
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.segmenter import Segmenter

SAME_MASK_IOU = 0.85
"""Two masks that overlap at least this much are one object and share one number."""


@dataclass(frozen=True)
class Finding:
    """What a concept phrase found: the numbers of its masks, best first, and its presence score."""

    phrase: str
    presence: float
    numbers: tuple[int, ...]


class Scene:
    """One image; its masks are numbered from 1 for good, and an answer may mix those of any phrase.

    The image is encoded on first need and once; a phrase that was asked before costs nothing.
    """

    def __init__(self, image: Pixels, segmenter: Segmenter) -> None:
        self.image = image
        self.masks = Masks.empty((self.height, self.width))
        self.latest: tuple[int, ...] = ()
        self.segmenter_seconds = 0.0
        self._segmenter = segmenter
        self._features: Any = None
        self._findings: dict[tuple[str, float | None], Finding] = {}

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.image.shape[1])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was asked so far, in order."""
        return tuple(self._findings.values())

    def find(self, phrases: Sequence[str], threshold: float | None = None) -> list[Finding]:
        """Segment every instance of each concept phrase; one Finding per phrase, in order.

        A mask that an earlier phrase found already keeps its number. Raises PhraseError and
        SegmenterError as the segmenter does; then nothing is added.
        """
        wanted = [" ".join(phrase.split()) for phrase in phrases]
        if "" in wanted:
            raise PhraseError("a concept phrase is empty; give a noun phrase such as 'red car'")
        missing = [p for p in dict.fromkeys(wanted) if (p, threshold) not in self._findings]
        if missing:
            began = time.perf_counter()
            if self._features is None:
                self._features = self._segmenter.encode(self.image)
            detections = self._segmenter.detect(self._features, missing, threshold)
            self.segmenter_seconds += time.perf_counter() - began
            for found in detections:
                finding = Finding(found.phrase, found.presence, self._number(found.masks))
                self._findings[found.phrase, threshold] = finding
        findings = [self._findings[phrase, threshold] for phrase in wanted]
        numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
        self.latest = numbers or self.latest
        return findings

    def select(self, numbers: Sequence[int]) -> Masks:
        """The masks with these numbers, in that order."""
        return self.masks[[number - 1 for number in numbers]]

    def _number(self, found: Masks) -> tuple[int, ...]:
        """Add what is new to the scene; the numbers of all of `found`."""
        known = len(self.masks)
        overlap = found.overlap(self.masks)
        numbers, new = [], []
        for i in range(len(found)):
            if known and overlap[i].max() >= SAME_MASK_IOU:
                numbers.append(int(overlap[i].argmax()) + 1)
            else:
                new.append(i)
                numbers.append(known + len(new))
        if new:
            self.masks = Masks.concatenate([self.masks, found[np.array(new)]])
        return tuple(dict.fromkeys(numbers))
