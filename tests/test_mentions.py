"""Words from models and people as they come: wide marks, invisible characters, and any length."""

import gc
import time
import unicodedata
from collections.abc import Callable
from functools import partial

import pytest

from sam3_agent import Agent, InputError
from sam3_agent.images import Pixels
from sam3_agent.mentions import read_mentions
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.parser import parse
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.sanitize import visible_text, visible_words
from sam3_agent.scene import Scene
from sam3_agent.task import MAX_QUERY_CHARACTERS, checked_query
from sam3_agent.text_answer import answer_text, text_answer
from sam3_agent.vocabulary import unknown_part

KNOWN = range(1, 10)


@pytest.mark.parametrize(
    ("text", "plain", "mentioned"),
    [
        ("a 【lion】（3）", "a lion", [("lion", (3,))]),  # noqa: RUF001
        ("［lion］(３、４)!", "lion!", [("lion", (3, 4))]),  # noqa: RUF001
        ("〔lion〕（masks １－３）", "lion", [("lion", (1, 2, 3))]),  # noqa: RUF001
        ("[lion][3] and [dog](#2)", "lion and dog", [("lion", (3,)), ("dog", (2,))]),
        ("[lions](1 to 3 and 5)", "lions", [("lions", (1, 2, 3, 5))]),
        ("a lion 【1】.", "a lion 【1】.", [("【1】", (1,))]),
        ("a lion ［mask ２］.", "a lion ［mask ２］.", [("［mask ２］", (2,))]),  # noqa: RUF001
        ("lions [1, 2] [3-5]", "lions [1, 2] [3-5]", [("[1, 2]", (1, 2)), ("[3-5]", (3, 4, 5))]),
        ("as others say [12]", "as others say [12]", []),
        ("at [0, 3]", "at [0, 3]", []),
        ("【注】 [1.5] [a] [] (3)", "【注】 [1.5] [a] [] (3)", []),
        ("[a](http://x.y/1) [b](1a)", "[a](http://x.y/1) [b](1a)", []),
    ],
)
def test_marks_are_read_in_wide_and_narrow_brackets(
    text: str, plain: str, mentioned: list[tuple[str, tuple[int, ...]]]
) -> None:
    got, mentions = read_mentions(text, KNOWN)
    assert got == plain
    assert [(got[one.start : one.end], one.numbers) for one in mentions] == mentioned


@pytest.mark.parametrize("text", ["The dogs 【1】 and [２].", "mask １ and ２", "Masks：１、２"])  # noqa: RUF001
def test_a_plain_reply_names_its_masks_in_wide_digits(
    text: str, image: Pixels, segmenter: FakeSegmenter
) -> None:
    scene = Scene(image, segmenter)
    scene.segment(["dog"])
    found = text_answer([answer_text(text)], scene)
    assert found is not None
    assert (found[0].numbers, found[1]) == ((1, 2), True)


INVISIBLE = (
    "\u200f\u200e\u061c\u202a\u202e\u202c\u2066\u2069\u200b\u2060\ufeff\u00ad\u034f\u180e\u3164"
    "\U000e0041\x00\x1b\x7f"
)


@pytest.mark.parametrize("one", INVISIBLE, ids=lambda one: f"U+{ord(one):04X}")
def test_a_character_that_shows_nothing_changes_neither_phrase_nor_question_nor_mention(
    one: str, image: Pixels
) -> None:
    segmenter = FakeSegmenter({"red car": [(10, 20, 60, 70)]}, vocabulary={"car": ["red"]})
    scene = Scene(image, segmenter)
    first, again = scene.segment(["red car", f"{one}re{one}d{one} car{one}"])
    assert (first.numbers, again.numbers) == ((1,), (1,))
    assert segmenter.asked == ["red car"]
    assert unknown_part(f"red{one} car", segmenter.vocabulary) == ""
    assert parse(f"the leftmost red{one} car") == parse("the leftmost red car")
    answer = Agent("offline", segmenter).ask(image, f"{one}how many red{one} cars?")
    assert (answer.query, answer.numbers) == ("how many red cars?", (1,))
    if unicodedata.category(one) == "Cc":
        return  # a tool refuses control characters in the arguments of a model
    words = calling(("answer", {"text": f"A [red{one} car]{one}({one}1).", "numbers": [1]}))
    planner = ScriptedPlanner([calling(("segment", {"phrases": [f"red car{one}"]})), words])
    told = Agent(planner, segmenter, verifier="none").ask(image, "what?")
    assert (told.text, told.mentions[0].numbers) == ("A red car.", (1,))


def test_a_question_of_invisible_characters_alone_is_empty() -> None:
    with pytest.raises(InputError, match="the question is empty"):
        checked_query(f" {INVISIBLE} ")


def test_letters_are_composed_and_joiners_and_look_alikes_stay() -> None:
    assert visible_text("cafe\u0301") == "caf\xe9"
    for joined in ("👩\u200d🚒", "\u0645\u06cc\u200c\u062e", "❤\ufe0f"):
        assert visible_text(joined) == joined
    assert visible_words("c\u200da\u200cr\ufe0f") == "car"
    assert visible_words("\u0441ar") == "\u0441ar"  # a Cyrillic letter
    assert visible_text("two\nlines\tof text") == "two\nlines\tof text"


UNITS = (
    "[", "[a](1) ", "[a](", "](1)", "[1", "[1, ", "mask ", "mask 1, ", "masks 1-99, ", "1 ", " ",
    "mask 1" + " " * 50, "<think>", "</think ", "<|", "```", "◁think▷", "\u200f", "【1】", "<",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_the_time_of_reading_a_reply_grows_no_faster_than_its_length(
    unit: str, image: Pixels, segmenter: FakeSegmenter
) -> None:
    scene = Scene(image, segmenter)
    scene.segment(["dog"])

    def read(text: str) -> None:
        read_mentions(text, KNOWN)
        text_answer([answer_text(text), text], scene)
        visible_text(text)

    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        return min(_seconds(lambda: read(text)) for _ in range(3))

    assert seconds(80_000) <= 5 * seconds(20_000) + 0.05


WORDS = (
    "red ", "and ", "the ", "of ", ", ", "( car ) ", "7 ", "the car left of ", "not ", "\u200f",
    "the car that is on the table that is ", "all the cars except ", "between the car and ", "&",
)  # fmt: skip
LIMIT = 2.0
"""Seconds of CPU that the longest question may take to read; measured: 0.04."""


@pytest.mark.parametrize("unit", WORDS)
def test_the_longest_question_and_what_follows_it_are_read_in_bounded_time(
    unit: str, image: Pixels, segmenter: FakeSegmenter
) -> None:
    long = (unit * MAX_QUERY_CHARACTERS)[:MAX_QUERY_CHARACTERS]
    fitting = " ".join((unit * 80).split()[:79])
    for question in (f"x{long}"[:MAX_QUERY_CHARACTERS], f"is {fitting}", f"the {fitting}"):
        chat = Agent("offline", segmenter).chat(image)
        for asked in (question, f"only {fitting}"):
            assert _seconds(partial(chat.ask, asked)) < LIMIT


def _seconds(work: Callable[[], object]) -> float:
    """CPU seconds, without those of the collector, which looks at what other tests have left."""
    gc.disable()
    began = time.process_time()
    try:
        work()
        return time.process_time() - began
    finally:
        gc.enable()
