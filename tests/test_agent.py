"""The loop: what a planner does, right or wrong, and what comes of it."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from sam3_agent import (
    STANDARD,
    Agent,
    Answer,
    Budget,
    Finished,
    InputError,
    Message,
    Observation,
    PlannerError,
    PlannerReplied,
    Scene,
    SegmenterError,
    TokenUsage,
    Tool,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from sam3_agent.errors import DeadlineError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.observations import SegmentFindings

SEGMENT = calling(("segment", {"phrases": ["dog", "leash"]}))
ANSWER = calling(("answer", {"text": "The first dog and its leash.", "numbers": [1, 3]}))


def ask(image: Pixels, segmenter: FakeSegmenter, *replies: Message, max_turns: int = 12) -> Answer:
    budget = Budget(turns=max_turns)
    return Agent(ScriptedPlanner(replies), segmenter, budget=budget).ask(image, "which dog?")


def tool_texts(answer: Answer) -> list[str]:
    return [message.text for message in answer.messages if message.role == "tool"]


def test_an_answer_has_the_words_and_the_masks_of_several_concepts(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    answer = ask(image, segmenter, SEGMENT, ANSWER)
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
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    again = calling(("segment", {"phrases": [" dog ", "cat", "cat"]}))
    answer = ask(image, segmenter, SEGMENT, again, ANSWER)
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


def test_no_numbers_means_no_target(image: Pixels, segmenter: FakeSegmenter) -> None:
    answer = ask(image, segmenter, calling(("answer", {"text": "No cat here.", "numbers": []})))
    assert answer.status == "no_target"
    assert answer.masks.dense().shape == (0, 100, 200)
    assert segmenter.encoded == 0


def test_a_question_that_makes_no_sense_is_not_an_absence(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    answer = ask(
        image,
        segmenter,
        calling(("answer", {"text": "Ask for a thing.", "numbers": [], "unable": True})),
    )
    assert (answer.status, answer.text, len(answer.masks)) == ("unable", "Ask for a thing.", 0)
    assert answer.to_dict()["status"] == "unable"


WRONG_CALLS = {
    "unknown tool": (
        ("zoom", {"box": 1}),
        "there is no tool 'zoom'; the tools are: segment, segment_like, "
        "segment_at, look, measure, edit, answer",
    ),
    "masks of what cannot be answered": (
        ("answer", {"text": "The dog?", "numbers": [1], "unable": True}),
        "an answer with masks is not `unable`",
    ),
    "broken JSON": (("segment", '{"phrases": ["dog"'), "not valid JSON"),
    "not an object": (("segment", '["dog"]'), "must be a JSON object, not list"),
    "missing argument": (("segment", {}), "needs the argument 'phrases'"),
    "unknown argument": (("segment", {"phrases": ["dog"], "k": 1}), "has no argument 'k'"),
    "two phrases in a string": (("segment", {"phrases": "dog, cat"}), '"dog, cat", a string'),
    "a number for a phrase": (("segment", {"phrases": [7]}), "argument 'phrases'"),
    "null": (("segment", {"phrases": None}), "argument 'phrases' of segment is null"),
    "empty phrase": (("segment", {"phrases": ["dog", "  "]}), "phrase is empty"),
    "no phrase": (("segment", {"phrases": []}), "takes 1 to 16 phrases, not 0"),
    "too many phrases": (("segment", {"phrases": ["x"] * 17}), "takes 1 to 16 phrases, not 17"),
    "too long a phrase": (("segment", {"phrases": ["very " * 60 + "big dog"]}), "words"),
    "mask 0": (("answer", {"text": "x", "numbers": [0]}), "no mask 0: no mask has been found yet"),
    "mask 99": (("answer", {"text": "x", "numbers": [99]}), "there is no mask 99"),
    "a mask as a word": (("answer", {"text": "x", "numbers": ["one"]}), "argument 'numbers'"),
    "true as a mask": (("answer", {"text": "x", "numbers": [True]}), "argument 'numbers'"),
    "a fraction as a mask": (("answer", {"text": "x", "numbers": [1.5]}), "argument 'numbers'"),
    "nested numbers": (("answer", {"text": "x", "numbers": [[1]]}), "argument 'numbers'"),
    "empty text": (("answer", {"text": " ", "numbers": []}), "text is empty"),
    "huge nesting": (("answer", "[" * 20_000), "not valid JSON"),
    "NaN": (("answer", '{"text": NaN, "numbers": []}'), "argument 'text'"),
}


@pytest.mark.parametrize(("call", "told"), WRONG_CALLS.values(), ids=WRONG_CALLS.keys())
def test_a_wrong_call_goes_back_as_one_line_and_the_run_goes_on(
    image: Pixels, segmenter: FakeSegmenter, call: tuple[str, Any], told: str
) -> None:
    answer = ask(image, segmenter, calling(call), SEGMENT, ANSWER)
    reply = tool_texts(answer)[0]
    assert reply.startswith("Error: ")
    assert told in reply
    assert "\n" not in reply
    assert answer.status == "answered"
    assert answer.usage.tool_errors == 1


def test_a_wrong_call_does_not_stop_the_right_ones_beside_it(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    both = calling(("zoom", {}), ("segment", {"phrases": ["dog"]}))
    answer = ask(
        image, segmenter, both, calling(("answer", {"text": "Two.", "numbers": [2, 1, 2]}))
    )
    assert tool_texts(answer)[1].startswith('"dog": masks 1, 2')
    assert answer.numbers == (2, 1)


def test_a_reply_without_a_call_is_told_so(image: Pixels, segmenter: FakeSegmenter) -> None:
    answer = ask(image, segmenter, Message("assistant", "I see two dogs."), SEGMENT, ANSWER)
    assert answer.messages[3].role == "user"
    assert answer.messages[3].text.startswith("You called no tool.")
    assert answer.status == "answered"


def test_the_last_turn_is_announced_and_running_out_gives_the_best_so_far(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, calling(("segment", {"phrases": ["cat"]}))])
    answer = Agent(planner, segmenter, budget=Budget(turns=2)).ask(image, "which dog?")
    assert answer.status == "out_of_budget"
    assert answer.numbers == (1, 2, 3)
    assert "2 turns" in answer.text
    assert planner.seen[1][-1].text.startswith("This is your last turn")
    assert not any(message.text.startswith("This is your last turn") for message in planner.seen[0])


def test_too_many_mistakes_in_a_row_end_the_run_with_the_best_so_far(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    wrong = calling(("answer", {"text": "x", "numbers": [9]}))
    replies = [SEGMENT, wrong, wrong, SEGMENT, wrong, wrong, Message("assistant", "hm"), wrong]
    answer = ask(image, segmenter, *replies, ANSWER)
    assert answer.status == "out_of_budget"
    assert answer.numbers == (1, 2, 3)
    assert "4 mistakes in a row (the last: there is no mask 9" in answer.text
    assert answer.usage.turns == 8


SPENDING = replace(
    SEGMENT, spent=TokenUsage(calls=1, input_tokens=900, output_tokens=100, cost=0.002)
)


@pytest.mark.parametrize(
    ("budget", "told", "turns"),
    [
        (Budget(tokens=1500), "1500 tokens", 2),
        (Budget(usd=0.001), "0.001 US dollars", 1),
        (Budget(seconds=1e-9), "1e-09 seconds", 0),
    ],
)
def test_nothing_is_sent_after_a_budget_is_spent(
    image: Pixels, segmenter: FakeSegmenter, budget: Budget, told: str, turns: int
) -> None:
    planner = ScriptedPlanner([SPENDING] * 5)
    answer = Agent(planner, segmenter, budget=budget).ask(image, "which dog?")
    assert answer.status == "out_of_budget"
    assert told in answer.text
    assert len(planner.seen) == answer.usage.turns == turns
    assert answer.usage.spent == sum([SPENDING.spent] * turns, TokenUsage())


def test_a_cost_is_unknown_as_soon_as_a_part_of_it_is(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    free = replace(ANSWER, spent=TokenUsage(calls=1, cost=None))
    answer = ask(image, segmenter, SPENDING, free)
    assert answer.to_dict()["usage"]["cost"] is None
    assert answer.to_dict()["usage"]["input_tokens"] == 900


def test_several_concept_calls_in_one_reply_are_asked_together(image: Pixels) -> None:
    class Watched(FakeSegmenter):
        batches: ClassVar[list[int]] = []

        def detect(self, features: Any, prompts: Any, selection: Any = STANDARD) -> Any:
            self.batches.append(len(prompts))
            return super().detect(features, prompts, selection)

    segmenter = Watched({"dog": [(10, 20, 60, 70)], "leash": [(50, 40, 90, 50)]})
    reply = calling(
        ("segment", {"phrases": ["dog"]}),
        ("segment", {"phrases": 3}),
        ("segment", {"phrases": ["leash", "cat"]}),
    )
    answer = ask(image, segmenter, reply, calling(("answer", {"text": "Both.", "numbers": [1, 2]})))
    assert segmenter.batches == [3]
    first, wrong, second = tool_texts(answer)[:3]
    assert first.startswith('"dog": masks 1 ')
    assert wrong.startswith("Error: ")
    assert second.startswith('"leash": masks 2 ')


def test_a_wait_past_the_time_limit_ends_with_the_best_so_far(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    class Late(ScriptedPlanner):
        def reply(self, messages: Any, tools: Any) -> Message:
            if len(self.seen) == 1:
                raise DeadlineError("no time is left to wait 90 s", tries=2)
            return super().reply(messages, tools)

    answer = Agent(Late([SEGMENT]), segmenter, budget=Budget(seconds=60)).ask(image, "which dog?")
    assert answer.status == "out_of_budget"
    assert answer.numbers == (1, 2, 3)
    assert "its time (no time is left to wait 90 s)" in answer.text
    assert answer.usage.spent.retries == 2


def test_a_budget_in_dollars_needs_a_known_price(segmenter: FakeSegmenter) -> None:
    class Unpriced(ScriptedPlanner):
        price = None

    with pytest.raises(InputError, match="the price of scripted is not known"):
        Agent(Unpriced([]), segmenter, budget=Budget(usd=1))


def test_a_planner_that_fails_raises_planner_error(image: Pixels, segmenter: FakeSegmenter) -> None:
    with pytest.raises(PlannerError, match="no further reply"):
        ask(image, segmenter, SEGMENT)


def test_a_segmenter_that_fails_raises_segmenter_error(image: Pixels) -> None:
    broken = FakeSegmenter({"dog": [(0, 0, 900, 900)]})
    with pytest.raises(SegmenterError, match="outside the image"):
        ask(image, broken, calling(("segment", {"phrases": ["dog"]})))


@pytest.mark.parametrize("query", ["", "   ", "x" * 4001])
def test_an_empty_or_endless_question_is_refused(
    image: Pixels, segmenter: FakeSegmenter, query: str
) -> None:
    with pytest.raises(InputError, match="question"):
        Agent(ScriptedPlanner([]), segmenter).ask(image, query)


def test_a_question_that_is_no_text_is_told_as_that(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    with pytest.raises(InputError, match="the question is 5, not text"):
        Agent(ScriptedPlanner([]), segmenter).ask(image, 5)  # type: ignore[arg-type]


def test_a_stream_tells_each_step_in_order_and_can_be_closed(
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


def test_an_own_tool_is_a_plain_function(image: Pixels, segmenter: FakeSegmenter) -> None:
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"planner": 42}, "42 is no planner"),
        ({"planner": ScriptedPlanner}, "give ScriptedPlanner"),
        ({"segmenter": FakeSegmenter}, "give FakeSegmenter"),
        ({"verifier": object()}, "is no verifier"),
        ({"effort": ["fast"]}, "choose fast, balanced"),
        ({"budget": [5]}, r"give a Budget, such as Budget\(turns=5\)"),
        ({"ask_person": "me"}, "give a function of the question"),
        ({"max_megapixels": "5"}, "give a number above 0"),
        ({"tools": "segment"}, "give a list of tools"),
        ({"tools": [3]}, "3 is no tool"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_was_expected(
    segmenter: FakeSegmenter, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        Agent(**{"planner": ScriptedPlanner([]), "segmenter": segmenter, **given})


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"turns": 0}, "whole number of at least 1"),
        ({"turns": None}, "whole number of at least 1"),
        ({"turns": True}, "whole number of at least 1"),
        ({"tokens": 1.5}, "whole number of at least 1"),
        ({"usd": "1"}, "number above 0"),
        ({"seconds": float("nan")}, "number above 0"),
    ],
)
def test_a_budget_takes_numbers_above_zero(limit: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=f"budget of {next(iter(limit))} is .*{expected}"):
        Budget(**limit)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("hello", "returned str, not a Message"),
        (None, "returned NoneType, not a Message"),
        (Message("user", "hello"), "role 'user', not 'assistant'"),
        (Message("assistant", spent=0), "spent is int, not TokenUsage"),  # type: ignore[arg-type]
        (
            Message("assistant", tool_calls=(ToolCall("1", "segment", {"phrases": ["dog"]}),)),  # type: ignore[arg-type]
            "arguments is dict, not str",
        ),
    ],
)
def test_a_planner_that_returns_no_reply_is_told_what_is_one(
    image: Pixels, segmenter: FakeSegmenter, reply: Any, expected: str
) -> None:
    with pytest.raises(PlannerError, match=expected):
        ask(image, segmenter, reply)


def test_a_function_that_returns_text_is_a_tool(image: Pixels, segmenter: FakeSegmenter) -> None:
    def count(scene: Scene) -> str:
        """Count the masks."""
        return f"{len(scene.masks)} masks"

    planner = ScriptedPlanner([calling(("count", {})), Message("assistant")])
    agent = Agent(planner, segmenter, tools=[count], budget=Budget(turns=2))
    assert tool_texts(agent.ask(image, "how many?")) == ["0 masks"]


def test_a_tool_that_returns_a_number_is_an_error(image: Pixels, segmenter: FakeSegmenter) -> None:
    def count(scene: Scene) -> int:
        """Count the masks."""
        return len(scene.masks)

    planner = ScriptedPlanner([calling(("count", {}))])
    with pytest.raises(InputError, match="the tool count returned int, not text, an Observation"):
        Agent(planner, segmenter, tools=[count]).ask(image, "how many?")  # type: ignore[list-item]
