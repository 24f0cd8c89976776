"""The segmenter that knows where things are."""

import numpy as np
import pytest

from sam3_agent import PromptError, SegmenterError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.segmenter import Selection

PICTURE = np.zeros((80, 100, 3), np.uint8)


def test_boxes_are_filled_and_come_best_first() -> None:
    segmenter = FakeSegmenter({"dog": [(0, 0, 10, 10), (20, 30, 60, 70)]}, {"dog": [0.6, 0.8]})

    (found,) = segmenter.detect(segmenter.encode(PICTURE), ["dog"])

    assert found.masks.boxes.tolist() == [[20, 30, 60, 70], [0, 0, 10, 10]]
    assert found.masks.areas().tolist() == [1600, 100]
    assert found.masks.phrases == ("dog", "dog")
    assert found.presence == pytest.approx(0.8)


def test_masks_are_taken_as_they_are() -> None:
    masks = np.zeros((1, 80, 100), bool)
    masks[0, 10:20, 5:9] = True

    (found,) = FakeSegmenter({"stick": masks}).detect((80, 100), ["stick"])

    assert np.array_equal(found.masks.dense(), masks)


def test_scores_below_the_threshold_are_left_out() -> None:
    segmenter = FakeSegmenter({"dog": [(0, 0, 9, 9), (20, 0, 29, 9)]}, {"dog": [0.4, 0.7]})

    assert [
        len(segmenter.detect((80, 100), ["dog"], Selection(at))[0].masks) for at in (None, 0.3)
    ] == [
        1,
        2,
    ]


def test_what_was_not_placed_is_not_found_and_everything_asked_is_noted() -> None:
    segmenter = FakeSegmenter({"dog": [(0, 0, 9, 9)]})

    found = segmenter.detect(segmenter.encode(PICTURE), ["cat", "dog"])

    assert [len(one.masks) for one in found] == [0, 1]
    assert found[0].presence < 0.5
    assert (segmenter.asked, segmenter.encoded) == (["cat", "dog"], 1)


def test_a_phrase_that_is_too_long_is_refused_before_anything_is_noted() -> None:
    segmenter = FakeSegmenter({}, max_words=2)

    with pytest.raises(PromptError, match="does not have 1 to 2 words"):
        segmenter.detect((80, 100), ["dog", "a b c"])
    assert segmenter.asked == []


@pytest.mark.parametrize("thing", [[(0, 0, 101, 10)], np.zeros((1, 8, 8), bool)])
def test_a_thing_that_does_not_fit_the_picture_is_an_error(thing: object) -> None:
    with pytest.raises(SegmenterError):
        FakeSegmenter({"dog": thing}).detect((80, 100), ["dog"])  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "phrase",
    ["red car.", '"red car"', "“Red car”,".lower(), "«red car»", " (red  car)…", "- red car!"],
)
def test_marks_around_a_phrase_do_not_matter(phrase: str) -> None:
    (found,) = FakeSegmenter({"red car": [(0, 0, 9, 9)]}).detect((80, 100), [phrase])

    assert (found.phrase, len(found.masks)) == ("red car", 1)


@pytest.mark.parametrize("phrase", ["#7 jersey", '12" ruler', "C++ book", "50%", "children's toy"])
def test_marks_that_mean_something_stay(phrase: str) -> None:
    (found,) = FakeSegmenter({phrase: [(0, 0, 9, 9)]}).detect((80, 100), [phrase])

    assert (found.phrase, len(found.masks)) == (phrase, 1)


@pytest.mark.parametrize("phrase", ["...", "''", " “” "])
def test_marks_alone_are_no_phrase(phrase: str) -> None:
    with pytest.raises(PromptError, match="a phrase is empty"):
        FakeSegmenter({}).detect((80, 100), [phrase])
