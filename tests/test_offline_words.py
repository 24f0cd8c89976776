"""The offline planner and words that a segmenter, or the grammar, does not know."""

import json
from pathlib import Path

import numpy as np
import pytest

from sam3_agent import Agent, Answer
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.parser import parse
from sam3_agent.model.offline.query_tree import ParseFailure
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS
from tests.offline_scene import READ
from tests.test_offline_targets import CHECKS, NOT_THERE

VOCABULARY = {noun: COLORS if noun in COLORABLE else () for noun in (*NOUNS, *CATEGORIES)}
CARS, DUCKS = [(10, 10, 50, 30), (80, 10, 110, 25)], [(10, 60, 40, 90), (60, 50, 110, 95)]
DOG, CAT, SHIRTS = (
    [(120, 50, 150, 90)],
    [(160, 50, 190, 90)],
    [(120, 5, 140, 30), (160, 5, 190, 40)],
)
SEGMENTER = FakeSegmenter(
    {
        **{"car": CARS, "red car": CARS[:1], "blue car": CARS[1:], "duck": DUCKS, "dog": DOG},
        **{"cat": CAT, "shirt": SHIRTS, "purple shirt": SHIRTS[:1]},
        "animal": [*DUCKS, *DOG, *CAT],
        "vehicle": CARS,
    },
    vocabulary=VOCABULARY,
)


def ask(query: str, segmenter: FakeSegmenter = SEGMENTER) -> Answer:
    return Agent("offline", segmenter).ask(np.zeros((100, 200, 3), np.uint8), query)


UNKNOWN = {
    # spelled like a word that is known
    "highlight the bannana": ("bannana", '"banana"'),
    "how many elefants are there?": ("elefant", '"elephant"'),
    "where are the umbrelas": ("umbrela", '"umbrella"'),
    "is there a buterfly": ("buterfly", '"butterfly"'),
    "the bycicle": ("bycicle", '"bicycle"'),
    "the yelow car": ("yelow", '"yellow"'),
    # meaning something near
    "the truck": ("truck", '"car" or "bus"'),
    "any ponies?": ("pony", '"horse"'),
    "how many sailboats": ("sailboat", '"boat"'),
    "the golden car": ("golden", '"yellow"'),
    # nothing near
    "where is the traffic light?": ("traffic light", "dog, cat, horse"),
    "the sofa": ("sofa", "dog, cat, horse"),
    "asdf qwer zxcv": ("asdf qwer zxcv", "dog, cat, horse"),
    "the car next to the sofa": ("sofa", "dog, cat, horse"),
    "everything except the man": ("man", "dog, cat, horse"),
    # colours and other attributes
    "are there any oranges?": ("orange", "dog, cat, horse"),
    "the striped car": ("striped", 'I know "car"'),
    "wooden cars": ("wooden", 'I know "car"'),
    "cars that are big": ("big", 'I know "car"'),
    "the light blue car": ("light blue", 'I know "car"'),
    "the brown dog": ("brown", "what colour is the dog?"),
    "all animals except the red ones": ("red", 'I know "animal"'),
}


@pytest.mark.parametrize(("query", "words"), UNKNOWN.items(), ids=UNKNOWN)
def test_a_word_that_the_segmenter_does_not_know_is_not_reported_as_absent(
    query: str, words: tuple[str, str]
) -> None:
    answer = ask(query)

    unknown, help_ = words
    assert answer.status == "unable"
    assert f'"{unknown}"' in answer.text
    assert help_ in answer.text
    assert "--segmenter open:tiny" in answer.text


SYNONYMS = {
    "point out every automobile": ("There are 2 cars.", '"automobile" for car'),
    "the crimson auto": ("This is the red car.", '"crimson" for red and "auto" for car'),
    "the violet shirt": ("This is the purple shirt.", '"violet" for purple'),
    "kitty": ("There is 1 cat.", '"kitty" for cat'),
    "puppy": ("There is 1 dog.", '"puppy" for dog'),
    "are there any planes?": ("No airplane here.", '"plane" for airplane'),
    "all vehicles apart from the bikes": ("", '"bike" for bicycle'),
    "which bird is the smallest?": ("The smallest of 2 ducks.", '"birds" for ducks'),
    "pets": ("1 dog and 1 cat.", '"pets" for dogs and cats'),
    "mark all the clothes": ("There are 2 shirts.", '"clothes" for shirts'),
}


@pytest.mark.parametrize(("query", "texts"), SYNONYMS.items(), ids=SYNONYMS)
def test_a_sure_synonym_is_used_and_the_answer_names_it(query: str, texts: tuple[str, str]) -> None:
    text, note = texts
    answer = ask(query)

    assert answer.status != "unable"
    assert answer.text.startswith(text)
    assert f"I took {note}" in answer.text


@pytest.mark.parametrize("query", ["is there an insect?", "how many plants are there?"])
def test_that_no_known_kind_of_a_wider_word_is_there_does_not_say_that_there_is_none(
    query: str,
) -> None:
    answer = ask(query)

    assert answer.status == "unable"
    assert "other kinds" in answer.text


@pytest.mark.parametrize(
    "query", ["how many red things are there?", "everything blue", "red vehicles"]
)
def test_things_whose_colours_are_not_known_are_not_counted_as_of_another_colour(
    query: str,
) -> None:
    boat = {"boat": DOG, "vehicle": [*CARS, *DOG]}
    with_boat = FakeSegmenter(SEGMENTER.things | boat, vocabulary=VOCABULARY)
    without = FakeSegmenter({"car": CARS, "red car": CARS[:1]}, vocabulary=VOCABULARY)

    assert ask(query, with_boat).status == "unable"
    assert '"boat"' in ask("red vehicles", with_boat).text
    assert ask("red vehicles", without).text == "There is 1 red vehicle. It is a red car."


def test_a_segmenter_with_an_open_vocabulary_is_asked_for_every_word() -> None:
    segmenter = FakeSegmenter({"striped sofa": CARS})

    assert ask("the striped sofas", segmenter).text == "There are 2 striped sofas."
    assert ask("the bannana", segmenter).status == "no_target"


def test_an_unknown_word_is_not_asked_without_the_planner_either() -> None:
    segmenter = FakeSegmenter({"orange": CARS[:1], "car": CARS}, vocabulary=VOCABULARY)
    agent = Agent("offline", segmenter, effort="fast")
    picture = np.zeros((100, 200, 3), np.uint8)

    assert agent.ask(picture, "oranges").status == "unable"
    assert agent.ask(picture, "cars").usage.turns == 0


def test_with_an_unknown_word_the_segmenter_is_not_asked() -> None:
    segmenter = FakeSegmenter({"car": CARS}, vocabulary={"car": ()})

    assert ask("the car left of the sofa", segmenter).usage.turns == 1
    assert segmenter.asked == []


def free_form_questions() -> list[str]:
    file = Path(__file__).parents[1] / "evals" / "demo" / "free_form.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [one["question"] for one in records if not one.get("before")]


@pytest.mark.parametrize("word", ["zorgly", "blurbing", "vexed"])
def test_an_unknown_word_anywhere_makes_a_question_unable(word: str) -> None:
    """The grammar skips no word: a question with a skipped one would be answered here."""
    known = {**VOCABULARY, **dict.fromkeys(("person", "table", "cup", "box", "ball"), ())}
    segmenter = FakeSegmenter({}, vocabulary=known | {"dog": ("brown", "sleeping")})
    asked = 0
    for question in (*READ, *NOT_THERE, *CHECKS, *free_form_questions()):
        words = question.split()
        if len(words) > 9 or isinstance(parse(question), ParseFailure):
            continue
        asked += 1
        for at in range(len(words) + 1):
            text = " ".join([*words[:at], word, *words[at:]])
            assert ask(text, segmenter).status == "unable", text
    assert asked > 200


@pytest.mark.parametrize(
    "query", ["a b c", "the bus", "two elefants and a car", "any oranges left"]
)
def test_a_planner_that_knows_only_a_few_words_always_answers(query: str) -> None:
    few = FakeSegmenter({}, vocabulary={"car": ("red",)})

    assert ask(query, few).status in ("unable", "no_target")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("图里有几只狗", '"图里有几只狗"'),
        ("wie viele Hunde hören über Wörter", '"hören über wörter"'),
        ("сколько dogs и машин", '"сколько и машин"'),
    ],
)
def test_words_of_another_language_are_shown_whole_and_in_their_order(
    query: str, shown: str
) -> None:
    answer = ask(query)
    assert answer.status == "unable"
    assert f"It reads only English, and cannot read {shown}." in answer.text
