"""The offline planner: which things a question means, on one fixed picture."""

import numpy as np
import pytest

from sam3_agent import Agent, Answer
from sam3_agent.model.fake_segmenter import FakeSegmenter

#    0         150        300        450       600
#    r1     b1       r2          r3   | box, ball |
#           tree     balloon   house  |           |
#    d1         d2          d3   cat  | cup        |
#    p1             p2                | table      |
PLACES = {
    "r1": (10, 20, 60, 50),
    "b1": (120, 30, 180, 70),
    "r2": (200, 20, 300, 90),
    "r3": (330, 30, 370, 55),
    "tree": (90, 100, 140, 190),
    "balloon": (200, 110, 220, 140),
    "house": (300, 110, 390, 190),
    "d1": (20, 200, 80, 250),
    "d2": (150, 180, 260, 280),
    "d3": (300, 220, 340, 250),
    "cat": (350, 200, 390, 240),
    "p1": (20, 300, 50, 390),
    "p2": (180, 300, 215, 380),
    "table": (440, 250, 580, 380),
    "cup": (490, 225, 520, 255),
    "box": (430, 60, 560, 180),
    "ball": (480, 100, 510, 130),
}
NAMES = {
    "car": "r2 r1 b1 r3",
    "red car": "r2 r1 r3",
    "blue car": "b1",
    "dog": "d2 d1 d3",
    "brown dog": "d2",
    "sleeping dog": "d3",
    "cat": "cat",
    "tree": "tree",
    "balloon": "balloon",
    "red balloon": "balloon",
    "house": "house",
    "person": "p1 p2",
    "table": "table",
    "cup": "cup",
    "box": "box",
    "ball": "ball",
    "animal": "d2 d1",
    "vehicle": "",
    "red vehicle": "r2",
}
"""What each phrase finds, best first; the category words find less than there is."""

KNOWN = "r1 b1 r2 r3 tree balloon house d1 d2 d3 cat"
"""What the planner finds when everything is asked: the kinds that it knows by name."""


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


READ = {
    # concepts
    "dog": "d1 d2 d3",
    "the cat": "cat",
    "the red car": "r2",
    "the red cars": "r1 r2 r3",
    "all cars": "r1 r2 r3 b1",
    "every red car": "r1 r2 r3",
    "people": "p1 p2",
    "two dogs": "d2 d1",
    "the car that is blue": "b1",
    "the cars that are red": "r1 r2 r3",
    "the sleeping dog": "d3",
    "the dog that is sleeping": "d3",
    "a blue car": "b1",
    # polite and other wrappings
    "Find the cat.": "cat",
    "please show me the cat, thanks": "cat",
    "Could you please highlight all dogs?": "d1 d2 d3",
    "can you show me where the cat is?": "cat",
    "I'd like to see the cat in this picture": "cat",
    "where is the cat?": "cat",
    "Where are the dogs in the image?": "d1 d2 d3",
    "mask the cat": "cat",
    "point to the blue car": "b1",
    "SEGMENT THE CAT!": "cat",
    # categories
    "the animals": "d1 d2 d3 cat",
    "all vehicles": "r1 r2 r3 b1",
    "the red vehicles": "r1 r2 r3",
    "red things": "r1 r2 r3 balloon",
    "everything": KNOWN,
    # superlatives
    "the leftmost red car": "r1",
    "the rightmost car": "r3",
    "the left-most dog": "d1",
    "the topmost animal": "cat",
    "the highest car": "r1",
    "the lowest dog": "d3",
    "the dog on the far left": "d1",
    "the dog furthest to the right": "d3",
    "the largest dog": "d2",
    "the biggest animal": "d2",
    "smallest dog": "d3",
    "the second largest dog": "d1",
    "two largest dogs": "d1 d2",
    "the three leftmost cars": "r1 b1 r2",
    "the leftmost three cars": "r1 b1 r2",
    "the dog in the middle": "d3",
    "the car at the top": "r1",
    "the dog on the left": "d1",
    "the dogs on the left": "d1 d2",
    "the cars on the right side of the picture": "r3",
    "the small dog": "d3",
    "the larger of the two dogs": "d2",
    "the largest of the red cars": "r2",
    "the left dog": "d1",
    "the one on the far left": "r1",
    "the dog in the upper left corner": "d1",
    "the tallest person": "p1",
    "the big, brown dog": "d2",
    "the car closest to the top": "r1",
    "the larger of the cat and the tree": "tree",
    # ordinals
    "the second dog from the left": "d2",
    "2nd dog from the right": "d2",
    "the third car from the right": "b1",
    "the car that is third from the left": "r2",
    "the second dog": "d2",
    "the last dog on the right": "d3",
    "the last car from the left": "r3",
    "the first two cars": "r1 b1",
    "the second to last car": "r2",
    "the first car from the bottom": "r2",
    # relations
    "the car to the left of the blue car": "r1",
    "the cars right of the blue car": "r2 r3",
    "the dog to the left of the tree": "d1",
    "the dogs to the right of the tree": "d2 d3",
    "the cars above the balloon": "r1 b1 r2 r3",
    "the animals below the house": "d1 d2 d3 cat",
    "the dog under the balloon": "d2",
    "the dog next to the cat": "d3",
    "the dog closest to the tree": "d2",
    "the two dogs closest to the tree": "d1 d2",
    "the car nearest the house": "r2",
    "the dog right of the largest red car": "d3",
    "the car above the red balloon next to the tree": "r2",
    "the dog left of the house and the cat": "d3",
    "the house between the tree and the box": "house",
    "the animals between the brown dog and the balloon": "",
    "the cars between the leftmost car and the rightmost car": "b1 r2",
    "the ball in the box": "ball",
    "the cup on the table": "cup",
    "the cars larger than the blue car": "r2",
    "the animal higher than the leftmost dog": "cat",
    "the largest dog right of the tree": "d2",
    "the dogs that are not left of the tree": "d2 d3",
    "the person next to a dog": "p2",
    "dogs and cars left of the tree": "d1 r1",
    "the dogs left of the tree and cats": "d1 cat",
    "what is closest to the cup?": "cat",
    # exclusion
    "all cars except the blue one": "r1 r2 r3",
    "all dogs but the brown one": "d1 d3",
    "every car that is not red": "b1",
    "all cars which aren't blue": "r1 r2 r3",
    "all dogs except the leftmost": "d2 d3",
    "all animals except the cat": "d1 d2 d3",
    "every animal that is not a dog": "cat",
    "all red cars other than the two largest": "r3",
    "the cars apart from the red ones": "b1",
    "everything but the dogs": "r1 b1 r2 r3 tree balloon house cat",
    "all animals excluding the cat and the brown dog": "d1 d3",
    "cars, not red": "b1",
    "all dogs without the brown one": "d1 d3",
    "cars and dogs except the two largest dogs": "r1 r2 r3 b1 d3",
    # union
    "the cat and the tree": "cat tree",
    "both the cat and the tree": "cat tree",
    "both people and the cat": "p1 p2 cat",
    "the cat, the tree and the house": "cat tree house",
    "the cat as well as the red cars": "cat r1 r2 r3",
    "cats or dogs": "cat d1 d2 d3",
    "the red and the blue car": "r2 b1",
    "the red and blue cars": "r1 r2 r3 b1",
    "the leftmost and the rightmost dog": "d1 d3",
    "the leftmost dog and the cat next to the house": "d1 cat",
    "the brown dog or the red one": "d2",
    "the small and the large dog": "d2 d3",
    "the cat and dogs on the right": "cat d3",
    "cars that are red or blue": "r1 r2 r3 b1",
    # counting
    "how many dogs are there?": "d1 d2 d3",
    "How many red cars do you see in the picture?": "r1 r2 r3",
    "count the people": "p1 p2",
    "the number of animals": "d1 d2 d3 cat",
    "how many cars are left of the house": "r1 b1 r2",
    "how many dogs are there on the left?": "d1 d2",
    "how many animals are there except dogs": "cat",
    "how many dogs and cats are there?": "d1 d2 d3 cat",
    "how many dogs and cats are left of the house?": "d1 d2 d3",
    # existence
    "is there a cat?": "cat",
    "are there any dogs right of the tree?": "d2 d3",
    "do you see a house": "house",
    "does the image contain a red balloon?": "balloon",
    "any people?": "p1 p2",
    "is the cat in the picture?": "cat",
    "is the cat next to the house?": "cat",
    "are there three dogs?": "d1 d2 d3",
    # which and what
    "which animal is the largest?": "d2",
    "which animal is leftmost": "d1",
    "what is the largest animal?": "d2",
    "which dogs are on the left": "d1 d2",
    "which of the dogs is the smallest?": "d3",
    "what is left of the tree?": "r1 d1",
    "what animals are there?": "d1 d2 d3 cat",
    "who is on the left?": "p1 p2",
    "which is bigger, the cat or the tree?": "tree",
    "which animal is smaller, the brown dog or the cat?": "cat",
    "what do you see?": KNOWN,
    "what is under the balloon?": "d2",
    "which of the dogs is brown?": "d2",
    "the car directly left of the house": "r2",
    "the cars that are neither red nor left of the tree": "b1",
    # what says nothing about what is meant, wherever it stands
    "the biggest red car please": "r2",
    "hi, please mark the cat for me": "cat",
    "is there a cat anywhere in this photo?": "cat",
    "I'm looking for the house, where is it?": "house",
    "there is a cat, right?": "cat",
    "isn't there a cat?": "cat",
    "i think there was a cat, is there?": "cat",
    # what is left out is of the noun at hand
    "the car next to the blue one": "r2",
    "which car is larger, the blue one or the leftmost one?": "b1",
    "which is the larger one, the cat or the balloon?": "cat",
    "list all dogs": "d1 d2 d3",
    "what can be seen here?": KNOWN,
    "how many animals are there of each kind?": "d1 d2 d3 cat",
    "how many of each type of animal are there?": "d1 d2 d3 cat",
    # totals
    "how many dogs are there in total?": "d1 d2 d3",
    "how many dogs, cats and trees altogether?": "d1 d2 d3 cat tree",
    "dogs plus cats makes how many?": "d1 d2 d3 cat",
    "the cat and the dogs, how many together?": "d1 d2 d3 cat",
    "cars vs dogs: how many of each?": "r1 r2 r3 b1 d1 d2 d3",
}

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
def test_what_is_not_there_is_no_target_and_said(agent: Agent, query: str, text: str) -> None:
    answer = ask(agent, query)

    assert (answer.status, answer.text) == ("no_target", text)


@pytest.mark.parametrize(("query", "text"), CHECKS.items(), ids=CHECKS)
def test_what_is_said_of_several_is_checked_of_each(
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
