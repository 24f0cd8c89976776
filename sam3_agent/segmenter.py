"""The segmenter protocol, its prompts and results, and what a segmenter declares about itself."""

import math
import unicodedata
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from sam3_agent.abilities import declared, refuse_unfit
from sam3_agent.errors import PromptError
from sam3_agent.geometry import Box, Point, Size
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks, Measure
from sam3_agent.sanitize import visible_words
from sam3_agent.vocabulary import Vocabulary


@dataclass(frozen=True)
class ConceptPrompt:
    """What to find every instance of: a noun phrase, exemplars of it in the image, or both.

    positive, negative: boxes around things that are and that are not instances.
    """

    phrase: str = ""
    positive: tuple[Box, ...] = ()
    negative: tuple[Box, ...] = ()

    @property
    def label(self) -> str:
        """What the masks of this prompt are called."""
        return self.phrase or "like the exemplars"


Prompt: TypeAlias = str | ConceptPrompt
"""A phrase alone may be given as text."""


@dataclass(frozen=True)
class ObjectPrompt:
    """Where one object is: clicks on it, clicks beside it, a box around it."""

    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class Selection:
    """Which of a model's candidates become masks.

    threshold: the least score in 0..1; None means the model's own.
    presence: whether the score is query score x presence score, or the query score alone.
    measure, limit: of two masks of one prompt that overlap more than this, the better one stays.
        IoU above 0.5 is the same instance found twice, while one true instance inside another has
        a low IoU and stays.
    """

    threshold: float | None = None
    presence: bool = True
    measure: Measure = "iou"
    limit: float = 0.5


STANDARD = Selection()
"""What the model's authors use: scores with presence, the model's own threshold."""

COUNTING = Selection(threshold=0.5, presence=False, measure="iom", limit=0.5)
"""The counting recipe of the SAM 3 paper (arXiv 2511.16719): presence off, IoM-NMS at 0.5."""


@dataclass(frozen=True)
class Detection:
    """What one concept prompt found in an image.

    presence: the probability in 0..1 that the concept is in the image at all.
    masks: the instances that the selection kept, best first.
    """

    prompt: ConceptPrompt
    presence: float
    masks: Masks

    @property
    def phrase(self) -> str:
        """What the masks are called."""
        return self.prompt.label


class Segmenter(Protocol):
    """Encodes an image once, and then answers prompts from its features.

    Beside these a segmenter may declare what is in `SegmenterDefaults`.
    """

    @property
    def name(self) -> str:
        """The name under which `registry.segmenter` finds it."""
        ...

    def encode(self, image: Pixels) -> Any:
        """The features of one (H, W, 3) uint8 image, opaque to everyone but the segmenter."""
        ...

    def detect(
        self, features: Any, prompts: Sequence[Prompt], selection: Selection = STANDARD
    ) -> list[Detection]:
        """One Detection per prompt, in order.

        Raises PromptError for a prompt that cannot be read, before anything runs, and
        SegmenterError when the model fails.
        """
        ...

    def segment_at(self, features: Any, prompt: ObjectPrompt) -> Masks:
        """The one object at a place: one mask, or none.

        Raises PromptError for a place outside the image, and SegmenterError when the model takes
        no clicks.
        """
        ...


class SegmenterDefaults:
    """Optional attributes of a segmenter, with what holds for a class that does not declare them.

    prompts: what it takes besides phrases; a planner is offered no tool for what it does not take.
    threshold: the least score in 0..1 of a mask when a selection gives none.
    vocabulary: the nouns of a segmenter that knows no others; None for any noun. What a phrase
        outside a closed vocabulary finds means nothing, so a planner gets a message instead.
    settings: what decides its masks, as JSON values for the record of a run, such as a hash of its
        weights, its device, data type and threshold.
    device: where it runs, such as "cuda:0".
    """

    prompts: frozenset[str] = frozenset({"exemplars", "clicks"})
    threshold: float = 0.5
    vocabulary: Vocabulary | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    device: str = "cpu"

    def outside_domain(self, image: Pixels) -> str | None:
        """Why masks of this (H, W, 3) uint8 image would mean nothing, and what to use instead.

        None when the image is of a kind that the segmenter was trained on. Takes milliseconds and
        runs no model.
        """
        return None


_DEFAULTS = SegmenterDefaults()


def prompts_of(segmenter: Segmenter) -> frozenset[str]:
    """What a segmenter takes besides phrases; see `SegmenterDefaults`."""
    return frozenset(declared(segmenter, _DEFAULTS, "prompts", Set))


def threshold_of(segmenter: Segmenter) -> float:
    """The least score of a mask when a selection gives none; see `SegmenterDefaults`."""
    return float(declared(segmenter, _DEFAULTS, "threshold", float | int))


def vocabulary_of(segmenter: Segmenter) -> Vocabulary | None:
    """The nouns of a segmenter that knows no others; see `SegmenterDefaults`."""
    known: Vocabulary | None = declared(segmenter, _DEFAULTS, "vocabulary", Mapping | None)
    return known


def settings_of(segmenter: Segmenter) -> dict[str, Any]:
    """What decides a segmenter's masks; see `SegmenterDefaults`."""
    return dict(declared(segmenter, _DEFAULTS, "settings", Mapping))


def device_of(segmenter: Segmenter) -> str:
    """Where a segmenter runs; see `SegmenterDefaults`."""
    return str(declared(segmenter, _DEFAULTS, "device"))


def outside_domain(segmenter: Segmenter, image: Pixels) -> str | None:
    """Why masks of this image would mean nothing, or None; see `SegmenterDefaults`."""
    why: str | None = declared(segmenter, _DEFAULTS, "outside_domain")(image)
    return why


def checked_segmenter(value: Any) -> Segmenter:
    """The value, if it is a segmenter; raises InputError with what was expected."""
    methods = ["encode(image)", "detect(features, prompts, selection)"]
    if not isinstance(value, type) and "clicks" in prompts_of(value):
        methods.append("segment_at(features, prompt)")
    hint = "or give the name of a segmenter, such as 'tiny' or 'facebook/sam3'"
    if len(methods) > 2:
        hint = f"one without segment_at declares `prompts` without 'clicks'; {hint}"
    refuse_unfit(value, "segmenter", methods, hint)
    segmenter: Segmenter = value  # pyright: ignore[reportAssignmentType]
    for ability in (threshold_of, vocabulary_of):  # another type is refused here, too
        ability(segmenter)
    return segmenter


def checked_concept(prompt: Prompt, size: Size) -> ConceptPrompt:
    """The prompt as a segmenter can use it on a (height, width) image.

    White space is folded, characters that show nothing and punctuation around the phrase are
    dropped, and boxes are clipped to the image. Raises PromptError for a prompt with neither phrase
    nor exemplar, for a phrase that no encoding can carry, and for a box without area, with NaN, or
    outside the image.
    """
    if isinstance(prompt, str):
        prompt = ConceptPrompt(prompt)
    phrase = _bare(visible_words(prompt.phrase))
    try:
        phrase.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"the phrase {phrase!a} is not UTF-8 text; type it again") from error
    if not phrase and not prompt.positive:
        what = "there are only negative exemplars" if prompt.negative else "a phrase is empty"
        raise PromptError(
            f"{what}; give a short noun phrase such as 'red car', or the box of an example"
        )
    return replace(
        prompt,
        phrase=phrase,
        positive=tuple(checked_box(box, size) for box in prompt.positive),
        negative=tuple(checked_box(box, size) for box in prompt.negative),
    )


def _bare(phrase: str) -> str:
    """A phrase without the quotes, brackets and full stops that people and models put around it.

    They are tokens to SAM 3, which finds less with them, or nothing. Marks that carry a meaning
    ("#7", "50%") stay.
    """
    words = " ".join(phrase.split())
    around = {c for c in words if unicodedata.category(c)[0] == "P" and c not in "#%&@"}
    return words.strip("".join(around) + "`´ ")  # noqa: RUF001


def checked_object(prompt: ObjectPrompt, size: Size) -> ObjectPrompt:
    """The prompt with its box clipped to a (height, width) image.

    Raises PromptError for a prompt without a click inside the object or a box, and for places
    outside the image.
    """
    if not prompt.inside and prompt.box is None:
        raise PromptError("an object prompt needs a point inside the object, or a box around it")
    height, width = size
    for point in (*prompt.inside, *prompt.outside):
        if len(point) != 2 or not all(map(math.isfinite, point)):
            raise PromptError(f"the point {list(point)} is not x,y in pixels")
        if not (0 <= point[0] < width and 0 <= point[1] < height):
            raise PromptError(f"the point {list(point)} is outside the image of {width}x{height}")
    if prompt.box is None:
        return prompt
    return replace(prompt, box=checked_box(prompt.box, size))


def checked_box(box: Sequence[float], size: Size) -> Box:
    """The box clipped to a (height, width) image.

    Raises PromptError when it is not x0 < x1, y0 < y1, or lies outside.
    """
    height, width = size
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise PromptError(f"the box {list(box)} is not x0,y0,x1,y1 in pixels")
    x0, y0, x1, y1 = (float(value) for value in box)
    if x0 >= x1 or y0 >= y1:
        raise PromptError(f"the box {list(box)} has no area: x0 < x1 and y0 < y1 must hold")
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if x0 >= x1 or y0 >= y1:
        raise PromptError(f"the box {list(box)} is outside the image of {width}x{height}")
    return x0, y0, x1, y1
