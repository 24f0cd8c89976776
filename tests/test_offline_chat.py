"""The offline planner: questions that need the one before, and questions about colours."""

import numpy as np
import pytest

from sam3_agent import Agent
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.vocabulary import Vocabulary

#    small, middle, large car from the left: red, blue, red; a dog on the right, two cats
PLACES = {
    "small": (10, 10, 30, 20),
    "middle": (60, 10, 90, 30),
    "large": (110, 10, 160, 40),
    "dog": (170, 60, 195, 90),
    "cat1": (10, 60, 30, 90),
    "cat2": (60, 50, 90, 90),
}
NAMES = {
    "car": "small middle large",
    "red car": "small large",
    "blue car": "middle",
    "dog": "dog",
    "cat": "cat1 cat2",
    "animal": "dog cat1 cat2",
}
KNOWN: Vocabulary = {"car": ("red", "blue"), "dog": (), "cat": ()}
PAINT = {"small": (220, 20, 20), "large": (220, 20, 20), "middle": (20, 20, 220)}


@pytest.fixture
def picture() -> Pixels:
    image = np.full((100, 200, 3), 255, np.uint8)
    for name, (x0, y0, x1, y1) in PLACES.items():
        image[y0:y1, x0:x1] = PAINT.get(name, (0, 160, 0))
    return image


def segmenter(vocabulary: Vocabulary | None = None) -> FakeSegmenter:
    things = {phrase: [PLACES[name] for name in names.split()] for phrase, names in NAMES.items()}
    return FakeSegmenter(things, vocabulary=vocabulary)


FOLLOW_UPS = [
    # a left-out noun is that of the question before
    (["which car is the smallest?", "and the largest?"], "large"),
    (["which car is the smallest?", "and the largest?", "and the second largest?"], "middle"),
    (["the cars", "which is the smallest?", "and the biggest one?"], "large"),
    (["the cars", "only the red ones"], "small large"),
    (["the red cars", "and the blue one?"], "middle"),
    (["the cars on the left", "only the red ones"], "small"),
    (["the leftmost car", "the others"], "middle large"),
    (["the leftmost car", "and the other ones?"], "middle large"),
    (["the blue car", "what color are the other ones?"], "small large"),
    (["mark the blue car", "the others"], "small large"),
    (["the leftmost car", "and the other red one?"], "large"),
    (["how many cars are on the left?", "and on the right?"], "large"),
    (["the cars", "the leftmost of them"], "small"),
    (["the cars", "how many of those are red?"], "small large"),
    (["the cars", "which of them are blue?"], "middle"),
    (["the cars", "how many are red?"], "small large"),
    (["how many cars are there?", "and blue?"], "middle"),
    (["how many cars are on the left?", "all of them"], "small middle"),
    (["the cars", "are any of them blue?"], "middle"),
    (["the cars", "which ones are left of the dog?"], "small middle large"),
    (["the dog", "the car nearest to it"], "large"),
    (["the cats", "the cars above them"], "small middle large"),
    # the same is asked of something else
    (["how many cars are there?", "and dogs?"], "dog"),
    (["is there a dog?", "what about cats?"], "cat1 cat2"),
    (["the cars", "and the cats?"], "cat1 cat2"),
    # a whole question needs nothing of the one before
    (["the cars", "how many animals are there?"], "dog cat1 cat2"),
    (["the cars", "what is left of the small car"], ""),
    (["the dog", "everything left of the dog"], "small middle large cat1 cat2"),
]


@pytest.mark.parametrize(("questions", "names"), FOLLOW_UPS, ids=lambda one: str(one)[:60])
def test_a_follow_up_means_these_things(picture: Pixels, questions: list[str], names: str) -> None:
    chat = Agent("offline", segmenter()).chat(picture)
    answer = [chat.ask(question) for question in questions][-1]

    boxes = {tuple(map(float, box)): name for name, box in PLACES.items()}
    found = {boxes[tuple(box)] for box in answer.masks.boxes.tolist()}
    assert found == set(names.split()), answer.text
    assert answer.status == ("answered" if names else "no_target")


FOLLOW_UP_TEXTS = [
    (["how many cars are there?", "and dogs?"], "There is 1 dog."),
    (["is there a dog?", "and cats?"], "Yes, there are 2 cats."),
    (["the cars", "are they all red?"], "No, only 2 of the 3 cars are red."),
    (["the largest car", "is it red?"], "Yes, the largest car is red."),
    (["the largest car", "is it on the left?"], "No, the largest car is not on the left."),
    (["the blue car", "is it the largest?"], "No, the blue car is not the largest car."),
    (["is there a dog?", "what colour is it?"], "The dog is green."),
    (["what colour is the dog?", "and the cats?"], "The 2 cats are green."),
    (["mark the smallest car", "what is its colour?"], "The smallest car is red."),
]


@pytest.mark.parametrize(("questions", "text"), FOLLOW_UP_TEXTS, ids=lambda one: str(one)[:60])
def test_a_follow_up_is_answered_like_a_whole_question(
    picture: Pixels, questions: list[str], text: str
) -> None:
    chat = Agent("offline", segmenter()).chat(picture)
    answers = [chat.ask(question) for question in questions]

    assert answers[-1].text == text


@pytest.mark.parametrize(
    "questions",
    [
        ["describe the dog", "and the largest?"],
        ["the cars on the left", "what colour is it?"],
        ["which car is the smallest?", "and the cats?"],
        ["the red cars", "how many of them are blue?"],
        ["are all cars red?", "and the cats?"],
        ["the cars", "and the zorgly?"],
        ["the cars", "the same dog"],
        ["the cars", "the others"],
        ["the cars", "why?"],
    ],
    ids=str,
)
def test_a_follow_up_that_may_mean_two_things_is_refused(
    picture: Pixels, questions: list[str]
) -> None:
    chat = Agent("offline", segmenter(KNOWN)).chat(picture)
    answers = [chat.ask(question) for question in questions]

    assert answers[-1].status == "unable", answers[-1].text


COLORS = {
    "count the cars by colour": "There are 3 cars: 2 red and 1 blue.",
    "cars per color, with numbers": "There are 3 cars: 2 red and 1 blue.",
    "how many cars are there of each colour?": "There are 3 cars: 2 red and 1 blue.",
    "give me the number of cars for every color please": "There are 3 cars: 2 red and 1 blue.",
    "what colours do the cars have?": "From left to right, the cars are red, blue and red.",
    "name the colours of the cats": "The 2 cats are green.",
    "in which colour is the largest car painted?": "The largest car is red.",
    "the largest car's color": "The largest car is red.",
    "is the largest car red or blue?": "The largest car is red.",
    "do all cars have the same colour?": "No, the 3 cars are red and blue.",
    "are the cats the same colour?": "Yes, the 2 cats are green.",
    "do the cars have different colours?": "Yes, the 3 cars are red and blue.",
    "do the cats have different colours?": "No, the 2 cats are green.",
}


@pytest.mark.parametrize("closed", [False, True], ids=["pixels", "phrases"])
@pytest.mark.parametrize(("query", "text"), COLORS.items(), ids=COLORS)
def test_colours_are_counted_and_compared(
    picture: Pixels, query: str, text: str, closed: bool
) -> None:
    """By the pixels of masks, or by the phrases of a segmenter that knows the colours of a noun."""
    agent = Agent("offline", segmenter(KNOWN if closed else None))
    if closed:
        picture = np.where(picture == 20, 90, picture)  # pale: pixels would not tell

    assert agent.ask(picture, query).text == text
