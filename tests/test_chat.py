"""Chats, mentions, and questions to the person."""

import time
from typing import Any

import numpy as np
import pytest

from sam3_agent import (
    Agent,
    Budget,
    Effort,
    Finished,
    InputError,
    Mention,
    Message,
    PlannerError,
)
from sam3_agent.images import Pixels
from sam3_agent.loop import LAST_TURN
from sam3_agent.mentions import read_mentions
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from tests.scripted_verifier import ScriptedVerifier

SEGMENT = calling(("segment", {"phrases": ["dog", "leash"]}))


def answer(text: str, *numbers: int) -> Message:
    return calling(("answer", {"text": text, "numbers": list(numbers)}))


def test_masks_and_words_stay_from_question_to_question(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, answer("Two dogs.", 1, 2), answer("The left one.", 1)])
    chat = Agent(planner, segmenter).chat(image)
    chat.ask("which dogs?")
    second = chat.ask("now only the left one")
    assert second.numbers == (1,)
    assert second.usage.turns == 1
    assert segmenter.encoded == 1
    assert [m.text for m in planner.seen[-1] if m.role == "user"] == [
        "which dogs?",
        "now only the left one",
    ]
    assert sum(len(m.pictures) for m in planner.seen[-1] if m.role == "user") == 1
    assert [one.text for one in chat.answers] == ["Two dogs.", "The left one."]


def test_a_question_that_fails_leaves_the_chat_as_it_was(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT])
    chat = Agent(planner, segmenter).chat(image)
    with pytest.raises(PlannerError):
        chat.ask("which dogs?")
    assert chat.answers == []
    assert len(chat.scene.masks) == 3
    with pytest.raises(InputError, match="empty"):
        chat.ask(" ")


def test_a_chat_answers_one_question_at_a_time(image: Pixels, segmenter: FakeSegmenter) -> None:
    chat = Agent(ScriptedPlanner([SEGMENT, answer("Two.", 1, 2)]), segmenter).chat(image)
    first = chat.stream("which dogs?")
    next(first)
    with pytest.raises(InputError, match="still answering"):
        chat.ask("and now?")
    first.close()
    assert chat.ask("which dogs?").text == "Two."


def test_the_offline_planner_follows_up_on_its_last_answer() -> None:
    things = {"dog": [(10, 10, 30, 30), (60, 10, 80, 30), (150, 10, 190, 60)]}
    chat = Agent("offline", FakeSegmenter(things)).chat(np.zeros((100, 200, 3), np.uint8))
    assert len(chat.ask("all dogs").numbers) == 3
    left = chat.ask("now only those on the left")
    assert left.masks.boxes[:, 0].tolist() == [10, 60]
    assert chat.ask("just the largest one").masks.boxes[:, 0].tolist() in ([10], [60])
    assert len(chat.ask("how many dogs are there?").numbers) == 3


def test_the_offline_planner_turns_to_another_concept_in_a_chat(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    chat = Agent("offline", segmenter).chat(image)
    assert chat.ask("all dogs").numbers == (1, 2)
    assert chat.ask("all leashes").masks.phrases == ("leash",)
    assert chat.ask("all cats").status == "no_target"


def test_a_follow_up_question_finds_the_masks_of_the_fast_path(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    chat = Agent("offline", segmenter, effort="fast").chat(image)
    first = chat.ask("all dogs")
    assert (first.usage.turns, first.numbers) == (0, (1, 2))
    assert chat.ask("now only those on the left").numbers == (1,)


def test_the_next_question_does_not_show_the_note_on_the_last_turn(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, answer("Two.", 1, 2), answer("The left one.", 1)])
    chat = Agent(planner, segmenter, budget=Budget(turns=2)).chat(image)
    first = chat.ask("which dogs?")
    assert LAST_TURN in [m.text for m in first.messages]
    chat.ask("now only the left one")
    assert LAST_TURN not in [m.text for m in planner.seen[-1]]


def test_a_chat_goes_on_after_a_question_that_used_up_its_budget(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, Message("assistant", "Hm."), answer("The left one.", 1)])
    chat = Agent(planner, segmenter, budget=Budget(turns=2)).chat(image)
    first = chat.ask("which dogs?")
    assert (first.status, first.numbers) == ("out_of_budget", (1, 2, 3))
    assert chat.ask("only the left dog").numbers == (1,)
    assert first.text in [m.text for m in planner.seen[-1]]


def test_a_question_without_findings_of_its_own_does_not_end_with_those_of_another(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    silence = Message("assistant", "")
    planner = ScriptedPlanner([SEGMENT, answer("Two.", 1, 2), silence, silence])
    chat = Agent(planner, segmenter, budget=Budget(turns=2)).chat(image)
    chat.ask("which dogs?")
    second = chat.ask("and the cat?")
    assert (second.status, second.numbers) == ("out_of_budget", ())


def test_a_finished_question_is_over_though_its_stream_is_still_held(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    planner = ScriptedPlanner([SEGMENT, answer("Two.", 1, 2), answer("The left one.", 1)])
    chat = Agent(planner, segmenter).chat(image)
    stream = chat.stream("which dogs?")
    for event in stream:
        if isinstance(event, Finished):
            break
    assert chat.ask("now only the left one").numbers == (1,)
    stream.close()


def test_seconds_of_the_segmenter_are_those_of_one_question(image: Pixels) -> None:
    class Slow(FakeSegmenter):
        def encode(self, image: Any) -> Any:
            end = time.perf_counter() + 0.02
            while time.perf_counter() < end:
                pass
            return super().encode(image)

    planner = ScriptedPlanner([SEGMENT, answer("One.", 1), answer("One.", 1)])
    chat = Agent(planner, Slow({"dog": [(10, 20, 60, 70)]})).chat(image)
    assert chat.ask("which dog?").usage.segmenter_seconds >= 0.02
    assert chat.ask("this one?").usage.segmenter_seconds == 0


def test_a_chat_goes_on_with_the_masks_of_the_better_reading(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    leash_first = calling(("segment", {"phrases": ["leash"]}), ("segment", {"phrases": ["dog"]}))

    verifier = ScriptedVerifier(better=lambda text: "A" if "Answer A: Its leash" in text else "B")
    script = [SEGMENT, answer("A dog.", 1), leash_first, answer("Its leash.", 1), answer("It.", 1)]
    effort = Effort("two", readings=2)
    chat = Agent(ScriptedPlanner(script), segmenter, verifier=verifier, effort=effort).chat(image)
    first = chat.ask("what is it held by?")
    assert (first.text, first.masks.phrases) == ("Its leash.", ("leash",))
    again = chat.ask("show it again")
    assert again.masks.phrases == ("leash",)
    assert chat.scene.masks.phrases == ("leash", "dog", "dog")


def test_words_point_to_masks(image: Pixels, segmenter: FakeSegmenter) -> None:
    words = answer("The [left dog](1) pulls its [leash](3).", 1)
    out = Agent(ScriptedPlanner([SEGMENT, words]), segmenter).ask(image, "who pulls?")
    assert out.text == "The left dog pulls its leash."
    assert [out.text[m.start : m.end] for m in out.mentions] == ["left dog", "leash"]
    assert [m.numbers for m in out.mentions] == [(1,), (3,)]
    assert out.numbers == (1,)
    assert out.context_numbers == (3,)
    assert out.context_masks.phrases == ("leash",)
    values = out.to_dict()
    assert values["mentions"][1] == {"start": 23, "end": 28, "numbers": [3]}
    assert values["beside"][0]["number"] == 3


def test_a_mention_of_a_mask_that_does_not_exist_is_an_error(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    words = answer("A [cat](7).", 1)
    script = [SEGMENT, words, answer("A dog.", 1)]
    out = Agent(ScriptedPlanner(script), segmenter).ask(image, "what?")
    assert "there is no mask 7" in [m.text for m in out.messages if m.role == "tool"][1]


@pytest.mark.parametrize(
    ("text", "plain", "numbers"),
    [
        ("no marks", "no marks", []),
        ("[a](1)[b](2, 3)", "ab", [(1,), (2, 3)]),
        ("[dogs](masks 1 2 2)", "dogs", [(1, 2)]),
        ("[link](http://x.y) [1] (2) [](3) [a](b)", "[link](http://x.y) [1] (2) [](3) [a](b)", []),
        ("[😀 x](4)!", "😀 x!", [(4,)]),
    ],
)
def test_marks_are_read(text: str, plain: str, numbers: list[tuple[int, ...]]) -> None:
    got, mentions = read_mentions(text)
    assert got == plain
    assert [m.numbers for m in mentions] == numbers
    assert all(isinstance(m, Mention) and got[m.start : m.end] for m in mentions)


def test_the_planner_may_ask_the_person_once(image: Pixels, segmenter: FakeSegmenter) -> None:
    asked: list[str] = []

    def person(question: str) -> str:
        asked.append(question)
        return "with the arm"

    ask = calling(("ask_person", {"question": "With or without the arm?"}))
    script = [ask, ask, SEGMENT, answer("Done.", 1)]
    planner = ScriptedPlanner(script)
    out = Agent(planner, segmenter, ask_person=person).ask(image, "the hand")
    tools = [m.text for m in out.messages if m.role == "tool"]
    assert tools[0] == "The person says: with the arm"
    assert "asked already" in tools[1]
    assert asked == ["With or without the arm?"]


@pytest.mark.parametrize(("reply", "result"), [("  ", "No reply"), ("yes", "The person says: yes")])
def test_no_reply_means_the_likeliest_reading(
    image: Pixels, segmenter: FakeSegmenter, reply: str, result: str
) -> None:
    ask = calling(("ask_person", {"question": "Which?"}))
    planner = ScriptedPlanner([ask, answer("Nothing.")])
    out = Agent(planner, segmenter, ask_person=lambda question: reply).ask(image, "the hand")
    assert out.messages[3].text.startswith(result)


def test_a_person_who_returns_no_text_is_an_error(image: Pixels, segmenter: FakeSegmenter) -> None:
    planner = ScriptedPlanner([calling(("ask_person", {"question": "Which?"}))])
    silent: Any = lambda question: None  # noqa: E731
    with pytest.raises(InputError, match="ask_person returned NoneType, not text"):
        Agent(planner, segmenter, ask_person=silent).ask(image, "the hand")


def test_without_a_person_the_tool_is_not_offered(image: Pixels, segmenter: FakeSegmenter) -> None:
    offered: list[Any] = []

    class Looking(ScriptedPlanner):
        def reply(self, messages: Any, tools: Any) -> Message:
            offered.extend(tool.name for tool in tools)
            return super().reply(messages, tools)

    Agent(Looking([answer("Nothing.")]), segmenter).ask(image, "the hand")
    assert "ask_person" not in offered


def test_a_reply_of_the_person_is_sent_on_as_bounded_text(
    image: Pixels, segmenter: FakeSegmenter
) -> None:
    ask = calling(("ask_person", {"question": "Which?"}))
    planner = ScriptedPlanner([ask, answer("Nothing.")])
    out = Agent(planner, segmenter, ask_person=lambda _: "a \udce4" + "x" * 100_000).ask(
        image, "the hand"
    )
    result = out.messages[3].text
    assert len(result.encode()) < 10_000
    assert result.startswith("The person says: a ?")


def test_two_readings_ask_the_person_once(image: Pixels, segmenter: FakeSegmenter) -> None:
    asked: list[str] = []

    def person(question: str) -> str:
        asked.append(question)
        return "with the arm"

    def ask(words: str) -> Message:
        return calling(("ask_person", {"question": words}))

    script = [ask("With arm?"), SEGMENT, answer("A.", 1), ask("Hand only?"), SEGMENT]
    planner = ScriptedPlanner([*script, answer("A.", 1)])
    effort = Effort("two", readings=2)
    out = Agent(
        planner, segmenter, verifier=ScriptedVerifier(), effort=effort, ask_person=person
    ).ask(image, "hand")
    assert out.status == "answered"
    assert asked == ["With arm?"]
    results = [m.text for m in planner.seen[-1] if m.role == "tool"]
    assert results[0] == 'The person was asked before: "With arm?" and said: with the arm'
