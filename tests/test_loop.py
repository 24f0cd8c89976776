"""The turn loop: wrong calls, replies without a call, and budgets."""

import threading
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from sam3_agent import (
    STANDARD,
    Agent,
    Budget,
    Conclusion,
    InputError,
    Message,
    Scene,
    TokenUsage,
)
from sam3_agent.budget import stop_requested
from sam3_agent.errors import DeadlineError, StoppedError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from tests.conftest import ANSWER, SEGMENT, Ask, tool_texts

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


@pytest.mark.parametrize(("call", "error"), WRONG_CALLS.values(), ids=WRONG_CALLS.keys())
def test_a_wrong_call_goes_back_as_one_line_and_the_run_goes_on(
    ask: Ask, call: tuple[str, Any], error: str
) -> None:
    answer = ask(calling(call), SEGMENT, ANSWER)
    reply = tool_texts(answer)[0]
    assert reply.startswith("Error: ")
    assert error in reply
    assert "\n" not in reply
    assert answer.status == "answered"
    assert answer.usage.tool_errors == 1


def test_a_wrong_call_does_not_stop_the_right_ones_beside_it(ask: Ask) -> None:
    both = calling(("zoom", {}), ("segment", {"phrases": ["dog"]}))
    answer = ask(both, calling(("answer", {"text": "Two.", "numbers": [2, 1, 2]})))
    assert tool_texts(answer)[1].startswith('"dog": masks 1, 2')
    assert answer.numbers == (2, 1)


def test_a_reply_without_a_call_is_reminded_of_it(ask: Ask) -> None:
    answer = ask(Message("assistant", "I see two dogs."), SEGMENT, ANSWER)
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


def test_too_many_mistakes_in_a_row_end_the_run_with_the_best_so_far(ask: Ask) -> None:
    wrong = calling(("answer", {"text": "x", "numbers": [9]}))
    replies = [SEGMENT, wrong, wrong, SEGMENT, wrong, wrong, Message("assistant", "hm"), wrong]
    answer = ask(*replies, ANSWER)
    assert answer.status == "out_of_budget"
    assert answer.numbers == (1, 2, 3)
    assert "4 mistakes in a row (the last: there is no mask 9" in answer.text
    assert answer.usage.turns == 8


SPENDING = replace(
    SEGMENT, spent=TokenUsage(calls=1, input_tokens=900, output_tokens=100, cost=0.002)
)


@pytest.mark.parametrize(
    ("budget", "over", "turns"),
    [
        (Budget(tokens=1500), "1500 tokens", 2),
        (Budget(usd=0.001), "0.001 US dollars", 1),
        (Budget(seconds=1e-9), "1e-09 seconds", 0),
    ],
)
def test_nothing_is_sent_after_a_budget_is_spent(
    image: Pixels, segmenter: FakeSegmenter, budget: Budget, over: str, turns: int
) -> None:
    planner = ScriptedPlanner([SPENDING] * 5)
    answer = Agent(planner, segmenter, budget=budget).ask(image, "which dog?")
    assert answer.status == "out_of_budget"
    assert over in answer.text
    assert len(planner.seen) == answer.usage.turns == turns
    assert answer.usage.spent == sum([SPENDING.spent] * turns, TokenUsage())


def test_a_budget_of_tokens_ends_where_the_server_counts_none(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([replace(SEGMENT, spent=TokenUsage(calls=1))] * 5)
    answer = Agent(planner, segmenter, budget=Budget(tokens=1500)).ask(image, "which dog?")
    assert (answer.status, answer.usage.turns) == ("out_of_budget", 1)
    assert "1500 tokens, since the model's server does not count them" in answer.text


def test_a_cost_is_unknown_as_soon_as_a_part_of_it_is(ask: Ask) -> None:
    free = replace(ANSWER, spent=TokenUsage(calls=1, cost=None))
    answer = ask(SPENDING, free)
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
    planner = ScriptedPlanner([reply, calling(("answer", {"text": "Both.", "numbers": [1, 2]}))])
    answer = Agent(planner, segmenter).ask(image, "which dog?")
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


def test_an_answer_of_an_own_tool_may_only_have_masks_that_exist(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    def finish(scene: Scene, number: int) -> Conclusion:
        """End with a mask."""
        return Conclusion("This one.", (number,))

    planner = ScriptedPlanner([calling(("finish", {"number": 7}))] * 2)
    answer = Agent(planner, segmenter, tools=[finish], budget=Budget(turns=2)).ask(image, "which?")
    assert answer.status == "out_of_budget"
    assert "there is no mask 7" in tool_texts(answer)[0]


def test_no_model_is_called_after_a_stop_and_the_cost_until_then_is_known(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    stop = threading.Event()
    spent = TokenUsage(calls=1, input_tokens=10)

    class Stopping(ScriptedPlanner):
        def reply(self, messages: Any, tools: Any) -> Message:
            stop.set()  # the caller leaves while the first reply is on its way
            return super().reply(messages, tools)

    planner = Stopping([replace(calling(("segment", {"phrases": ["dog"]})), spent=spent)] * 2)
    token = stop_requested.set(stop)
    try:
        with pytest.raises(StoppedError) as stopped:
            Agent(planner, segmenter).ask(image, "which dog?")
    finally:
        stop_requested.reset(token)
    assert len(planner.seen) == 1
    assert stopped.value.usage is not None
    assert stopped.value.usage.spent.input_tokens == 10
