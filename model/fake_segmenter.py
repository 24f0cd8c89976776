"""A fake segmenter that finds what was placed in it, for tests and demonstrations."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sam3_agent.errors import PromptError, SegmenterError
from sam3_agent.geometry import Size
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.rle import encode_crop
from sam3_agent.segmenter import (
    STANDARD,
    Detection,
    ObjectPrompt,
    Prompt,
    Selection,
    checked_concept,
    checked_object,
)
from sam3_agent.vocabulary import Vocabulary


class FakeSegmenter:
    """Finds what was placed, without a model: `FakeSegmenter({"dog": [(10, 20, 60, 50)]})`.

    things: concept phrase -> N boxes (x0, y0, x1, y1) in pixels, filled as masks, or an (N, H, W)
        bool array of masks. A thing answers to every phrase that it is placed under; a phrase that
        is not here is found nowhere.
    scores: concept phrase -> N scores in 0..1; 0.9 by default.
    threshold: the least score of a mask that is kept, as in SAM 3.
    max_words: a longer phrase raises PromptError.
    vocabulary: the nouns that it declares, each with its attributes; None for any.

    encoded: how many images were encoded. asked: every phrase that was asked, in order.
    """

    name = "placed"

    def __init__(
        self,
        things: Mapping[str, Sequence[Sequence[float]] | npt.NDArray[np.bool_]],
        scores: Mapping[str, Sequence[float]] | None = None,
        *,
        threshold: float = 0.5,
        max_words: int = 24,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.things = dict(things)
        self.scores = dict(scores or {})
        self.threshold = threshold
        self.max_words = max_words
        self.vocabulary = vocabulary
        self.encoded = 0
        self.asked: list[str] = []

    def encode(self, image: Pixels) -> Size:
        """The (height, width) of an (H, W, 3) uint8 image: all that this segmenter needs of it."""
        self.encoded += 1
        return int(image.shape[0]), int(image.shape[1])

    def detect(
        self, features: Size, prompts: Sequence[Prompt], selection: Selection = STANDARD
    ) -> list[Detection]:
        """One Detection per prompt; SegmenterError when a thing does not fit the image.

        Exemplars find what is placed under the phrase of the thing that they overlap most.
        """
        checked = [checked_concept(prompt, features) for prompt in prompts]
        for prompt in checked:
            if len(prompt.phrase.split()) > self.max_words:
                raise PromptError(
                    f"the phrase {prompt.phrase!r} does not have 1 to {self.max_words} words"
                )
        self.asked.extend(prompt.label for prompt in checked)
        least = self.threshold if selection.threshold is None else selection.threshold
        out = []
        for prompt in checked:
            phrase = prompt.phrase or self._phrase_at(features, prompt.positive[0])
            presence, masks = self._found(features, phrase, least)
            out.append(Detection(prompt, presence, masks))
        return out

    def segment_at(self, features: Size, prompt: ObjectPrompt) -> Masks:
        """The smallest thing under the first point, or the one that the box overlaps most."""
        prompt = checked_object(prompt, features)
        if prompt.box is not None:
            box = prompt.box
        else:
            x, y = prompt.inside[0]
            box = (x, y, x + 1, y + 1)
        _, masks = self._found(features, self._phrase_at(features, box), 0.0)
        if not len(masks):
            return masks
        overlap = masks.overlap(_filled([box], features), "iou")[:, 0]
        return masks[[int(overlap.argmax())]] if overlap.max() > 0 else Masks.empty(features)

    def _phrase_at(self, size: Size, box: Sequence[float]) -> str:
        """The phrase of the thing that a box overlaps most; "" when it overlaps none."""
        target = _filled([box], size)
        best, name = 0.0, ""
        for phrase, placed in self.things.items():
            overlap = _filled(placed, size).overlap(target) if len(placed) else np.zeros(1)
            if overlap.max() > best:
                best, name = float(overlap.max()), phrase
        return name

    def _found(self, size: Size, phrase: str, threshold: float) -> tuple[float, Masks]:
        """The presence score and the masks of a phrase, best first."""
        placed = self.things.get(phrase, ())
        masks = _filled(placed, size) if len(placed) else Masks.empty(size)
        scores = np.array(self.scores.get(phrase, [0.9] * len(placed)), np.float32)
        masks = Masks(size, masks.boxes, scores, (phrase,) * len(masks), masks.rles)
        best_first = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] >= threshold]
        return float(scores.max(initial=0.02)), masks[best_first]


def _filled(placed: Sequence[Sequence[float]] | npt.NDArray[np.bool_], size: Size) -> Masks:
    """The masks of boxes, or of an (N, H, W) array."""
    height, width = size
    if isinstance(placed, np.ndarray) and placed.ndim == 3:
        if placed.shape[1:] != size:
            raise SegmenterError(f"the masks placed are {placed.shape[1:]}, the image is {size}")
        return Masks.from_dense(placed.astype(np.bool_))
    boxes = np.array(placed, np.float32).reshape(-1, 4)
    if not (boxes >= 0).all() or not (boxes <= [width, height, width, height]).all():
        raise SegmenterError(f"a box placed is outside the image of {width}x{height}")
    rles = []
    for x0, y0, x1, y1 in boxes.round().astype(int):
        rles.append(encode_crop(np.ones((y1 - y0, x1 - x0), np.bool_), (x0, y0), size))
    return Masks(size, boxes, np.ones(len(boxes), np.float32), ("",) * len(boxes), tuple(rles))
