"""Fresh eyes: verification, the search for what is missing, a second reading, and their cost."""

import json
import threading
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
    InputError,
    Message,
    PlannerError,
    Scene,
    TokenUsage,
    Tool,
    ToolError,
    registry,
)
from sam3_agent.budget import UsageTracker, current_tracker
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.structured_output import MAX_PARALLEL

SEGMENT = calling(("segment", {"phrases": ["dog", "leash"]}))
BOTH = calling(("answer", {"text": "Both dogs.", "numbers": [1, 2]}))
FIRST = calling(("answer", {"text": "The first dog.", "numbers": [1]}))
NOTHING = calling(("answer", {"text": "No cat here.", "numbers": []}))


class Verifier:
    """A verifier that says what it is told to say, from any thread; `asked` keeps the questions."""

    name = "eyes"
    price = None

    def __init__(
        self,
        wrong: Sequence[int] = (),
        missing: tuple[str, list[list[float]]] | None = None,
        better: Callable[[str], str] = lambda text: "equal",
    ) -> None:
        self.wrong, self.missing, self.better = wrong, missing, better
        self.asked: list[Message] = []
        self._lock = threading.Lock()

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        system, question = messages[:2]
        assert (system.role, question.role) == ("system", "user")
        with self._lock:
            self.asked.append(question)
        (form,) = tools
        if form.name == "judge":
            listed = question.text.splitlines()[1].removeprefix("Masks to judge: ")
            verdicts = [
                {"number": n, "right": n not in self.wrong, "confidence": 0.9, "reason": "seen"}
                for n in map(int, listed.split(", "))
            ]
            values: dict[str, Any] = {"verdicts": verdicts}
        elif form.name == "report":
            what, regions = self.missing or ("", [])
            values = {"complete": self.missing is None, "missing": what, "regions": regions}
        else:
            values = {"better": self.better(question.text), "reason": "seen"}
        spent = TokenUsage(calls=1, input_tokens=10, output_tokens=1, cost=None)
        return Message("assistant", tool_calls=calling((form.name, values)).tool_calls, spent=spent)


def agent(segmenter: FakeSegmenter, verifier: Any, *replies: Message, **more: Any) -> Agent:
    return Agent(ScriptedPlanner(replies), segmenter, verifier=verifier, **more)


def said(agent: Agent, image: Pixels, query: str = "which dogs?") -> list[str]:
    return [e.text for e in agent.stream(image, query) if isinstance(e, ChecksFinished)]


def told(answer: Answer) -> list[str]:
    return [message.text for message in answer.messages if message.role == "tool"]


def test_an_answer_that_fresh_toolkit_confirm_goes_out_without_another_turn(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verifier = Verifier()
    answer = agent(segmenter, verifier, SEGMENT, BOTH).ask(image, "which dogs?")
    assert (answer.text, answer.numbers, answer.usage.turns) == ("Both dogs.", (1, 2), 2)
    (question,) = verifier.asked
    assert question.text == "Statement: which dogs?\nMasks to judge: 1, 2"
    assert question.pictures[0].shape[2] == 3
    assert answer.usage.parts["verify"].calls == 1
    assert answer.usage.to_dict()["parts"]["verify"]["input_tokens"] == 10


def test_doubts_go_back_to_the_planner_once(image: Pixels, segmenter: FakeSegmenter) -> None:
    verifier = Verifier(wrong=[2])
    answer = agent(segmenter, verifier, SEGMENT, BOTH, FIRST).ask(image, "which dogs?")
    assert answer.numbers == (1,)
    assert "Not sent yet" in told(answer)[1]
    assert "mask 2: WRONG (0.90): seen" in told(answer)[1]
    assert "mask 1" not in told(answer)[1]
    assert len(verifier.asked) == 1


def test_a_planner_may_insist(image: Pixels, segmenter: FakeSegmenter) -> None:
    answer = agent(segmenter, Verifier(wrong=[2]), SEGMENT, BOTH, BOTH).ask(image, "which dogs?")
    assert (answer.status, answer.numbers) == ("answered", (1, 2))


def test_a_doubted_answer_is_kept_when_the_turns_are_over(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    run = agent(segmenter, Verifier(wrong=[2]), SEGMENT, BOTH, SEGMENT, budget=Budget(turns=3))
    answer = run.ask(image, "which dogs?")
    assert (answer.status, answer.text, answer.numbers) == ("out_of_budget", "Both dogs.", (1, 2))


def test_the_last_turn_is_not_checked_since_nothing_could_follow(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verifier = Verifier(wrong=[1, 2])
    answer = agent(segmenter, verifier, SEGMENT, BOTH, budget=Budget(turns=2)).ask(
        image, "which dogs?"
    )
    assert answer.status == "answered"
    assert not verifier.asked


def test_fast_checks_nothing_and_offers_no_checks(image: Pixels, segmenter: FakeSegmenter) -> None:
    verifier = Verifier(wrong=[1])
    answer = agent(segmenter, verifier, SEGMENT, BOTH, effort="fast").ask(
        image, "who is better groomed?"
    )
    assert answer.numbers == (1, 2)
    assert not verifier.asked


def test_fast_takes_a_clear_concept_straight_to_the_segmenter(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    run = agent(segmenter, None, effort="fast")  # the planner has no reply to give
    answer = run.ask(image, "all dogs")
    assert (answer.status, answer.numbers) == ("answered", (1, 2))
    assert answer.text == "Found 2 of “dog”."
    assert (answer.usage.turns, answer.usage.spent.calls) == (0, 0)


@pytest.mark.parametrize("query", ["the dog", "the cat", "the dog left of the leash"])
def test_fast_asks_the_planner_when_it_is_not_clear(
    image: Pixels, segmenter: FakeSegmenter, query: str
) -> None:
    answer = agent(segmenter, None, SEGMENT, FIRST, effort="fast").ask(image, query)
    assert (answer.text, answer.usage.turns) == ("The first dog.", 2)


def test_thorough_asks_what_is_missing_and_tells_where_in_percent(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verifier = Verifier(missing=("a dog behind the tree", [[10, 20, 30, 40], [5, 5, 1, 1]]))
    run = agent(segmenter, verifier, SEGMENT, FIRST, BOTH, SEGMENT, BOTH, effort="thorough")
    answer = run.ask(image, "which dogs?")
    assert answer.numbers == (1, 2)
    assert "MISSING: a dog behind the tree; look again at [10, 20, 30, 40]" in told(answer)[1]


def test_thorough_looks_for_what_is_missing_in_an_empty_answer(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verifier = Verifier(missing=("a dog", []))
    run = agent(segmenter, verifier, NOTHING, SEGMENT, BOTH, SEGMENT, BOTH, effort="thorough")
    assert run.ask(image, "any dog?").numbers == (1, 2)


def test_thorough_takes_three_votes(image: Pixels, segmenter: FakeSegmenter) -> None:
    verifier = Verifier()
    answer = agent(segmenter, verifier, SEGMENT, FIRST, SEGMENT, FIRST, effort="thorough").ask(
        image, "dog?"
    )
    ballots = [q.text for q in verifier.asked if q.text.startswith("Statement")]
    assert sorted(set(ballots)) == [
        f"Statement: dog?\nMasks to judge: 1\n(Vote {n} of 3.)" for n in (1, 2, 3)
    ]
    assert answer.usage.parts["verify"].calls == 6
    assert answer.usage.turns == 4


@pytest.mark.parametrize(
    ("better", "numbers", "verdict"),
    [
        (lambda text: "A" if "Answer A: Both" in text else "B", (1, 2), "the second answer is"),
        (lambda text: "B" if "Answer A: Both" in text else "A", (1,), "the first answer is"),
        (lambda text: "A", (1,), "the first answer is"),  # it likes whatever comes first
        (lambda text: "both are fine", (1,), "the first answer is"),
    ],
)
def test_of_two_readings_the_better_one_wins_if_the_order_does_not_matter(
    image: Pixels,
    segmenter: FakeSegmenter,
    better: Callable[[str], str],
    numbers: tuple[int, ...],
    verdict: str,
) -> None:
    script = (SEGMENT, FIRST, SEGMENT, BOTH)
    answer = agent(segmenter, Verifier(better=better), *script, effort="thorough").ask(
        image, "which?"
    )
    assert answer.numbers == numbers
    assert answer.usage.parts["compare"].calls == 2
    heard = said(agent(segmenter, Verifier(better=better), *script, effort="thorough"), image)
    assert verdict in heard[-1]


def test_answers_are_compared_beside_the_image_without_marks(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verifier = Verifier()
    agent(segmenter, verifier, SEGMENT, FIRST, SEGMENT, BOTH, effort="thorough").ask(
        image, "which?"
    )
    compared = [question.pictures for question in verifier.asked if "Answer A" in question.text]
    assert len(compared) == 2
    for plain, *marked in compared:
        assert np.array_equal(plain, image)
        assert len(marked) == 2


def test_a_second_reading_that_fails_costs_nothing_but_itself(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    answer = agent(segmenter, Verifier(), SEGMENT, BOTH, effort="thorough").ask(
        image, "which dogs?"
    )
    assert answer.numbers == (1, 2)  # the script had no reply for the second reading


def test_a_verifier_that_fails_or_talks_nonsense_never_loses_the_answer(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    class Broken:
        name = "broken"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            raise PlannerError("openai: wrong key")

    run = agent(segmenter, Broken(), SEGMENT, BOTH)
    assert "mask 1: not judged: openai: wrong key" in said(run, image)[0]
    nonsense = ScriptedPlanner([Message("assistant", "Looks fine!"), calling(("judge", "{"))])
    answer = agent(segmenter, nonsense, SEGMENT, BOTH).ask(image, "which dogs?")
    assert answer.numbers == (1, 2)
    retried = nonsense.seen[1]
    assert "call it" in retried[-1].text


def test_a_second_try_at_the_form_counts(image: Pixels, segmenter: FakeSegmenter) -> None:
    verdict = {"number": 1, "right": False, "confidence": 2, "reason": "a\ncat"}
    verifier = ScriptedPlanner(
        [calling(("accept", {})), calling(("judge", {"verdicts": [verdict]}))]
    )
    answer = agent(segmenter, verifier, SEGMENT, FIRST, FIRST).ask(image, "which dog?")
    assert "mask 1: WRONG (1.00): a cat" in told(answer)[1]


def test_nothing_is_checked_once_the_budget_is_spent(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    verifier = Verifier(wrong=[1])
    dear = replace(BOTH, spent=TokenUsage(calls=1, input_tokens=1000))
    answer = agent(segmenter, verifier, SEGMENT, dear, budget=Budget(tokens=500)).ask(
        image, "which?"
    )
    assert (answer.status, answer.numbers) == ("answered", (1, 2))
    assert not verifier.asked


def test_dollars_need_the_price_of_the_verifier_too(segmenter: FakeSegmenter) -> None:
    with pytest.raises(InputError, match="the price of eyes is not known"):
        agent(segmenter, Verifier(), budget=Budget(usd=1))


def test_an_unknown_effort_is_refused(segmenter: FakeSegmenter) -> None:
    with pytest.raises(InputError, match="choose fast, balanced, exhaustive, thorough"):
        agent(segmenter, None, effort="maximal")


def test_a_second_reading_that_fails_is_paid_for(image: Pixels, segmenter: FakeSegmenter) -> None:
    dear = replace(SEGMENT, spent=TokenUsage(calls=1, input_tokens=100))
    script = [dear, replace(BOTH, spent=TokenUsage(calls=1, input_tokens=100)), dear]
    answer = agent(segmenter, Verifier(), *script, effort="thorough").ask(image, "which dogs?")
    assert (answer.text, answer.usage.turns) == ("Both dogs.", 3)
    assert answer.usage.parts["planner"].input_tokens == 300
    parts = answer.usage.parts.values()
    assert answer.usage.spent.input_tokens == sum(part.input_tokens for part in parts)


def test_tries_in_vain_of_a_verifier_are_counted(image: Pixels, segmenter: FakeSegmenter) -> None:
    class Down:
        name = "down"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            raise PlannerError("openai model m answered 500 after 6 tries", 6)

    answer = agent(segmenter, Down(), SEGMENT, BOTH).ask(image, "which dogs?")
    assert answer.numbers == (1, 2)
    assert answer.usage.parts["verify"].retries == 6


def test_a_planner_that_fails_after_doubts_does_not_lose_the_doubted_answer(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    run = agent(
        segmenter, Verifier(wrong=[2]), SEGMENT, BOTH
    )  # the script has no reply to the doubts
    answer = run.ask(image, "which dogs?")
    assert (answer.status, answer.text, answer.numbers) == ("answered", "Both dogs.", (1, 2))
    heard = said(agent(segmenter, Verifier(wrong=[2]), SEGMENT, BOTH), image)
    assert "the script has no further reply" in heard[-1]


def test_the_same_answer_twice_in_one_reply_does_not_slip_past_the_doubts(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    numbers = {"text": "Both dogs.", "numbers": [1, 2]}
    twice = calling(("answer", numbers), ("answer", numbers))
    answer = agent(segmenter, Verifier(wrong=[2]), SEGMENT, twice, FIRST).ask(image, "which dogs?")
    assert answer.numbers == (1,)
    assert [text.startswith("Not sent") for text in told(answer)] == [False, True, True, False]


def test_verdicts_in_one_call_for_each_mask_all_count(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    def verdict(number: int, right: bool) -> dict[str, Any]:
        one = {"number": number, "right": right, "confidence": 0.9, "reason": "seen"}
        return {"verdicts": [one]}

    verifier = ScriptedPlanner([calling(("judge", verdict(1, True)), ("judge", verdict(2, False)))])
    heard = said(agent(segmenter, verifier, SEGMENT, BOTH, BOTH), image)
    assert heard == ["mask 1: right (0.90): seen\nmask 2: WRONG (0.90): seen"]


def test_a_verdict_may_say_more_than_was_asked(image: Pixels, segmenter: FakeSegmenter) -> None:
    one = {"number": 1, "right": True, "confidence": 1, "reason": "seen", "label": "dog"}
    verifier = ScriptedPlanner([calling(("judge", {"verdicts": [one]}))])
    assert said(agent(segmenter, verifier, SEGMENT, FIRST), image) == ["mask 1: right (1.00): seen"]


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
def test_only_places_in_the_image_are_looked_at_again(
    scene: Scene, region: list[float], where: str
) -> None:
    verifier = Verifier(missing=("a cat", [region]))
    seen = tool(verifier, "check_complete").run(scene, '{"query": "animals", "numbers": [1]}')
    assert seen.text == f"MISSING: a cat{where}"


def test_a_budget_of_dollars_ends_with_a_reply_whose_cost_is_unknown(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    blind = replace(SEGMENT, spent=TokenUsage(calls=1, cost=None))
    answer = agent(segmenter, None, blind, BOTH, budget=Budget(usd=0.5)).ask(image, "which dogs?")
    assert answer.status == "out_of_budget"
    assert "its 0.5 US dollars, since the cost of a reply is not known" in answer.text


def test_nothing_more_is_asked_once_a_budget_is_spent_side_by_side(image: Pixels) -> None:
    scene = Scene(image, FakeSegmenter({"dog": [(9 * i, 10, 9 * i + 8, 30) for i in range(20)]}))
    scene.segment(["dog"])
    account = UsageTracker(Budget(tokens=11))
    verifier = Verifier()
    token = current_tracker.set(account)
    try:
        arguments = {"numbers": list(range(1, 21)), "statement": "a dog", "votes": 5}
        tool(verifier, "verify").run(scene, json.dumps(arguments))
    finally:
        current_tracker.reset(token)
    assert 1 <= len(verifier.asked) <= MAX_PARALLEL
    assert account.total.calls == len(verifier.asked)


def test_a_planner_that_sees_nothing_is_refused_as_a_verifier(segmenter: FakeSegmenter) -> None:
    with pytest.raises(InputError, match="offline sees no pictures, so it cannot verify"):
        agent(segmenter, "offline")


# --- the checks as tools of the planner


@pytest.fixture
def scene(image: Pixels, segmenter: FakeSegmenter) -> Scene:
    scene = Scene(image, segmenter)
    scene.segment(["dog", "leash"])
    return scene


def tool(verifier: Any, name: str) -> Tool:
    return next(tool for tool in registry.reviewer(verifier).tools() if tool.name == name)


def test_many_masks_are_verified_five_to_a_picture(image: Pixels) -> None:
    boxes = [(10 * i, 10, 10 * i + 8, 30) for i in range(12)]
    scene = Scene(image, FakeSegmenter({"dog": boxes}))
    scene.segment(["dog"])
    verifier = Verifier(wrong=[7])
    arguments = {"numbers": list(range(1, 13)), "statement": "a dog"}
    seen = tool(verifier, "verify").run(scene, json.dumps(arguments))
    assert len(verifier.asked) == 3
    lines = seen.text.splitlines()
    assert lines[6] == "mask 7: WRONG (0.90): seen"
    assert [line.split(":")[0] for line in lines] == [f"mask {n}" for n in range(1, 13)]


def test_the_majority_of_votes_counts_and_a_tie_is_no_verdict(scene: Scene) -> None:
    def vote(right: bool) -> Message:
        verdict = {"number": 1, "right": right, "confidence": 0.9, "reason": str(right)}
        return calling(("judge", {"verdicts": [verdict]}))

    def votes(*rights: bool) -> str:
        verifier = ScriptedPlanner([vote(right) for right in rights])
        arguments = {"numbers": [1], "statement": "a dog", "votes": len(rights)}
        return tool(verifier, "verify").run(scene, json.dumps(arguments)).text

    assert votes(True, False, True) == "mask 1: right (0.60): True"
    assert votes(True, False) == "mask 1: not judged: the votes are even"


def test_check_complete_names_regions(scene: Scene) -> None:
    verifier = Verifier(missing=("a cat", [[0, 0, 50, 100]]))
    seen = tool(verifier, "check_complete").run(scene, '{"query": "animals", "numbers": [1]}')
    assert seen.text == "MISSING: a cat; look again at [0, 0, 50, 100]"
    assert len(verifier.asked[0].pictures) == 2
    whole = tool(Verifier(), "check_complete").run(scene, '{"query": "animals", "numbers": []}')
    assert whole.text == "complete: nothing is missing"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
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
def test_bad_arguments_of_checks_are_told(
    scene: Scene, name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ToolError, match=said):
        tool(Verifier(), name).run(scene, json.dumps(arguments))


def test_checks_run_side_by_side_and_share_one_ledger(scene: Scene) -> None:
    together = threading.Barrier(3, timeout=20)

    class Slow(Verifier):
        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            together.wait()  # passes only when three calls are under way at once
            return super().reply(messages, tools)

    account = UsageTracker(Budget())
    token = current_tracker.set(account)
    try:
        arguments = {"numbers": [1, 2], "statement": "a dog", "votes": 3}
        tool(Slow(), "verify").run(scene, json.dumps(arguments))
    finally:
        current_tracker.reset(token)
    assert account.parts["verify"].calls == 3
