"""Candidates of a model become masks, also where a box lies at the edge of the image."""

from collections.abc import Iterator

import numpy as np
import pytest

from sam3_agent.model.detection import Candidates, Features, detect
from sam3_agent.model.lru import WeighedLRU
from sam3_agent.segmenter import STANDARD, ConceptPrompt

SIZE = (60, 90)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([90, 10, 90, 20], [80, 10, 90, 20]),  # a centre that was rounded to the right edge
        ([-3, -9, 4, 0], [80, 10, 90, 20]),
        ([81, -5, 95, 20], [81, 0, 90, 20]),  # clipped
    ],
)
def test_a_box_outside_the_image_becomes_that_of_its_mask(
    box: list[float], expected: list[float]
) -> None:
    logits = np.full(SIZE, -1, np.float32)
    logits[10:20, 80:] = 1

    def find(
        features: Features[None], prompts: list[ConceptPrompt]
    ) -> Iterator[tuple[ConceptPrompt, Candidates]]:
        scores, boxes = np.array([0.9], np.float32), np.array([box], np.float32)
        for prompt in prompts:
            yield prompt, Candidates(1.0, scores, boxes, lambda _: [logits], logits.nbytes)

    features = Features(None, SIZE, WeighedLRU[Candidates](1e6))
    (found,) = detect(features, [ConceptPrompt("dog")], STANDARD, 0.5, find)
    assert found.masks.boxes.tolist() == [expected]
