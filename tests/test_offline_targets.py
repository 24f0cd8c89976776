"""The offline planner: which objects a question means, on one fixed picture."""

import numpy as np
import pytest

from sam3_agent import Agent, Answer
from sam3_agent.model.fake_segmenter import FakeSegmenter
from tests.offline_scene import NAMES, PLACES, READ


@pytest.fixture(scope="module")
def agent() -> Agent:
    things = {phrase: [PLACES[name] for name in names.split()] for phrase, names in NAMES.items()}
    scores = {name: [0.95 - 0.05 * i for i in range(len(boxes))] for name, boxes in things.items()}
    return Agent(planner="offline", segmenter=FakeSegmenter(things, scores))


def ask(agent: Agent, query: str) -> Answer:
    return agent.ask(np.zeros((400, 600, 3), np.uint8), query)


def targets(answer: Answer) -> list[str]:
    names = {tuple(map(float, box)): name for name, box in PLACES.items()}
    return sorted(names[tuple(box)] for box in answer.masks.boxes.tolist())


CHECKS = {
    "are all cars red?": "No, only 3 of the 4 cars are red.",
    "is every red car on the right?": "No, only 1 of the 3 red cars is on the right.",
    "are the dogs left of the house?": "Yes, all of the 3 dogs are to the left of the house.",
    "is the largest car red?": "Yes, the largest car is red.",
    "is the smallest dog left of the tree?": "No, the smallest dog is not to the left of the tree.",
    "are most of the vehicles cars?": "Yes, all of the 4 vehicles are cars.",
    "are most cars blue?": "No, only 1 of the 4 cars is blue.",
    "are none of the dogs brown?": "No, 1 of the 3 dogs is brown.",
    "is no car purple?": "Yes, none of the 4 cars is purple.",
    "is every animal a dog?": "No, only 3 of the 4 animals are dogs.",
    "are both dogs brown?": None,
    "which is larger, the tree or the cat?": "The largest of the tree and the cat: tree.",
    "are some cars blue?": "Yes, there is 1 blue car.",
    "is the blue car the largest?": "No, the blue car is not the largest car.",
    "is the cat the smallest animal?": "No, the cat is not the smallest animal.",
    "is the largest car the leftmost one?": "No, the largest car is not the leftmost car.",
    "is at least one of the dogs brown?": "Yes, there is 1 brown dog.",
    "are there at least four dogs?": "No, there are only 3 dogs.",
    "are there more than three cars?": "Yes, there are 4 cars.",
    "are there fewer than three dogs?": "No, there are 3 dogs.",
    "is there exactly one cat?": "Yes, there is 1 cat.",
    "are there only two dogs?": "No, there are 3 dogs.",
    "are there more dogs than cats?": "Yes, there are 3 dogs and 1 cat.",
    "is there fewer dogs than there are cars?": "Yes, there are 3 dogs and 4 cars.",
    "are there as many red cars as dogs?": "Yes, there are 3 red cars and 3 dogs.",
    "more red cars than blue ones?": "Yes, there are 3 red cars and 1 blue car.",
    "what are there more of, dogs or cars?": "There are more cars: 3 dogs and 4 cars.",
    "how many kinds of animals are there?": "There are 2 kinds of animals: 3 dogs and 1 cat.",
}

NOT_THERE = {
    "the elephant": "No elephant here.",
    "all elephants": "No elephant here.",
    "is there an elephant?": "No elephant here.",
    "the largest elephant": "No elephant here.",
    "the fifth dog": "There are only 3 dogs.",
    "the second cat from the left": "There is only 1 cat.",
    "the dog left of the elephant": "There are 3 dogs, but no elephant here.",
    "is there a dog left of the elephant?": "No. There are 3 dogs, but no elephant here.",
    "the cat left of the tree": "There is 1 cat, but not to the left of the tree.",
    "dogs above the red balloon": "There are 3 dogs, but none above the red balloon.",
    "the cats on the left": "There is 1 cat, but not on the left.",
    "all cats except the cat": "No cat except the cat.",
    "the horse and the elephant": "No horse here. No elephant here.",
    "is there a dog and a horse?": "No: there are 3 dogs, but no horse.",
    "are there four dogs?": "No, there are only 3 dogs.",
    "how many elephants are there?": "There are no elephants.",
    "how many dogs are above the house?": "There are no dogs above the house.",
    "how many dogs are on the elephant?": "There are no dogs on the elephant: no elephant here.",
}

UNREADABLE = [
    "the man who is holding a stick",
    "the man holding a stick",
    "the dog that barks",
    "two dogs fighting",
    "the dog behind the tree",
    "the house with a red door",
    "the dogs without a leash",
    "the largest dog or cat",
    "are there two dogs and a cat?",
    "how many legs does the dog have?",
    "the man in the red shirt",
    "the oldest person",
    "the closest dog",
    "the other dog",
    "the same dog",
    "her dog",
    "the cars in red",
    "the car in the front",
    "the dogs directly left of the tree",
    "how many different cars are there?",
    "which dog is smaller, the tree or the cat?",
    "how many more dogs than cats are there?",
    "what is it?",
    "and the largest of them?",
    "are half of the cars red?",
    "is it red?",
    "the most beautiful dog",
    "the leftmost dogs",
    "one of the dogs",
    "half of the dogs",
    "how many dogs are left?",
    "what is the dog doing?",
    "what color is it that I like?",
    "why is the sky blue?",
    "describe the picture",
    "remove the dog",
    "the dog is big",
    "Find the dog. Then count the cats.",
    "which dog?",
    "the dog between the tree",
    "the red",
    "left",
    "hello",
    "please",
    "12 + 30",
    "cats dogs",
    "der rote Hund links vom Baum",
    "le chien rouge",
    "où est le chien ?",
    "左边的狗",
    "🐶",
    "?",
    "the dog " * 60,
    "the dog left of " * 12 + "the tree",
]


@pytest.mark.parametrize(("query", "expected"), READ.items(), ids=READ)
def test_a_question_means_these_things(agent: Agent, query: str, expected: str) -> None:
    answer = ask(agent, query)

    assert targets(answer) == sorted(expected.split()), answer.text
    assert "cannot read" not in answer.text
    assert answer.usage.turns == 2
    assert answer.usage.tool_errors == 0


@pytest.mark.parametrize(("query", "text"), NOT_THERE.items(), ids=NOT_THERE)
def test_what_is_not_there_is_no_target_and_the_text_says_what_is(
    agent: Agent, query: str, text: str
) -> None:
    answer = ask(agent, query)

    assert (answer.status, answer.text) == ("no_target", text)


@pytest.mark.parametrize(("query", "text"), CHECKS.items(), ids=CHECKS)
def test_a_predicate_of_several_objects_is_checked_for_each(
    agent: Agent, query: str, text: str | None
) -> None:
    answer = ask(agent, query)

    assert answer.status == "unable" if text is None else answer.text == text


@pytest.mark.parametrize("query", UNREADABLE, ids=lambda query: query[:40])
def test_what_cannot_be_read_is_refused_as_a_whole(agent: Agent, query: str) -> None:
    answer = ask(agent, query)

    assert answer.status == "unable"
    assert answer.text.startswith("The offline planner cannot read this question.")
    assert "--planner openai:MODEL" in answer.text
    assert answer.usage.turns == 1
