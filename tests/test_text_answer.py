"""A planner that answers in plain text and never calls `answer`."""

from typing import Any

import pytest

from sam3_agent import Agent, Budget, ChecksFinished, Message, TokenUsage
from sam3_agent.images import Pixels
from sam3_agent.loop import NO_CALL
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from tests.conftest import Ask
from tests.scripted_verifier import ScriptedVerifier

SEGMENT = calling(("segment", {"phrases": ["dog", "leash"]}))
NO_CAT = calling(("segment", {"phrases": ["cat"]}))


def text(words: str, **more: Any) -> Message:
    return Message("assistant", words, **more)


def note(source: str) -> str:
    return f"\n(The planner did not call `answer`: this is its text, {source}.)"


NAMED = note("with the masks that it names")
LATEST = note("with the masks that were found last")
NO_MASKS = note("and it names no masks")


def test_text_after_one_reminder_is_the_answer_with_the_masks_that_were_found_last(
    ask: Ask,
) -> None:
    words = text("Two dogs and a leash.")
    answer = ask(SEGMENT, words, words)
    assert (answer.status, answer.numbers) == ("answered", (1, 2, 3))
    assert answer.text == "Two dogs and a leash." + LATEST
    assert answer.masks.phrases == ("dog", "dog", "leash")
    assert [m.text for m in answer.messages].count(NO_CALL) == 1
    assert (answer.usage.turns, answer.usage.tool_calls, answer.usage.tool_errors) == (3, 1, 0)


def test_mentions_in_text_are_its_masks(ask: Ask) -> None:
    words = text("The [small dog](2) has a [leash](3, 77) and a [tail](12).")
    answer = ask(SEGMENT, words, words)
    assert (answer.status, answer.numbers) == ("answered", (2, 3))
    assert answer.text == "The small dog has a leash and a tail." + NAMED
    pointed = [(answer.text[m.start : m.end], m.numbers) for m in answer.mentions]
    assert pointed == [("small dog", (2,)), ("leash", (3,))]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("It is mask 2.", (2,)),
        ("It is **Mask #3**.", (3,)),
        ("See masks 1, 2 and 3.", (1, 2, 3)),
        ("See masks 1-2.", (1, 2)),
        ("The dogs (masks: [2, 1]).", (2, 1)),
        ("Mask number 2, not mask 9.", (2,)),
        ("La máscara 3.", (3,)),
        # no numbers of masks: those that were found last
        ("It is mask 9.", (1, 2, 3)),
        ("2 dogs, which cover 3% of the image.", (1, 2, 3)),
        ("A masked 2 year old dog.", (1, 2, 3)),
        ("The mask 2.5 times as large.", (1, 2, 3)),
    ],
)
def test_masks_may_be_named_in_words(ask: Ask, words: str, numbers: tuple[int, ...]) -> None:
    answer = ask(SEGMENT, text(words), text(words))
    assert (answer.status, answer.numbers) == ("answered", numbers)
    assert answer.text.endswith(LATEST if numbers == (1, 2, 3) and "1" not in words else NAMED)


@pytest.mark.parametrize(
    "words", ["There is no cat here.", "No cat.", "I don't see a cat.", "There are none."]
)
def test_text_that_denies_that_there_is_anything_has_no_masks(ask: Ask, words: str) -> None:
    answer = ask(SEGMENT, NO_CAT, text(words), text(words))
    assert (answer.status, answer.numbers, answer.text) == ("no_target", (), words + NO_MASKS)


def test_text_without_any_finding_has_no_masks(ask: Ask) -> None:
    answer = ask(text("It is a dog."), text("It is a dog."))
    assert (answer.status, answer.text) == ("no_target", "It is a dog." + NO_MASKS)


def test_the_reply_that_names_masks_counts_and_not_the_apology_after_it(ask: Ask) -> None:
    answer = ask(SEGMENT, text("The [dog](2)."), text("Sorry, see above."))
    assert (answer.numbers, answer.text) == ((2,), "The dog." + NAMED)
    answer = ask(SEGMENT, text("The dog."), text(""))
    assert (answer.numbers, answer.text) == ((1, 2, 3), "The dog." + LATEST)


def test_a_planner_that_calls_a_tool_after_the_reminder_goes_on(ask: Ask) -> None:
    first = calling(("answer", {"text": "The first.", "numbers": [1]}))
    looking = text("Let me look for the dog.")
    answer = ask(looking, SEGMENT, looking, NO_CAT, looking, first)
    assert (answer.status, answer.numbers, answer.text) == ("answered", (1,), "The first.")
    assert [m.text for m in answer.messages].count(NO_CALL) == 3


EMPTY = [
    "",
    " \n",
    "<think>It must be mask 1.</think>",
    "<think>It must be mask 1, because",
    '```json\n[{"box_2d": [1, 2, 3, 4], "label": "dog"}]\n```',
    '{"boxes": [[1, 2, 3, 4]]}',
    "MALFORMED_FUNCTION_CALL\nsegment(phrases=[dog",
    "...",
    "x" * 5000,
]


@pytest.mark.parametrize("words", EMPTY)
def test_what_is_no_prose_is_no_answer(ask: Ask, words: str) -> None:
    answer = ask(SEGMENT, *[text(words)] * 4)
    assert answer.status == "out_of_budget"
    assert "4 mistakes in a row" in answer.text


def test_the_first_prose_after_empty_replies_is_reminded_once_too(ask: Ask) -> None:
    answer = ask(SEGMENT, text(""), text("Well"), text("The [dog](1)."))
    assert (answer.status, answer.numbers, answer.usage.turns) == ("answered", (1,), 4)


@pytest.mark.parametrize(
    "words",
    [
        "<think>Mask 2? No.</think>The [dog](1).",
        "Mask 2? No.</think>\n\nThe [dog](1).",
        "<seed:think>Mask 2? No.</seed:think>The [dog](1).",
        "[THINK]Mask 2? No.[/THINK]The [dog](1).",
        "◁think▷Mask 2? No.◁/think▷The [dog](1).",
        "<|channel|>analysis<|message|>Mask 2?<|end|><|start|>assistant<|channel|>final"
        "<|message|>The [dog](1).<|return|>",
        "<|channel>thought\nMask 2?<channel|>The [dog](1).",
        "<think>Mask 2? No.</think><answer>The [dog](1).</answer>",
    ],
)
def test_reasoning_is_kept_out(ask: Ask, words: str) -> None:
    answer = ask(SEGMENT, text(words), text(words))
    assert (answer.numbers, answer.text) == ((1,), "The dog." + NAMED)


def test_text_in_the_last_turn_of_a_budget_is_kept_beside_what_was_used_up(ask: Ask) -> None:
    answer = ask(SEGMENT, text("The [dog](2)."), budget=Budget(turns=2))
    assert (answer.status, answer.numbers) == ("out_of_budget", (2,))
    assert answer.text == "The dog." + NAMED + "\n(It used up its 2 turns.)"
    spent = text("The [dog](2).", spent=TokenUsage(calls=1, input_tokens=900))
    answer = ask(SEGMENT, spent, budget=Budget(tokens=500))
    assert (answer.status, answer.numbers) == ("out_of_budget", (2,))
    assert answer.text.startswith("The dog." + NAMED + "\n(It used up its 500 tokens")


def test_a_reminded_planner_may_answer_in_text_in_the_last_turn(ask: Ask) -> None:
    words = text("The [dog](2).")
    answer = ask(SEGMENT, words, words, budget=Budget(turns=3))
    assert (answer.status, answer.numbers) == ("answered", (2,))


def test_a_text_answer_is_verified_and_doubted_as_any_other(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    wrong, right = text("The [dog](1)."), text("The [dog](2).")
    agent = Agent(
        ScriptedPlanner([SEGMENT, wrong, wrong, right]),
        segmenter,
        verifier=ScriptedVerifier(wrong=[1]),
    )
    events = list(agent.stream(image, "which dog?"))
    checks = [event.text for event in events if isinstance(event, ChecksFinished)]
    assert checks == ["mask 1: WRONG (0.90): seen"]
    answer = events[-1].answer  # type: ignore[union-attr]
    assert (answer.status, answer.numbers, answer.text) == ("answered", (2,), "The dog." + NAMED)
    assert "Not sent yet" in answer.messages[-2].text


def test_a_doubted_answer_is_sent_when_the_planner_calls_no_tool_from_then_on(ask: Ask) -> None:
    first = calling(("answer", {"text": "The first.", "numbers": [1]}))
    sure = text("I am sure of it.")
    answer = ask(SEGMENT, first, sure, sure, verifier=ScriptedVerifier(wrong=[1]))
    assert (answer.status, answer.numbers, answer.text) == ("answered", (1,), "The first.")


def test_a_second_reading_is_compared_with_a_text_answer(ask: Ask) -> None:
    first, second = text("The [dog](1)."), text("The [dog](2).")
    verifier = ScriptedVerifier()
    script = (SEGMENT, first, first, SEGMENT, second, second)
    answer = ask(*script, verifier=verifier, effort="thorough")
    assert ["Answer A" in question.text for question in verifier.asked[-2:]] == [True, True]
    assert (answer.status, len(answer.masks)) == ("answered", 1)
    assert answer.text == "The dog." + NAMED


def test_a_chat_goes_on_after_a_text_answer(image: Pixels, segmenter: FakeSegmenter) -> None:
    words = text("The [dog](2).")
    left = calling(("answer", {"text": "The left one.", "numbers": [1]}))
    planner = ScriptedPlanner([SEGMENT, words, words, left])
    chat = Agent(planner, segmenter).chat(image)
    assert chat.ask("which dog?").numbers == (2,)
    assert chat.ask("and the left one?").numbers == (1,)
    assert [m.role for m in planner.seen[-1][-2:]] == ["assistant", "user"]
    assert planner.seen[-1][-2].text == "The [dog](2)."
