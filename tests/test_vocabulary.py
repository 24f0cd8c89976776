"""Closed vocabularies: what a segmenter knows, and what a planner is told of other words."""

from pathlib import Path

import numpy as np
import pytest

from sam3_agent import Observation, Scene, registry
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, NOUNS
from sam3_agent.observations import SegmentFindings
from sam3_agent.segmenter import vocabulary_of
from sam3_agent.vocabulary import nearest_words, unknown_part
from tests.command_line import run_json

KNOWN = {"car": ("red", "blue"), "butterfly": (), "elephant": (), "bus": ("red",)}
PICTURE = Path(__file__).parents[1] / "evals" / "demo" / "red_cars.png"


@pytest.mark.parametrize(
    ("phrase", "unknown"),
    [
        ("car", ""),
        ("The Car", ""),
        ("red cars", ""),
        ("butterflies", ""),
        ("buses", ""),
        ("automobile", "automobile"),
        ("red automobile", "automobile"),
        ("blue bus", "blue"),
        ("red butterfly", "red"),
        ("striped red car", "striped red"),
        ("red", "red"),
        ("traffic light", "traffic light"),
        ("car sofa", "car sofa"),
    ],
)
def test_the_part_of_a_phrase_that_is_not_known_is_named(phrase: str, unknown: str) -> None:
    assert unknown_part(phrase, KNOWN) == unknown
    assert unknown_part(phrase, None) == ""


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("buterfly", ("butterfly",)),
        ("elefants", ("elephant",)),
        ("carr", ("car",)),
        ("ubs", ()),
        ("bsu", ("bus",)),
        ("rde", ("red",)),
        ("sofa", ()),
        ("chair", ()),
    ],
)
def test_words_that_are_spelled_nearly_alike_are_suggested(
    word: str, nearest: tuple[str, ...]
) -> None:
    assert nearest_words(word, KNOWN) == nearest


def test_the_shipped_segmenter_says_what_it_was_trained_on_and_others_say_nothing() -> None:
    known = vocabulary_of(registry.segmenter("tiny"))

    assert known is not None
    assert set(known) == {*NOUNS, *CATEGORIES}
    assert {noun for noun, attributes in known.items() if attributes} == set(COLORABLE)
    assert vocabulary_of(FakeSegmenter({})) is None


def test_a_planner_is_told_which_words_are_unknown_and_what_is_known() -> None:
    segmenter = FakeSegmenter({"red car": [(10, 10, 40, 40)]}, vocabulary=KNOWN)
    scene = Scene(np.zeros((50, 50, 3), np.uint8), segmenter)
    (segment,) = (tool for tool in registry.tools(segmenter) if tool.name == "segment")

    result = segment.run(scene, '{"phrases": ["sofa", "red car", "elefant"]}')

    assert isinstance(result, Observation)
    assert segmenter.asked == ["red car"]
    lines = result.text.splitlines()
    assert lines[0] == '"sofa": not looked for, the segmenter does not know "sofa"'
    assert lines[1].startswith('"red car": masks 1')
    assert lines[2].endswith('does not know "elefant"; did you mean "elephant"?')
    assert lines[3] == (
        "The segmenter knows only: car (also red/blue); butterfly, elephant; bus (also red)."
    )
    assert isinstance(result.findings, SegmentFindings)
    sofa, car, elefant = result.findings.findings
    assert (sofa.unknown, car.unknown, elefant.unknown) == ("sofa", "", "elefant")
    assert elefant.nearest == ("elephant",)


def test_several_calls_in_one_reply_leave_unknown_words_out() -> None:
    segmenter = FakeSegmenter({"car": [(10, 10, 40, 40)]}, vocabulary=KNOWN)
    scene = Scene(np.zeros((50, 50, 3), np.uint8), segmenter)
    (segment,) = (tool for tool in registry.tools(segmenter) if tool.name == "segment")

    assert segment.prepare is not None
    segment.prepare(scene, [{"phrases": ["car", "sofa"]}, {"phrases": ["bus"]}])

    assert segmenter.asked == ["car", "bus"]


def test_the_command_segment_does_not_tell_an_unknown_word_as_absence() -> None:
    answer = run_json("segment", PICTURE, "automobile")
    assert answer["status"] == "unable"
    assert 'tiny does not know "automobile"' in answer["text"]
