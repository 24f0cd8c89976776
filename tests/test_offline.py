"""The offline planner: its calls, its answers, and unusual conversations."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3_agent import (
    Agent,
    Answer,
    Budget,
    Message,
    Observation,
    PlannerError,
    Scene,
    Tool,
    ToolCall,
    registry,
)
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.vocabulary import NOUNS
from sam3_agent.observations import MaskNumbers
from sam3_agent.sanitize import visible_text

DOGS = [(10, 50, 40, 80), (60, 40, 100, 90), (150, 60, 170, 80)]
CARS = [(10, 10, 50, 30), (80, 10, 110, 25)]
TREES = [(120, 20, 140, 90)]


@pytest.fixture
def segmenter() -> FakeSegmenter:
    """Three dogs, the second brown and the largest; two cars, the second blue; a tree."""
    return FakeSegmenter(
        {"dog": DOGS, "brown dog": DOGS[1:2], "car": CARS, "blue car": CARS[1:], "tree": TREES},
        {"dog": [0.7, 0.9, 0.8]},
    )


def ask(segmenter: FakeSegmenter, query: str, *, turns: int = 12) -> Answer:
    agent = Agent(planner="offline", segmenter=segmenter, budget=Budget(turns=turns))
    return agent.ask(np.zeros((100, 200, 3), np.uint8), query)


def reply(messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> Message:
    return OfflinePlanner().reply(messages, registry.tools() if tools is None else tools)


WORDS = {
    "the tree": "This is the tree.",
    "dogs": "There are 3 dogs.",
    "the dog": "There are 3 dogs; this is the clearest one.",
    "the two dogs": "There are 3 dogs; these are the 2 clearest ones.",
    "the four dogs": "There are only 3 dogs.",
    "the leftmost dog": "The leftmost of 3 dogs.",
    "the leftmost tree": "There is only 1 tree; this is it.",
    "the two largest dogs": "The 2 largest of 3 dogs.",
    "the second largest dog": "The second largest of 3 dogs.",
    "the second dog": "The second of 3 dogs from the left.",
    "the dog in the lower right corner": "The one of 3 dogs from the bottom right corner.",
    "the dogs left of the tree": "There are 2 dogs to the left of the tree.",
    "the dog left of the tree": "There are 2 dogs to the left of the tree; "
    "this is the nearest one.",
    "the dog closest to the tree": "The one nearest to the tree, of 3 dogs.",
    "the dog right of the car": "There are 2 dogs to the right of the car; "
    "this is the nearest one. There are 2 cars; I took the clearest one.",
    "all dogs except the brown one": "2 dogs: all except the brown dog.",
    "all dogs except the red one": "There are 3 dogs; there is no red dog to leave out.",
    "the tree and the cars": "The tree and 2 cars.",
    "the tree and the horse": "The tree. No horse here.",
    "how many blue cars are there?": "There is 1 blue car.",
    "how many dogs and cars": "There are 5: 3 dogs and 2 cars.",
    "how many horses are there?": "There are no horses.",
    "how many dogs are left of the tree?": "There are 2 dogs to the left of the tree.",
    "is there a tree?": "Yes, there is 1 tree.",
    "is there a dog and a tree?": "Yes, there are 3 dogs and 1 tree.",
    "which animal is the largest?": "The largest of 3 animals. It is a dog.",
    "the animals on the left": "There are 2 animals on the left. They are 2 dogs.",
    "the thing on the far right": "The rightmost of 6 things. It is a dog. "
    f"I looked for the {len(NOUNS)} kinds of things that I know by name.",
}


@pytest.mark.parametrize(("query", "text"), WORDS.items(), ids=WORDS)
def test_an_answer_states_what_was_found(segmenter: FakeSegmenter, query: str, text: str) -> None:
    assert ask(segmenter, query).text == text


def test_all_concepts_are_asked_in_one_call(segmenter: FakeSegmenter) -> None:
    answer = ask(segmenter, "the dog left of the largest red car and the tree")

    calls = [call for message in answer.messages for call in message.tool_calls]
    assert [call.name for call in calls] == ["segment", "answer"]
    assert json.loads(calls[0].arguments) == {"phrases": ["dog", "red car", "tree"]}


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ("all the children", ["child"]),
        ("the Grey mice", ["grey mouse"]),
        ("the gray mice", ["grey mouse"]),
        ("the traffic lights that are green", ["green traffic light"]),
        ("two cups of coffee", ["cup of coffee"]),
        ("the black and white cat", ["black and white cat"]),
        ("the fruit", ["fruit", "apple", "banana", "strawberry", "pineapple"]),
        ("yellow vehicles", ["yellow vehicle", "yellow car", "yellow bus"]),
        ("striped animals", ["striped animal"]),
        ("the first aid kit", ["first aid kit"]),
        ("all cars that are not red", ["car", "red car"]),
    ],
)
def test_phrases_are_singular_and_categories_are_expanded(
    segmenter: FakeSegmenter, query: str, phrases: list[str]
) -> None:
    ask(segmenter, query)

    assert set(phrases) <= set(segmenter.asked)
    assert segmenter.asked[0] == phrases[0]


def test_everything_is_asked_in_calls_of_at_most_16_phrases(segmenter: FakeSegmenter) -> None:
    answer = ask(segmenter, "everything except the tree")

    first = next(message for message in answer.messages if message.tool_calls)
    chunks = [json.loads(call.arguments)["phrases"] for call in first.tool_calls]
    assert [phrase for chunk in chunks for phrase in chunk] == list(NOUNS)
    assert max(map(len, chunks)) <= 16
    assert len({call.id for call in first.tool_calls}) == len(chunks)
    assert len(answer.masks) == 5


def test_a_thing_that_two_phrases_outline_differently_counts_once() -> None:
    segmenter = FakeSegmenter({"dog": [(10, 10, 50, 50)], "animal": [(10, 10, 50, 44)]})

    assert ask(segmenter, "how many animals are there?").text == "There is 1 animal. It is a dog."


def test_an_exception_is_left_out_though_it_is_outlined_differently() -> None:
    segmenter = FakeSegmenter({"car": CARS, "red car": [(10, 10, 50, 26)]})

    answer = ask(segmenter, "all cars except the red one")

    assert answer.masks.boxes.tolist() == [list(CARS[1])]


def test_a_phrase_that_the_segmenter_refuses_is_reported() -> None:
    answer = ask(FakeSegmenter({}, max_words=1), "the red dog")

    assert answer.status == "unable"
    assert answer.text.startswith('I could not look for "red dog". Error: ')
    assert answer.usage.turns == 2


def test_an_answer_without_a_turn_to_segment_states_so(segmenter: FakeSegmenter) -> None:
    answer = ask(segmenter, "the dog", turns=1)

    assert (answer.status, segmenter.asked) == ("unable", [])
    assert answer.text == 'I had no turn left to look for "dog".'


def test_two_turns_are_enough(segmenter: FakeSegmenter) -> None:
    assert ask(segmenter, "the largest dog", turns=2).masks.boxes.tolist() == [list(DOGS[1])]


def test_a_planner_keeps_nothing_between_questions(segmenter: FakeSegmenter) -> None:
    agent = Agent(planner="offline", segmenter=segmenter)
    picture = np.zeros((100, 200, 3), np.uint8)

    first, _, again = (agent.ask(picture, q) for q in ("the dogs", "the tree", "the dogs"))

    assert [first.text, first.numbers] == [again.text, again.numbers]


@pytest.mark.parametrize("name", ["segment", "answer"])
def test_a_tool_that_is_missing_is_named(name: str) -> None:
    tools = [tool for tool in registry.tools() if tool.name != name]

    with pytest.raises(PlannerError, match=f"needs the tool '{name}'"):
        reply([Message("user", "the dog")], tools)


def test_a_conversation_without_a_question_is_an_error() -> None:
    with pytest.raises(PlannerError, match="no question"):
        reply([Message("system", "You answer questions.")])


def test_an_answer_that_was_refused_is_an_error_and_not_repeated() -> None:
    refused = reply([Message("user", "explain this joke")])
    error = Message("tool", "Error: no", tool_call_id=refused.tool_calls[0].id)

    with pytest.raises(PlannerError, match="refused: Error: no"):
        reply([Message("user", "explain this joke"), refused, error])


@pytest.mark.parametrize("findings", [None, MaskNumbers((1,)), {"masks": [{"number": 1}]}])
def test_what_another_segment_tool_gave_in_another_form_is_an_error(
    segmenter: FakeSegmenter, findings: Any
) -> None:
    def segment(scene: Scene, phrases: list[str]) -> Observation:
        """Find things."""
        return Observation("Found.", findings=findings)

    others = [tool for tool in registry.tools() if tool.name != "segment"]
    agent = Agent(
        planner="offline", segmenter=segmenter, tools=[Tool.from_function(segment), *others]
    )
    with pytest.raises(PlannerError, match="cannot read what the tool 'segment' gave"):
        agent.ask(np.zeros((100, 200, 3), np.uint8), "the dog")


def test_results_of_other_tools_are_left_aside() -> None:
    other = Message("assistant", tool_calls=(ToolCall("x", "look", "{}"),))
    result = Message("tool", "Seen.", tool_call_id="x", findings=MaskNumbers((3,)))

    assert reply([Message("user", "the dog"), other, result]).tool_calls[0].name == "answer"


def test_an_unreadable_question_is_answered_with_how_to_choose_an_mllm() -> None:
    text = json.loads(reply([Message("user", "a joke about me")]).tool_calls[0].arguments)["text"]

    assert "stands in for a multimodal LLM" in text
    assert "openai:MODEL" in text
    assert "gemini:MODEL" in text
    assert "SAM3_AGENT_PLANNER" in text
    assert '"about me"' in text


GRAMMAR_WORDS = (
    """the a all both every dog dogs cat red blue brown car cars tree one ones that is are not left
    right top of on in at from to next between and or , except but largest second two three last
    leftmost how many which what there any it small middle first closest everything orange people
    without 2nd furthest with"""
).split()


@settings(max_examples=150, deadline=None)
@given(
    st.text(min_size=1, max_size=60).filter(lambda text: visible_text(text).strip())
    | st.lists(st.sampled_from(GRAMMAR_WORDS), min_size=1, max_size=12).map(" ".join)
)
def test_any_text_ends_in_an_answer(query: str) -> None:
    segmenter = FakeSegmenter({"dog": DOGS, "car": CARS, "red car": CARS[:1], "tree": TREES})

    answer = ask(segmenter, query)

    assert answer.text
    assert answer.status in ("answered", "no_target", "unable")
    assert answer.usage.turns <= 2
    assert answer.usage.tool_errors == 0 or answer.text.startswith("I could not look for")


def test_a_picture_is_encoded_once(segmenter: FakeSegmenter, image: Pixels) -> None:
    Agent(planner="offline", segmenter=segmenter).ask(image, "everything left of the tree")

    assert segmenter.encoded == 1


@pytest.mark.parametrize(
    ("query", "text", "turns"),
    [
        ("what colour is the leftmost car?", "The leftmost car is red.", 3),
        ("what color are the cars?", "From left to right, the cars are red and blue.", 3),
        ("what colour are the dogs?", "The 2 dogs are green.", 3),
        ("what colour is the cat?", "No cat here.", 2),
    ],
)
def test_colours_are_measured(query: str, text: str, turns: int) -> None:
    boxes = {
        "car": [(10, 10, 40, 40), (60, 10, 90, 40)],
        "dog": [(10, 60, 40, 90), (60, 60, 90, 90)],
    }
    image = np.full((100, 200, 3), 255, np.uint8)
    image[10:40, 10:40], image[10:40, 60:90], image[60:90] = (
        (220, 20, 20),
        (20, 20, 220),
        (0, 160, 0),
    )
    answer = Agent("offline", FakeSegmenter(boxes)).ask(image, query)
    assert (answer.text, answer.usage.turns) == (text, turns)


def test_an_answer_without_the_tool_measure_states_so(image: Pixels) -> None:
    segmenter = FakeSegmenter({"car": [(10, 10, 40, 40)]})
    few = [tool for tool in registry.tools(segmenter) if tool.name in ("segment", "answer")]
    answer = Agent("offline", segmenter, tools=few).ask(image, "what colour is the car?")
    assert (answer.status, answer.text) == ("unable", "I could not measure the colours.")


def test_words_of_an_answer_link_to_the_masks_that_they_name(segmenter: FakeSegmenter) -> None:
    answer = ask(segmenter, "the tree and the cars")
    linked = {answer.text[one.start : one.end]: one.numbers for one in answer.mentions}
    assert list(linked) == ["The tree", "2 cars"]
    assert sorted(number for numbers in linked.values() for number in numbers) == sorted(
        answer.numbers
    )
