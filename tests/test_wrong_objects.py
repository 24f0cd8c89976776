"""What is no planner, segmenter or tool is refused when it is handed in, with what was expected."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sam3_agent import (
    Agent,
    ConceptPrompt,
    Detection,
    InputError,
    Masks,
    Message,
    ObjectPrompt,
    Observation,
    PlannerError,
    Scene,
    SegmenterError,
    ToolCall,
)
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.planner import PlannerDefaults, Price, price_of, sees, settings_of
from sam3_agent.segmenter import SegmenterDefaults, device_of, prompts_of, threshold_of

ROOT = Path(__file__).parents[1]


class Replying:
    """A planner that returns what it is given."""

    name = "replying"

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def reply(self, messages: Sequence[Message], tools: Sequence[Any]) -> Any:
        return self._reply


class Async(Replying):
    async def reply(self, messages: Sequence[Message], tools: Sequence[Any]) -> Any:
        return self._reply


class Short(Replying):
    def reply(self, messages: Sequence[Message]) -> Any:  # type: ignore[override]
        return self._reply


PLANNERS: dict[str, tuple[Any, str]] = {
    "a number": (42, r"42 is no planner, it has no name.*reply\(messages, tools\).*'offline'"),
    "a class": (ScriptedPlanner, r"is the class ScriptedPlanner.*give ScriptedPlanner\(\.\.\.\)"),
    "a segmenter": (FakeSegmenter({}), "has no method reply"),
    "no name": (SimpleNamespace(reply=print), "has no name"),
    "async": (Async("x"), "its reply is async"),
    "too few parameters": (Short("x"), r"does not take messages, tools"),
    "a price that is a tuple": (
        SimpleNamespace(name="x", reply=lambda messages, tools: None, price=(1, 2, 3)),
        r"the attribute price .* is \(1, 2, 3\)",
    ),
}


@pytest.mark.parametrize("case", PLANNERS)
@pytest.mark.parametrize("role", ["planner", "verifier"])
def test_what_is_no_planner_is_refused(case: str, role: str, segmenter: FakeSegmenter) -> None:
    value, said = PLANNERS[case]
    given: dict[str, Any] = {"planner": "offline", role: value}
    with pytest.raises(InputError, match=said.replace("no planner", f"no {role}")):
        Agent(segmenter=segmenter, **given)


def detecting(found: Any) -> FakeSegmenter:
    """A segmenter whose `detect` returns this."""
    fake: Any = FakeSegmenter({})
    fake.detect = lambda features, prompts, selection=None: found
    return fake  # type: ignore[no-any-return]


SEGMENTERS: dict[str, tuple[Any, str]] = {
    "a class": (FakeSegmenter, "the segmenter is the class FakeSegmenter"),
    "a planner": (ScriptedPlanner([]), "has no method encode"),
    "no detect": (SimpleNamespace(name="x", encode=repr), "has no method detect"),
    "no segment_at": (
        SimpleNamespace(name="x", encode=repr, detect=lambda features, prompts, selection: []),
        "has no method segment_at.*one without segment_at declares `prompts` without 'clicks'",
    ),
    "prompts that are text": (
        SimpleNamespace(name="x", encode=repr, prompts="clicks"),
        "the attribute prompts .* is 'clicks'",
    ),
}


@pytest.mark.parametrize("case", SEGMENTERS)
def test_what_is_no_segmenter_is_refused(case: str) -> None:
    value, said = SEGMENTERS[case]
    with pytest.raises(InputError, match=said):
        Agent("offline", value)


def test_a_segmenter_that_takes_no_clicks_needs_no_segment_at() -> None:
    plain: Any = SimpleNamespace(
        name="plain",
        prompts=frozenset(),
        encode=lambda image: image.shape[:2],
        detect=lambda features, prompts, selection: [],
    )
    names = Agent("offline", plain).tools
    assert {"segment"} <= names.keys()
    assert not {"segment_at", "segment_like"} & names.keys()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Masks.empty((100, 200)), "returned Masks; detect returns a list"),
        ([Masks.empty((100, 200))], "returned a list with Masks"),
        ([], "returned 0 detections for 1 prompts"),
        (None, "returned NoneType"),
        ([Detection(ConceptPrompt("dog"), 1.0, Masks.empty((7, 9)))], r"masks of \(7, 9\) for"),
    ],
)
def test_what_is_no_detection_is_refused(image: Pixels, found: Any, said: str) -> None:
    with pytest.raises(SegmenterError, match=said):
        Scene(image, detecting(found)).segment(["dog"])


@pytest.mark.parametrize("found", [None, [], Masks.empty((7, 9))])
def test_what_is_no_mask_of_an_object_is_refused(image: Pixels, found: Any) -> None:
    fake: Any = FakeSegmenter({})
    fake.segment_at = lambda features, prompt: found
    with pytest.raises(SegmenterError, match=r"returned .* for an image of \(.*; give Masks of"):
        Scene(image, fake).segment_at(ObjectPrompt(inside=((5, 5),)))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("The left dog.", "returned str, not a Message"),
        (None, "returned NoneType"),
        (Message("user", "hm"), "the role 'user'"),
        (Message("assistant", spent=0), "spent is int, not TokenUsage"),  # type: ignore[arg-type]
        (Message("assistant", tool_calls=({"name": "x"},)), "a tool call that is dict"),  # type: ignore[arg-type]
        (
            Message("assistant", tool_calls=(ToolCall("1", "segment", {"phrases": ["dog"]}),)),  # type: ignore[arg-type]
            "a ToolCall whose arguments is dict, not str",
        ),
    ],
)
def test_what_is_no_reply_is_refused(
    image: Pixels, segmenter: FakeSegmenter, reply: Any, said: str
) -> None:
    with pytest.raises(PlannerError, match=said):
        Agent(Replying(reply), segmenter, verifier="none").ask(image, "dogs")


def area(scene: Scene, number: int) -> Observation:
    """The area of a mask."""
    return Observation(f"{scene.masks.areas()[number - 1]} pixels")


def untyped(scene: Scene, number) -> Observation:  # type: ignore[no-untyped-def]
    """The area of a mask."""
    return area(scene, number)


async def later(scene: Scene) -> Observation:
    """A tool that is not run in an event loop."""
    return Observation("too late")


def test_a_plain_function_is_taken_as_a_tool(image: Pixels, segmenter: FakeSegmenter) -> None:
    planner = ScriptedPlanner(
        [
            calling(("segment", {"phrases": ["leash"]})),
            calling(("area", {"number": 1})),
            calling(("answer", {"text": "Done.", "numbers": [1]})),
        ]
    )
    plain = Agent(planner, segmenter)
    answer = Agent(planner, segmenter, tools=[*plain.tools.values(), area]).ask(image, "leash")
    assert "400 pixels" in [message.text for message in answer.messages]


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        (["segment"], "'segment' is no tool; give a function"),
        ([untyped], "the function untyped cannot be a tool"),
        ([later], "the function later cannot be a tool, it is async"),
        ([area, area], "two tools have the name 'area'"),
    ],
)
def test_what_is_no_tool_is_refused(segmenter: FakeSegmenter, tools: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Agent("offline", segmenter, tools=tools)


def test_what_a_class_does_not_declare_has_a_default(segmenter: FakeSegmenter) -> None:
    plain = Replying("x")
    assert (sees(plain), price_of(plain), settings_of(plain)) == (True, Price(0, 0, 0), {})
    assert prompts_of(segmenter) == {"exemplars", "clicks"}
    assert (threshold_of(segmenter), device_of(segmenter)) == (0.5, "cpu")


def test_optional_attributes_are_read_in_one_place() -> None:
    names = {name for one in (PlannerDefaults, SegmenterDefaults) for name in vars(one)}
    found = []
    for folder in ("sam3_agent", "tools", "model", "evals"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in re.findall(r"(?:get|has)attr\([^()]*\"(\w+)\"", path.read_text("utf-8")):
                found += [(path.name, call)] if call in names - {"__doc__"} else []
    assert found == []
