"""The agent: what it answers, streams and refuses."""

import asyncio
import gc
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from sam3_agent import (
    Agent,
    Budget,
    Finished,
    InputError,
    Message,
    Observation,
    PlannerError,
    PlannerReplied,
    Scene,
    SegmenterError,
    Tool,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.observations import SegmentFindings
from tests.conftest import ANSWER, SEGMENT, Ask, tool_texts


def test_an_answer_has_the_words_and_the_masks_of_several_concepts(ask: Ask) -> None:
    answer = ask(SEGMENT, ANSWER)
    assert answer.status == "answered"
    assert answer.text == "The first dog and its leash."
    assert answer.numbers == (1, 3)
    assert answer.masks.phrases == ("dog", "leash")
    assert answer.masks.boxes.tolist() == [[10, 20, 60, 70], [50, 40, 90, 50]]
    assert answer.masks.dense().shape == (2, 100, 200)
    assert answer.masks.dense()[0].sum() == 50 * 50
    assert (answer.usage.turns, answer.usage.tool_calls, answer.usage.tool_errors) == (2, 2, 0)


def test_the_planner_sees_the_image_then_numbered_masks_with_scores_and_boxes(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, ANSWER])
    Agent(planner, segmenter).ask(image, "which dog?")
    system, user = planner.seen[0]
    assert system.role == "system"
    assert "segment" in system.text
    assert user.text == "which dog?"
    assert user.pictures[0].shape == image.shape
    observed = planner.seen[1][-1]
    assert observed.role == "tool"
    assert observed.tool_call_id == "call_1"
    assert observed.text.splitlines() == [
        '"dog": masks 1, 2 (presence 0.90)',
        '"leash": masks 3 (presence 0.70)',
        '1: "dog" score 0.90 box 5,20,30,70 area 12.5%',
        '2: "dog" score 0.80 box 60,40,75,70 area 4.5%',
        '3: "leash" score 0.70 box 25,40,45,50 area 2.0%',
    ]
    assert len(observed.pictures) == 1
    assert (observed.pictures[0] != 128).any()
    assert isinstance(observed.findings, SegmentFindings)
    assert observed.findings.masks.areas().tolist() == [2500, 900, 400]


def test_the_image_is_encoded_once_and_a_phrase_asked_twice_is_run_once(
    ask: Ask, segmenter: FakeSegmenter
) -> None:
    again = calling(("segment", {"phrases": [" dog ", "cat", "cat"]}))
    answer = ask(SEGMENT, again, ANSWER)
    assert segmenter.encoded == 1
    assert segmenter.asked == ["dog", "leash", "cat"]
    assert tool_texts(answer)[1].startswith(
        '"dog": masks 1, 2 (presence 0.90)\n"cat": masks none (presence 0.02)'
    )


def test_a_mask_that_another_phrase_found_already_keeps_its_number(image: Pixels) -> None:
    segmenter = FakeSegmenter(
        {"dog": [(10, 20, 60, 70), (120, 40, 150, 70)], "puppy": [(121, 40, 150, 70)]}
    )
    scene = Scene(image, segmenter)
    dogs, puppies = scene.segment(["dog", "puppy"])
    assert dogs.numbers == (1, 2)
    assert puppies.numbers == (2,)
    assert len(scene.masks) == 2


def test_no_numbers_means_no_target(ask: Ask, segmenter: FakeSegmenter) -> None:
    answer = ask(calling(("answer", {"text": "No cat here.", "numbers": []})))
    assert answer.status == "no_target"
    assert answer.masks.dense().shape == (0, 100, 200)
    assert segmenter.encoded == 0


def test_a_question_that_makes_no_sense_is_not_an_absence(ask: Ask) -> None:
    answer = ask(
        calling(("answer", {"text": "Ask for a thing.", "numbers": [], "unable": True})),
    )
    assert (answer.status, answer.text, len(answer.masks)) == ("unable", "Ask for a thing.", 0)
    assert answer.to_dict()["status"] == "unable"


def test_a_budget_in_dollars_needs_a_known_price(segmenter: FakeSegmenter) -> None:
    class Unpriced(ScriptedPlanner):
        price = None

    with pytest.raises(InputError, match="the price of scripted is not known"):
        Agent(Unpriced([]), segmenter, budget=Budget(usd=1))


def test_a_planner_that_fails_raises_planner_error(ask: Ask) -> None:
    with pytest.raises(PlannerError, match="no further reply"):
        ask(SEGMENT)


def test_a_segmenter_that_fails_raises_segmenter_error(image: Pixels) -> None:
    broken = FakeSegmenter({"dog": [(0, 0, 900, 900)]})
    with pytest.raises(SegmenterError, match="outside the image"):
        Agent(ScriptedPlanner([SEGMENT]), broken).ask(image, "which dog?")


@pytest.mark.parametrize("query", ["", "   ", "x" * 4001])
def test_an_empty_or_endless_question_is_refused(
    image: Pixels, segmenter: FakeSegmenter, query: str
) -> None:
    with pytest.raises(InputError, match="question"):
        Agent(ScriptedPlanner([]), segmenter).ask(image, query)


def test_a_question_that_is_no_text_is_refused(image: Pixels, segmenter: FakeSegmenter) -> None:
    with pytest.raises(InputError, match="the question is 5, not text"):
        Agent(ScriptedPlanner([]), segmenter).ask(image, 5)  # type: ignore[arg-type]


def test_a_stream_yields_each_step_in_order_and_can_be_closed(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, ANSWER])
    stream = Agent(planner, segmenter).stream(image, "which dog?")
    kinds = [type(event) for event in stream]
    turn = [TurnStarted, PlannerReplied, ToolStarted, ToolFinished]
    assert kinds == [*turn, *turn, Finished]

    planner = ScriptedPlanner([SEGMENT, ANSWER])
    stream = Agent(planner, segmenter).stream(image, "which dog?")
    next(event for event in stream if isinstance(event, ToolStarted))
    stream.close()
    assert len(planner.seen) == 1
    assert list(stream) == []


def test_a_plain_function_becomes_a_tool(image: Pixels, segmenter: FakeSegmenter) -> None:
    def brightness(scene: Scene, scale: float = 1.0) -> Observation:
        """The mean brightness of the image."""
        return Observation(f"{scene.image.mean() * scale:.0f}")

    tool = Tool.from_function(brightness)
    assert tool.description == "The mean brightness of the image."
    assert tool.parameters == {
        "type": "object",
        "properties": {"scale": {"type": "number"}},
        "required": [],
    }
    planner = ScriptedPlanner([calling(("brightness", {"scale": 2})), Message("assistant")])
    agent = Agent(planner, segmenter, tools=[tool], budget=Budget(turns=2))
    assert tool_texts(agent.ask(image, "how bright?")) == ["256"]


def test_asking_from_async_code_gives_the_same_answer(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    agent = Agent(ScriptedPlanner([SEGMENT, ANSWER]), segmenter)
    assert asyncio.run(agent.aask(image, "which dog?")).numbers == (1, 3)


def test_a_cancelled_async_ask_stops_at_the_next_step(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    started, released = threading.Event(), threading.Event()

    class Slow:
        name = "slow"
        replies = 0

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            self.replies += 1
            started.set()
            released.wait(10)
            return SEGMENT

    planner = Slow()

    async def cancel() -> None:
        task = asyncio.create_task(Agent(planner, segmenter).aask(image, "which dog?"))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()

    asyncio.run(cancel())
    deadline = time.monotonic() + 5
    while threading.active_count() > 1 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert planner.replies == 1
    assert segmenter.encoded == 0


def test_a_cancelled_async_ask_whose_step_fails_later_leaves_no_warning(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    started, released = threading.Event(), threading.Event()
    warned: list[dict[str, Any]] = []

    class Failing:
        name = "failing"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            started.set()
            released.wait(10)
            raise PlannerError("the line is dead")

    async def cancel() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: warned.append(context))
        task = asyncio.create_task(Agent(Failing(), segmenter).aask(image, "which dog?"))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
        await loop.shutdown_default_executor()
        gc.collect()

    asyncio.run(cancel())
    assert warned == []


@pytest.mark.parametrize("last", [TurnStarted, PlannerReplied, ToolStarted, ToolFinished])
def test_a_stream_that_is_closed_at_any_event_calls_no_model_after_it(
    image: Pixels, segmenter: FakeSegmenter, last: type
) -> None:
    planner = ScriptedPlanner([SEGMENT, ANSWER])
    events = Agent(planner, segmenter).stream(image, "which dog?")
    assert next(event for event in events if isinstance(event, last))
    called = len(planner.seen)
    events.close()
    assert list(events) == []
    assert len(planner.seen) == called


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"effort": ["fast"]}, "choose fast, balanced"),
        ({"budget": [5]}, r"give a Budget, such as Budget\(turns=5\)"),
        ({"ask_person": "me"}, "give a function of the question"),
        ({"max_megapixels": "5"}, "give a number above 0"),
        ({"tools": "segment"}, "give a list of tools"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_was_expected(
    segmenter: FakeSegmenter, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        Agent(**{"planner": ScriptedPlanner([]), "segmenter": segmenter, **given})
