"""The checks as tools of the planner: `verify` and `check_complete`."""

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sam3_agent import Budget, Message, Scene, Tool, ToolError, registry
from sam3_agent.budget import UsageTracker
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.structured_output import MAX_PARALLEL
from tests.scripted_verifier import ScriptedVerifier, judging, verdict


@pytest.fixture
def scene(image: Pixels, segmenter: FakeSegmenter) -> Scene:
    scene = Scene(image, segmenter)
    scene.segment(["dog", "leash"])
    return scene


@pytest.fixture
def tracker() -> Iterator[UsageTracker]:
    """The tracker of the question that is being answered, with a budget of 11 tokens."""
    tracker = UsageTracker(Budget(tokens=11))
    with tracker.active():
        yield tracker


def run(verifier: Any, name: str, scene: Scene, **arguments: Any) -> str:
    """The text of a check's observation."""
    tools = {tool.name: tool for tool in registry.reviewer(verifier).tools()}
    return tools[name].run(scene, json.dumps(arguments)).text


def crowd(image: Pixels, count: int) -> Scene:
    """A scene with this many dogs."""
    boxes = [(9 * i, 10, 9 * i + 8, 30) for i in range(count)]
    scene = Scene(image, FakeSegmenter({"dog": boxes}))
    scene.segment(["dog"])
    return scene


def test_many_masks_are_verified_five_to_a_picture(image: Pixels) -> None:
    verifier = ScriptedVerifier(wrong=[7])
    numbers = list(range(1, 13))
    text = run(verifier, "verify", crowd(image, 12), numbers=numbers, statement="a dog")
    assert len(verifier.asked) == 3
    lines = text.splitlines()
    assert lines[6] == "mask 7: WRONG (0.90): seen"
    assert [line.split(":")[0] for line in lines] == [f"mask {n}" for n in numbers]


@pytest.mark.parametrize(
    ("votes", "text"),
    [
        ([True, False, True], "mask 1: right (0.60): seen"),
        ([True, False], "mask 1: not judged: the votes are even"),
    ],
)
def test_the_majority_of_votes_counts_and_a_tie_is_no_verdict(
    scene: Scene, votes: list[bool], text: str
) -> None:
    verifier = ScriptedPlanner([judging(verdict(1, right)) for right in votes])
    found = run(verifier, "verify", scene, numbers=[1], statement="a dog", votes=len(votes))
    assert found == text


def test_the_recall_check_names_what_is_missing(scene: Scene) -> None:
    verifier = ScriptedVerifier(missing=("a cat", [[0, 0, 50, 100]]))
    text = run(verifier, "check_complete", scene, query="animals", numbers=[1])
    assert text == "MISSING: a cat; look again at [0, 0, 50, 100]"
    assert len(verifier.asked[0].pictures) == 2
    text = run(ScriptedVerifier(), "check_complete", scene, query="animals", numbers=[])
    assert text == "complete: nothing is missing"


@pytest.mark.parametrize(
    ("region", "where"),
    [
        ([-20, 10, 50, 130], "; look again at [0, 10, 50, 100]"),
        ([150, 0, 200, 50], ""),  # beside the image
        ([1e299, -1e299, 1e299, 1e299], ""),
        ([0.1, 0.2, 0.5, 0.8], "; look again at [10, 20, 50, 80]"),  # fractions
        ([5, 5], ""),
    ],
)
def test_regions_are_clipped_to_the_image_and_others_are_left_out(
    scene: Scene, region: list[float], where: str
) -> None:
    verifier = ScriptedVerifier(missing=("a cat", [region]))
    text = run(verifier, "check_complete", scene, query="animals", numbers=[1])
    assert text == f"MISSING: a cat{where}"


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("verify", {"numbers": [9], "statement": "x"}, "there is no mask 9: the masks are 1 to 3"),
        ("verify", {"numbers": [], "statement": "x"}, "give the numbers of 1"),
        ("verify", {"numbers": [1], "statement": " "}, "statement is empty"),
        ("verify", {"numbers": [1], "statement": "x", "votes": 0}, "greater than or equal to 1"),
        ("check_complete", {"query": "x" * 2000, "numbers": []}, "at most 1000 characters"),
        ("check_complete", {"query": "x", "numbers": [-1]}, "there is no mask -1"),
        ("check_complete", {"query": "x"}, "needs the argument 'numbers'"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_accepted(
    scene: Scene, name: str, arguments: dict[str, Any], error: str
) -> None:
    with pytest.raises(ToolError, match=error):
        run(ScriptedVerifier(), name, scene, **arguments)


def test_votes_are_taken_in_parallel_and_share_one_tracker(
    scene: Scene, tracker: UsageTracker
) -> None:
    together = threading.Barrier(3, timeout=20)

    class Slow(ScriptedVerifier):
        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            together.wait()  # passes only when three calls are under way at once
            return super().reply(messages, tools)

    run(Slow(), "verify", scene, numbers=[1, 2], statement="a dog", votes=3)
    assert tracker.parts["verify"].calls == 3


def test_nothing_more_is_asked_once_calls_in_parallel_have_used_up_a_budget(
    image: Pixels, tracker: UsageTracker
) -> None:
    verifier = ScriptedVerifier()
    numbers = list(range(1, 21))
    run(verifier, "verify", crowd(image, 20), numbers=numbers, statement="a dog", votes=5)
    assert 1 <= len(verifier.asked) <= MAX_PARALLEL
    assert tracker.total.calls == len(verifier.asked)
