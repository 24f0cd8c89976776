"""A scene: one image, and every mask that was ever found or made in it."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from sam3_agent.errors import PromptError
from sam3_agent.findings import Edit, Finding
from sam3_agent.geometry import Box, Region, Size
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.segmenter import (
    STANDARD,
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    Prompt,
    Segmenter,
    Selection,
    checked_box,
    checked_concept,
    vocabulary_of,
)
from sam3_agent.segmenter_output import checked_detections, checked_masks, segmenter_output
from sam3_agent.tiling import merged_tiles, tiles
from sam3_agent.vocabulary import Vocabulary

SAME_MASK_IOU = 0.85
"""Two masks that overlap at least this much are one object and share one number."""

T = TypeVar("T")


class Scene:
    """Keeps one image and its masks, numbered from 1 for good; an answer may mix those of prompts.

    The image is encoded once, on first need; a prompt that was run before costs nothing.

    image: (H, W, 3) uint8. masks: all that were ever there, number n at index n - 1. dropped: the
    numbers that were taken out; they may still be used. history: every finding and edit, in order.
    segmenter_seconds: wall time spent in the segmenter.
    """

    def __init__(self, image: Pixels, segmenter: Segmenter) -> None:
        self.image = image
        self.masks = Masks.empty(self.size)
        self.dropped: frozenset[int] = frozenset()
        self.history: tuple[Finding | Edit, ...] = ()
        self.segmenter_seconds = 0.0
        self._segmenter = segmenter
        self._features: dict[Region, Any] = {}
        self._findings: dict[Any, Finding] = {}
        self._last_found: tuple[int, ...] = ()

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        return self.height, self.width

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.image.shape[1])

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The nouns that can be found, each with its attributes; None for any noun."""
        return vocabulary_of(self._segmenter)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What each prompt so far found, in order."""
        return tuple(self._findings.values())

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all masks that are not dropped."""
        return self.kept(range(1, len(self.masks) + 1))

    @property
    def last_found(self) -> tuple[int, ...]:
        """The numbers of the last finding with any mask, and of the masks made from them since."""
        return self.kept(self._last_found)

    def kept(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Those of the numbers that are not dropped."""
        return tuple(number for number in numbers if number not in self.dropped)

    def segment(
        self,
        prompts: Sequence[Prompt],
        *,
        selection: Selection = STANDARD,
        region: Box | None = None,
        tiled: bool = False,
    ) -> list[Finding]:
        """Segment every instance of each concept; one Finding per prompt, in order.

        A prompt is a phrase, or a ConceptPrompt with exemplars. region: search only there, at full
        resolution. tiled: search overlapping tiles at full resolution, for many small things in a
        large image. A mask that an earlier prompt found already keeps its number. Raises
        PromptError and SegmenterError; then nothing is added.
        """
        wanted = [checked_concept(prompt, self.size) for prompt in prompts]
        place = self.window(region)
        keys = [(prompt, selection, place, tiled) for prompt in wanted]
        missing = list(dict.fromkeys(key for key in keys if key not in self._findings))
        if missing:
            new = [key[0] for key in missing]
            windows = tiles(place) if tiled else [place]
            # all that is missing in one call, so that a segmenter can batch it; scene and cache are
            # changed only after it has succeeded
            found = self._timed(lambda: self._detect(new, selection, windows))
            for key, one in zip(missing, found, strict=True):
                self._findings[key] = self._finding(one.prompt.label, one.presence, one.masks)
        return self._noted([self._findings[key] for key in keys])

    def segment_at(self, prompt: ObjectPrompt) -> Finding:
        """Segment the one object at a place; raises PromptError and SegmenterError as `segment`."""
        if prompt not in self._findings:
            features = self._timed(lambda: self._encoded(self.window()))
            with segmenter_output(self._segmenter):
                masks = self._timed(lambda: self._segmenter.segment_at(features, prompt))
            masks = checked_masks(self._segmenter, masks, self.size)
            presence = float(masks.scores.max(initial=0.0))
            self._findings[prompt] = self._finding("this object", presence, masks)
        return self._noted([self._findings[prompt]])[0]

    def begin_question(self) -> None:
        """Start another question: what was found for the one before is no longer the last."""
        self._last_found = ()

    def adopt(self, other: "Scene") -> None:
        """Replace all masks and findings with those of another scene of the same image.

        Answers that hold masks of this scene keep them.
        """
        self.masks, self.dropped, self.history = other.masks, other.dropped, other.history
        self._findings, self._last_found = other._findings, other._last_found

    def forget_features(self) -> None:
        """Free the encoded image until the next prompt; masks and findings stay."""
        self._features.clear()

    def select(self, numbers: Sequence[int]) -> Masks:
        """The masks with these numbers, in that order."""
        return self.masks[[number - 1 for number in numbers]]

    def window(self, region: Box | None = None) -> Region:
        """The whole pixels of a region, or of the image; PromptError for less than 2x2 pixels."""
        if region is None:
            return (0, 0, self.width, self.height)
        return checked_region(region, self.size)

    def drop(self, numbers: Sequence[int]) -> None:
        """Take masks out; they keep their numbers and can be restored."""
        self.dropped |= set(numbers)
        self.history += (Edit("drop", tuple(numbers)),)

    def restore(self, numbers: Sequence[int]) -> None:
        """Take masks back in that were dropped."""
        self.dropped -= set(numbers)
        self.history += (Edit("restore", tuple(numbers)),)

    def merge(self, numbers: Sequence[int]) -> int:
        """Make one mask of several, which are dropped; its number."""
        return self._replace("merge", numbers, self.select(numbers).union(), numbers)

    def subtract(self, number: int, others: Sequence[int]) -> int:
        """Make a mask without the pixels of others; it replaces the first, which is dropped.

        Returns its number. Raises PromptError when that would change or leave nothing.
        """
        whole = self.select([number])
        left = whole.subtract(self.select(others))
        listed = ", ".join(map(str, others))
        if not left.areas()[0]:
            raise PromptError(f"nothing of mask {number} is left without {listed}; drop it instead")
        if left.areas()[0] == whole.areas()[0]:
            raise PromptError(f"mask {number} has no pixel in common with {listed}")
        return self._replace("subtract", (number, *others), left, [number])

    def _replace(
        self,
        action: Literal["merge", "subtract"],
        numbers: Sequence[int],
        mask: Masks,
        replaced: Sequence[int],
    ) -> int:
        """Add a mask made from others in their place; its number."""
        self.masks = Masks.concatenate([self.masks, mask])
        number = len(self.masks)
        self.dropped |= set(replaced)
        self.history += (Edit(action, tuple(numbers), number),)
        if not set(replaced).isdisjoint(self._last_found):
            self._last_found += (number,)
        return number

    def _detect(
        self, prompts: list[ConceptPrompt], selection: Selection, windows: list[Region]
    ) -> list[Detection]:
        """What each prompt finds in all windows together, as masks of the whole image."""
        parts: list[list[Detection]] = [[] for _ in prompts]
        # by window and not by prompt, so that each part of the image is encoded once
        for window in windows:
            inside = [_inside(prompt, window) for prompt in prompts]
            with segmenter_output(self._segmenter):
                found = self._segmenter.detect(self._encoded(window), inside, selection)
            for i, one in enumerate(checked_detections(self._segmenter, found, len(prompts))):
                size = (window[3] - window[1], window[2] - window[0])
                masks = checked_masks(self._segmenter, one.masks, size)
                masks = masks if size == self.size else masks.paste(window[:2], self.size)
                parts[i].append(Detection(prompts[i], one.presence, masks))
        return [
            Detection(
                prompt,
                max(one.presence for one in found),
                merged_tiles([one.masks for one in found], windows),
            )
            for prompt, found in zip(prompts, parts, strict=True)
        ]

    def _encoded(self, window: Region) -> Any:
        """The features of a part of the image, encoded on first need."""
        if window not in self._features:
            x0, y0, x1, y1 = window
            self._features[window] = self._segmenter.encode(self.image[y0:y1, x0:x1])
        return self._features[window]

    def _timed(self, work: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.segmenter_seconds += time.perf_counter() - began

    def _noted(self, findings: list[Finding]) -> list[Finding]:
        numbers = tuple(dict.fromkeys(n for finding in findings for n in finding.numbers))
        self._last_found = numbers or self._last_found
        return findings

    def _finding(self, phrase: str, presence: float, masks: Masks) -> Finding:
        """Number the masks that a new prompt found; the finding goes into the history."""
        known = len(self.masks)
        numbers = self._number(masks)
        fresh = tuple(number for number in numbers if number > known)
        finding = Finding(phrase, presence, numbers, fresh)
        self.history += (finding,)
        return finding

    def _number(self, found: Masks) -> tuple[int, ...]:
        """Add the masks that are new to the scene; the numbers of all of `found`.

        A mask that equals a known one gets the number of the known one that it overlaps most.
        """
        known = len(self.masks)
        # only with earlier masks: those of one prompt are different objects to the segmenter
        overlap = found.overlap(self.masks)
        numbers, new = [], []
        for i in range(len(found)):
            # IoU and not containment: a wheel lies in its car and is another object
            if known and overlap[i].max() >= SAME_MASK_IOU:
                numbers.append(int(overlap[i].argmax()) + 1)
            else:
                new.append(i)
                numbers.append(known + len(new))
        if new:
            self.masks = Masks.concatenate([self.masks, found[new]])
        # two masks of one prompt may equal the same known one
        return tuple(dict.fromkeys(numbers))


def checked_region(region: Box, size: Size) -> Region:
    """The whole pixels of a region; raises PromptError for one outside or below 2x2 pixels."""
    x0, y0, x1, y1 = checked_box(region, size)
    window = (int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1)))
    if window[2] - window[0] < 2 or window[3] - window[1] < 2:
        raise PromptError(f"the region {list(region)} is smaller than 2x2 pixels")
    return window


def _inside(prompt: ConceptPrompt, window: Region) -> ConceptPrompt:
    """A prompt whose exemplars are in the pixels of a window, without those outside it."""
    if not prompt.positive and not prompt.negative:
        return prompt
    x0, y0, x1, y1 = window

    def moved(boxes: tuple[Box, ...]) -> tuple[Box, ...]:
        return tuple(
            (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0)
            for box in boxes
            if box[0] < x1 and box[2] > x0 and box[1] < y1 and box[3] > y0
        )

    return ConceptPrompt(prompt.phrase, moved(prompt.positive), moved(prompt.negative))
