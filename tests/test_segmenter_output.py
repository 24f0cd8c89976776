"""What a plug-in segmenter returns is checked: NaN, boxes outside and wrong shapes are errors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sam3_agent import (
    Agent,
    ConceptPrompt,
    Detection,
    Masks,
    ObjectPrompt,
    Scene,
    SegmenterError,
    Selection,
)
from sam3_agent.images import Pixels
from sam3_agent.rle import encode_mask
from sam3_agent.segmenter import STANDARD

SIZE = (60, 90)
IMAGE: Pixels = np.full((*SIZE, 3), 128, np.uint8)
SQUARE = np.zeros(SIZE, np.bool_)
SQUARE[5:20, 5:30] = True


def square(**changes: Any) -> Masks:
    """Masks of one square, with other columns."""
    columns = {
        "size": SIZE,
        "boxes": np.array([[5, 5, 30, 20]], np.float32),
        "scores": np.array([0.9], np.float32),
        "phrases": ("dog",),
        "rles": (encode_mask(SQUARE),),
    }
    return Masks(**{**columns, **changes})


class PlugIn:
    """Returns what a function makes for each prompt; one object is what it makes for no prompt."""

    name = "plug-in"

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def encode(self, image: Pixels) -> Any:
        return image

    def detect(
        self, features: Any, prompts: Sequence[Any], selection: Selection = STANDARD
    ) -> list[Any]:
        return [self._make(prompt) for prompt in prompts]

    def segment_at(self, features: Any, prompt: ObjectPrompt) -> Any:
        return self._make(ConceptPrompt("this")).masks


def rle(counts: bytes) -> tuple[Any, ...]:
    return ({"size": list(SIZE), "counts": counts},)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a score of NaN": (lambda: square(scores=np.array([np.nan])), "must be finite"),
    "a score above 1": (lambda: square(scores=np.array([5.0])), r"a score of 5\.0; give .* 0\.\.1"),
    "a score below 0": (lambda: square(scores=np.array([-0.5])), r"a score of -0\.5"),
    "a box of NaN": (lambda: square(boxes=np.full((1, 4), np.nan)), "must be finite"),
    "a box outside": (lambda: square(boxes=np.array([[500, 5, 600, 9]])), "a box that becomes"),
    "a box above": (lambda: square(boxes=np.array([[5, -9, 30, -1]])), "a box that becomes"),
    "a box the other way": (lambda: square(boxes=np.array([[30, 20, 5, 5]])), "with x0 < x1"),
    "too many scores": (lambda: square(scores=np.array([0.9, 0.8])), "columns differ in length"),
    "numbers as phrases": (lambda: square(phrases=(5,)), "phrases are N texts"),
    "another size": (lambda: Masks.empty((9, 9)), r"masks of \(9, 9\) for an image of"),
    "no masks": (lambda: None, "returned NoneType"),
    "an array": (lambda: SQUARE[None], "returned ndarray"),
    "an RLE of nothing": (lambda: square(rles=rle(b"")), "mask 1: its RLE"),
    "an RLE that is too short": (lambda: square(rles=rle(b"1")), "mask 1: its RLE"),
    "an RLE without an end": (lambda: square(rles=rle(b"o" * 5000)), "mask 1: its RLE"),
}


@pytest.mark.parametrize("name", WRONG)
def test_masks_that_cannot_be_are_errors_of_the_segmenter(name: str) -> None:
    make, expected = WRONG[name]
    plug_in = PlugIn(lambda prompt: Detection(prompt, 0.9, make()))
    with pytest.raises(SegmenterError, match=f"plug-in .*{expected}"):
        Agent("offline", plug_in, check_domain=False).ask(IMAGE, "the dogs")
    scene = Scene(IMAGE, plug_in)
    with pytest.raises(SegmenterError, match=expected):
        scene.segment_at(ObjectPrompt(((5.0, 5.0),)))
    assert len(scene.masks) == 0


@pytest.mark.parametrize(
    "presence", [float("nan"), float("inf"), 7.0, -0.1, "high", None, np.array([0.5, 0.5])]
)
def test_a_presence_that_is_no_probability_is_an_error_of_the_segmenter(presence: Any) -> None:
    plug_in = PlugIn(lambda prompt: Detection(prompt, presence, square()))
    with pytest.raises(SegmenterError, match=r"plug-in returned a presence of .* 0\.\.1"):
        Scene(IMAGE, plug_in).segment(["dog"])


@pytest.mark.parametrize("presence", [0, 1, 0.5, np.float32(0.25), np.float64(1)])
@pytest.mark.parametrize(
    "changes", [{}, {"boxes": np.array([[-9, -9, 99, 99]])}, {"boxes": np.array([[5, 5, 5, 20]])}]
)
def test_what_real_models_return_is_taken(presence: Any, changes: dict[str, Any]) -> None:
    plug_in = PlugIn(lambda prompt: Detection(prompt, presence, square(**changes)))
    (finding,) = Scene(IMAGE, plug_in).segment(["dog"])
    assert finding.numbers == (1,)
