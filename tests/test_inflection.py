"""Singular and plural of English nouns."""

import pytest

from sam3_agent.model.offline.inflection import indefinite, number, plural, singular
from sam3_agent.model.vocabulary import CATEGORIES, NOUNS

PLURALS = {
    "dog": "dogs",
    "bus": "buses",
    "box": "boxes",
    "watch": "watches",
    "brush": "brushes",
    "dress": "dresses",
    "glass": "glasses",
    "house": "houses",
    "horse": "horses",
    "vase": "vases",
    "lens": "lenses",
    "berry": "berries",
    "butterfly": "butterflies",
    "key": "keys",
    "cookie": "cookies",
    "tie": "ties",
    "tomato": "tomatoes",
    "shoe": "shoes",
    "piano": "pianos",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "glove": "gloves",
    "giraffe": "giraffes",
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "fireman": "firemen",
    "human": "humans",
    "mouse": "mice",
    "goose": "geese",
    "tooth": "teeth",
    "taxi": "taxis",
    "headache": "headaches",
    "prize": "prizes",
    "fish": "fish",
    "sheep": "sheep",
}


@pytest.mark.parametrize(("one", "many"), PLURALS.items(), ids=PLURALS)
def test_a_noun_has_a_singular_and_a_plural(one: str, many: str) -> None:
    assert plural(one) == many
    assert one == "glass" or singular(many) == one
    assert singular(one) == one


@pytest.mark.parametrize("noun", [*NOUNS, *CATEGORIES])
def test_every_noun_of_the_vocabulary_comes_back_from_its_plural(noun: str) -> None:
    assert singular(plural(noun)) in (noun, plural(noun))
    assert number(noun) in ("singular", "either")
    assert number(plural(noun)) in ("plural", "either")


@pytest.mark.parametrize("noun", ["fish", "deer", "scissors", "jeans", "sunglasses"])
def test_a_noun_with_one_form_is_of_either_number(noun: str) -> None:
    assert number(noun) == "either"
    assert singular(noun) == noun


def test_glasses_are_worn_unless_one_drinks_from_them() -> None:
    assert singular("glasses", "reading") == "glasses"
    assert singular("glasses", "wine") == "glass"


def test_of_a_phrase_the_head_is_made_plural() -> None:
    assert plural("red car") == "red cars"
    assert plural("cup of coffee") == "cups of coffee"


@pytest.mark.parametrize(
    ("noun", "expected"), [("dog", "a dog"), ("apple", "an apple"), ("unicorn", "a unicorn"),
                           ("umbrella", "an umbrella"), ("hourglass", "an hourglass")]
)  # fmt: skip
def test_the_article_goes_by_the_sound(noun: str, expected: str) -> None:
    assert indefinite(noun) == expected
