"""Review of answers: verification, recall check, second reading, fast path, and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sam3_agent import (
    Agent,
    Answer,
    Budget,
    ChecksFinished,
    Effort,
    InputError,
    Message,
    PlannerError,
    TokenUsage,
    Tool,
)
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from tests.conftest import SEGMENT, tool_texts
from tests.scripted_verifier import ScriptedVerifier, judging, verdict

BOTH = calling(("answer", {"text": "Both dogs.", "numbers": [1, 2]}))
FIRST = calling(("answer", {"text": "The first dog.", "numbers": [1]}))
NOTHING = calling(("answer", {"text": "No cat here.", "numbers": []}))


class Asking:
    """Asks agents whose planner plays a script, about the image of the tests."""

    def __init__(self, image: Pixels, segmenter: FakeSegmenter) -> None:
        self.image, self.segmenter = image, segmenter

    def agent(self, verifier: Any, *replies: Message, **more: Any) -> Agent:
        return Agent(ScriptedPlanner(replies), self.segmenter, verifier=verifier, **more)

    def __call__(
        self, verifier: Any, *replies: Message, query: str = "which dogs?", **more: Any
    ) -> Answer:
        return self.agent(verifier, *replies, **more).ask(self.image, query)

    def checks(self, verifier: Any, *replies: Message, **more: Any) -> list[str]:
        """The texts of the checks that were made."""
        events = self.agent(verifier, *replies, **more).stream(self.image, "which dogs?")
        return [event.text for event in events if isinstance(event, ChecksFinished)]


@pytest.fixture
def ask(image: Pixels, segmenter: FakeSegmenter) -> Asking:
    return Asking(image, segmenter)


def costing(reply: Message, **spent: int) -> Message:
    return replace(reply, spent=TokenUsage(calls=1, **spent))


# Verification


def test_an_answer_without_doubts_is_sent_without_another_turn(ask: Asking) -> None:
    verifier = ScriptedVerifier()
    answer = ask(verifier, SEGMENT, BOTH)
    assert (answer.text, answer.numbers, answer.usage.turns) == ("Both dogs.", (1, 2), 2)
    (question,) = verifier.asked
    assert question.text == "Statement: which dogs?\nMasks to judge: 1, 2"
    assert question.pictures[0].shape[2] == 3
    assert answer.usage.parts["verify"].calls == 1
    assert answer.usage.to_dict()["parts"]["verify"]["input_tokens"] == 10


def test_doubts_go_back_to_the_planner_once(ask: Asking) -> None:
    verifier = ScriptedVerifier(wrong=[2])
    answer = ask(verifier, SEGMENT, BOTH, FIRST)
    assert answer.numbers == (1,)
    doubts = tool_texts(answer)[1]
    assert doubts.startswith("Not sent yet")
    assert "mask 2: WRONG (0.90): seen" in doubts
    assert "mask 1" not in doubts
    assert len(verifier.asked) == 1


def test_a_planner_may_insist(ask: Asking) -> None:
    answer = ask(ScriptedVerifier(wrong=[2]), SEGMENT, BOTH, BOTH)
    assert (answer.status, answer.numbers) == ("answered", (1, 2))


def test_a_doubted_answer_is_kept_when_the_turns_are_over(ask: Asking) -> None:
    verifier = ScriptedVerifier(wrong=[2])
    answer = ask(verifier, SEGMENT, BOTH, SEGMENT, budget=Budget(turns=3))
    assert (answer.status, answer.text, answer.numbers) == ("out_of_budget", "Both dogs.", (1, 2))


def test_a_doubted_answer_is_kept_when_the_planner_fails(ask: Asking) -> None:
    script = (SEGMENT, BOTH)  # without a reply to the doubts
    answer = ask(ScriptedVerifier(wrong=[2]), *script)
    assert (answer.status, answer.text, answer.numbers) == ("answered", "Both dogs.", (1, 2))
    checks = ask.checks(ScriptedVerifier(wrong=[2]), *script)
    assert "the script has no further reply" in checks[-1]


def test_an_answer_in_the_last_turn_is_not_checked(ask: Asking) -> None:
    verifier = ScriptedVerifier(wrong=[1, 2])
    assert ask(verifier, SEGMENT, BOTH, budget=Budget(turns=2)).status == "answered"
    assert not verifier.asked


def test_nothing_is_checked_once_the_budget_is_used_up(ask: Asking) -> None:
    verifier = ScriptedVerifier(wrong=[1])
    answer = ask(verifier, SEGMENT, costing(BOTH, input_tokens=1000), budget=Budget(tokens=500))
    assert (answer.status, answer.numbers) == ("answered", (1, 2))
    assert not verifier.asked


def test_doubts_hold_for_the_same_answer_again_in_one_reply(ask: Asking) -> None:
    numbers = {"text": "Both dogs.", "numbers": [1, 2]}
    twice = calling(("answer", numbers), ("answer", numbers))
    answer = ask(ScriptedVerifier(wrong=[2]), SEGMENT, twice, FIRST)
    assert answer.numbers == (1,)
    doubted = [text.startswith("Not sent") for text in tool_texts(answer)]
    assert doubted == [False, True, True, False]


def test_a_verifier_that_fails_or_keeps_to_no_schema_loses_no_answer(ask: Asking) -> None:
    class Broken:
        name = "broken"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            raise PlannerError("openai: wrong key", 6)

    assert "mask 1: not judged: openai: wrong key" in ask.checks(Broken(), SEGMENT, BOTH)[0]
    assert ask(Broken(), SEGMENT, BOTH).usage.parts["verify"].retries == 6
    nonsense = ScriptedPlanner([Message("assistant", "Looks fine!"), calling(("judge", "{"))])
    assert ask(nonsense, SEGMENT, BOTH).numbers == (1, 2)
    assert "call it" in nonsense.seen[1][-1].text


def test_a_verifier_gets_a_second_attempt_at_the_schema(ask: Asking) -> None:
    wrong = judging(verdict(1, False, confidence=2, reason="a\ncat"))
    verifier = ScriptedPlanner([calling(("accept", {})), wrong])
    answer = ask(verifier, SEGMENT, FIRST, FIRST)
    assert "mask 1: WRONG (1.00): a cat" in tool_texts(answer)[1]


def test_verdicts_in_a_call_for_each_mask_all_count(ask: Asking) -> None:
    calls = [("judge", {"verdicts": [verdict(n, n == 1)]}) for n in (1, 2)]
    checks = ask.checks(ScriptedPlanner([calling(*calls)]), SEGMENT, BOTH, BOTH)
    assert checks == ["mask 1: right (0.90): seen\nmask 2: WRONG (0.90): seen"]


def test_a_verdict_may_have_more_keys_than_the_schema(ask: Asking) -> None:
    verifier = ScriptedPlanner([judging(verdict(1, label="dog"))])
    assert ask.checks(verifier, SEGMENT, FIRST) == ["mask 1: right (0.90): seen"]


def test_dollars_need_the_price_of_the_verifier_too(ask: Asking) -> None:
    with pytest.raises(InputError, match="the price of verifier is not known"):
        ask.agent(ScriptedVerifier(), budget=Budget(usd=1))


def test_a_budget_of_dollars_ends_with_a_reply_whose_cost_is_unknown(ask: Asking) -> None:
    unknown = replace(SEGMENT, spent=TokenUsage(calls=1, cost=None))
    answer = ask(None, unknown, BOTH, budget=Budget(usd=0.5))
    assert answer.status == "out_of_budget"
    assert "its 0.5 US dollars, since the cost of a reply is not known" in answer.text


def test_a_planner_that_takes_no_pictures_is_refused_as_a_verifier(ask: Asking) -> None:
    with pytest.raises(InputError, match="offline sees no pictures, so it cannot verify"):
        ask.agent("offline")


# Efforts


def test_fast_checks_nothing_and_offers_no_checks(ask: Asking) -> None:
    verifier = ScriptedVerifier(wrong=[1])
    answer = ask(verifier, SEGMENT, BOTH, effort="fast", query="who is better groomed?")
    assert answer.numbers == (1, 2)
    assert not verifier.asked


def test_fast_asks_the_segmenter_alone_for_a_clear_concept(ask: Asking) -> None:
    answer = ask(None, effort="fast", query="all dogs")  # the planner has no reply
    assert (answer.status, answer.numbers) == ("answered", (1, 2))
    assert answer.text == "Found 2 of “dog”."
    assert (answer.usage.turns, answer.usage.spent.calls) == (0, 0)


@pytest.mark.parametrize("query", ["the dog", "the cat", "the dog left of the leash"])
def test_fast_asks_the_planner_when_it_is_not_clear(ask: Asking, query: str) -> None:
    answer = ask(None, SEGMENT, FIRST, effort="fast", query=query)
    assert (answer.text, answer.usage.turns) == ("The first dog.", 2)


def test_thorough_names_what_is_missing_and_where_in_percent(ask: Asking) -> None:
    verifier = ScriptedVerifier(missing=("a dog behind a tree", [[10, 20, 30, 40], [5, 5, 1, 1]]))
    answer = ask(verifier, SEGMENT, FIRST, BOTH, SEGMENT, BOTH, effort="thorough")
    assert answer.numbers == (1, 2)
    doubts = tool_texts(answer)[1]
    assert "MISSING: a dog behind a tree; look again at [10, 20, 30, 40]" in doubts


def test_thorough_checks_an_empty_answer_for_what_is_missing(ask: Asking) -> None:
    verifier = ScriptedVerifier(missing=("a dog", []))
    answer = ask(verifier, NOTHING, SEGMENT, BOTH, SEGMENT, BOTH, effort="thorough")
    assert answer.numbers == (1, 2)


def test_thorough_takes_three_votes(ask: Asking) -> None:
    verifier = ScriptedVerifier()
    answer = ask(verifier, SEGMENT, FIRST, SEGMENT, FIRST, effort="thorough")
    ballots = [question.text for question in verifier.asked if "Statement" in question.text]
    assert sorted(set(ballots)) == [
        f"Statement: which dogs?\nMasks to judge: 1\n(Vote {n} of 3.)" for n in (1, 2, 3)
    ]
    assert answer.usage.parts["verify"].calls == 6
    assert answer.usage.turns == 4


@pytest.mark.parametrize("values", [{"votes": 6}, {"votes": "3"}, {"readings": 0}, {"readings": 3}])
def test_an_effort_that_does_not_exist_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give a whole number from"):
        Effort("own", **values)


def test_an_unknown_name_of_an_effort_is_refused(ask: Asking) -> None:
    with pytest.raises(InputError, match="choose fast, balanced, exhaustive, thorough"):
        ask.agent(None, effort="maximal")


# Second readings


@pytest.mark.parametrize(
    ("better", "numbers", "verdict"),
    [
        (lambda text: "A" if "Answer A: Both" in text else "B", (1, 2), "the second answer is"),
        (lambda text: "B" if "Answer A: Both" in text else "A", (1,), "the first answer is"),
        (lambda text: "A", (1,), "the first answer is"),  # whichever is shown first
        (lambda text: "both are fine", (1,), "the first answer is"),
    ],
)
def test_of_two_readings_the_better_one_is_kept_if_the_order_does_not_matter(
    ask: Asking, better: Callable[[str], str], numbers: tuple[int, ...], verdict: str
) -> None:
    script = (SEGMENT, FIRST, SEGMENT, BOTH)
    answer = ask(ScriptedVerifier(better=better), *script, effort="thorough")
    assert answer.numbers == numbers
    assert answer.usage.parts["compare"].calls == 2
    checks = ask.checks(ScriptedVerifier(better=better), *script, effort="thorough")
    assert verdict in checks[-1]


def test_a_comparison_shows_the_plain_image_and_both_answers(ask: Asking) -> None:
    verifier = ScriptedVerifier()
    ask(verifier, SEGMENT, FIRST, SEGMENT, BOTH, effort="thorough")
    compared = [question.pictures for question in verifier.asked if "Answer A" in question.text]
    assert len(compared) == 2
    for plain, *marked in compared:
        assert np.array_equal(plain, ask.image)
        assert len(marked) == 2


def test_a_second_reading_that_fails_leaves_the_first_answer_and_is_counted(ask: Asking) -> None:
    replies = [costing(one, input_tokens=100) for one in (SEGMENT, BOTH, SEGMENT)]
    answer = ask(ScriptedVerifier(), *replies, effort="thorough")  # the fourth reply is not there
    assert (answer.text, answer.numbers, answer.usage.turns) == ("Both dogs.", (1, 2), 3)
    assert answer.usage.parts["planner"].input_tokens == 300
    parts = answer.usage.parts.values()
    assert answer.usage.spent.input_tokens == sum(part.input_tokens for part in parts)
