"""Free-form questions: which replies count as right, unable or wrong."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3_agent import Agent, Answer
from sam3_agent.evals.free_form import (
    QUESTIONS,
    Question,
    Result,
    Truth,
    evaluate,
    judge,
    main,
    read_questions,
    table,
)
from sam3_agent.evals.synthetic.scenes import SceneObject, SyntheticScene
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling

BOXES = [(10, 10, 60, 50), (70, 10, 120, 50), (130, 10, 180, 50)]
OBJECTS = (
    SceneObject("car", "red", BOXES[0]),
    SceneObject("car", "blue", BOXES[1]),
    SceneObject("dog", None, BOXES[2]),
)
FOUND = {"car": BOXES[:2], "dog": BOXES[2:], "cloud": [(0, 60, 200, 100)]}
CARS, CAR_AND_DOG, CLOUD, CAR_TWICE = [1, 2], [1, 3], [4], [1, 5]


def scene() -> SyntheticScene:
    labels = np.zeros((100, 200), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(BOXES, start=1):
        labels[y0:y1, x0:x1] = number
    return SyntheticScene(np.zeros((100, 200, 3), np.uint8), labels, OBJECTS)


def question(text: str = "what is here?", **truth: Any) -> Question:
    return Question("1", "referring", scene(), text, (), Truth(**truth))


def reply(text: str, numbers: list[int], **arguments: Any) -> Answer:
    """An answer with numbers of masks: 1 and 2 the cars, 3 the dog, 4 a cloud, 5 most of car 1."""
    segmenter = FakeSegmenter({**FOUND, "part": [(10, 10, 60, 38)]})
    replies = [
        calling(("segment", {"phrases": ["car", "dog", "cloud", "part"]})),
        calling(("answer", {"text": text, "numbers": numbers, **arguments})),
    ]
    return Agent(ScriptedPlanner(replies), segmenter).ask(scene().image, "what is here?")


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [(CARS, "right"), ([1], "wrong"), ([1, 2, 3], "wrong"), (CLOUD, "wrong"), ([], "wrong")],
)
def test_an_answer_is_right_with_exactly_the_target_objects(
    numbers: list[int], verdict: str
) -> None:
    assert judge(reply("Here.", numbers), question(marks=[[0, 1]])) == verdict


def test_any_of_several_accepted_sets_is_right() -> None:
    ambiguous = question(marks=[[0], [0, 2]])
    assert judge(reply("Here.", CAR_AND_DOG), ambiguous) == "right"
    assert judge(reply("Here.", CARS), ambiguous) == "wrong"


def test_one_object_marked_twice_is_wrong() -> None:
    assert judge(reply("Here.", CAR_TWICE), question(marks=[[0]])) == "wrong"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("There are 2 cars.", "right"),
        ("Two cars.", "right"),
        ("There are 3 cars.", "wrong"),
        ("There are 12 cars.", "wrong"),
        ("Cars.", "wrong"),
    ],
)
def test_a_count_is_right_with_its_number_in_the_text(text: str, verdict: str) -> None:
    assert judge(reply(text, CARS), question(marks=[[0, 1]], count=2)) == verdict


@pytest.mark.parametrize("text", ["No cats here.", "There are no cats.", "There are 0 cats."])
def test_nothing_to_count_is_zero(text: str) -> None:
    assert judge(reply(text, []), question(marks=[[]], count=0)) == "right"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("There are 2 red and 1 blue.", "right"),
        ("Red: 2, blue: 1.", "right"),
        ("2 red cars; one big blue car", "right"),
        ("1 red and 2 blue", "wrong"),
        ("Red: 1, blue: 2.", "wrong"),
        ("There are 3.", "wrong"),
    ],
)
def test_a_grouping_is_right_with_every_number_at_its_word(text: str, verdict: str) -> None:
    assert judge(reply(text, []), question(counts={"red": 2, "blue": 1})) == verdict


@pytest.mark.parametrize(
    ("text", "yes", "verdict"),
    [
        ("Yes, all of them.", True, "right"),
        ("No, only one is.", False, "right"),
        ("Not every car is red.", False, "right"),
        ("Yes, there are 2.", False, "wrong"),
        ("There are 2 cars.", True, "wrong"),
        ("There are 2 cars.", False, "wrong"),
    ],
)
def test_a_yes_or_no_must_be_the_right_one(text: str, yes: bool, verdict: str) -> None:
    assert judge(reply(text, CARS), question(yes=yes)) == verdict


def test_whether_something_is_there_may_be_answered_by_marking_it() -> None:
    assert judge(reply("There are 2 cars.", CARS), question(marks=[[0, 1]], yes=True)) == "right"
    assert judge(reply("I see none.", []), question(marks=[[]], yes=False)) == "right"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Red and blue.", "right"),
        ("The cars beside the green book are blue and red.", "right"),
        ("Red.", "wrong"),
        ("Red, blue and purple.", "wrong"),
    ],
)
def test_colours_must_be_all_of_the_right_ones_and_no_other(text: str, verdict: str) -> None:
    colors = question("the cars beside the green book: which colours?", colors=["red", "blue"])
    assert judge(reply(text, CARS), colors) == verdict


def test_absence_is_a_status() -> None:
    absent = question(marks=[[]], no_target=True)
    assert judge(reply("No cat here.", []), absent) == "right"
    assert judge(reply("Unknown word: cat.", [], unable=True), absent) == "unable"


def test_a_refusal_is_right_only_where_nothing_else_is() -> None:
    refusal = reply("I cannot read this.", [], unable=True)
    assert judge(refusal, question(unable=True)) == "right"
    assert judge(refusal, question(marks=[[0]], unable_ok=True)) == "unable"
    assert judge(reply("No idea here.", []), question(unable=True)) == "wrong"


def test_a_miss_of_the_segmenter_is_distinguished_from_a_wrong_choice() -> None:
    incomplete = FakeSegmenter({"car": BOXES[:1], "dog": BOXES[2:]})
    asked = [
        Question("1", "a", scene(), "the cars", (), Truth(marks=[[0, 1]])),
        Question("2", "b", scene(), "the cars", (), Truth(marks=[[2]])),
        Question("3", "c", scene(), "the dog", (), Truth(marks=[[2]])),
    ]
    results = evaluate(Agent(OfflinePlanner(), incomplete), asked)
    assert [one.verdict for one in results] == ["segmentation", "wrong", "right"]


def test_earlier_questions_are_asked_in_the_same_chat() -> None:
    both = FakeSegmenter({"car": BOXES[:2], "dog": BOXES[2:]})
    chat = Question("1", "a", scene(), "the leftmost of them", ("the cars",), Truth(marks=[[0]]))
    assert [one.verdict for one in evaluate(Agent(OfflinePlanner(), both), [chat])] == ["right"]


def test_the_table_counts_by_kind() -> None:
    results = [
        Result("1", "colour", "?", "right", False, "answered", ""),
        Result("2", "colour", "?", "unable", True, "unable", ""),
        Result("3", "total", "?", "wrong", False, "answered", ""),
    ]
    assert list(table(results))[2:] == [
        "| colour | 2 | 1 | 0 | 1 | 0 | 1 |",
        "| total | 1 | 0 | 0 | 0 | 1 | 0 |",
        "| **all** | 3 | 1 | 0 | 1 | 1 | 1 |",
    ]


def test_a_hundred_questions_of_every_kind_are_shipped() -> None:
    questions = read_questions(QUESTIONS)
    assert len({one.id for one in questions}) == len({one.question for one in questions}) == 100
    assert min(Counter(one.kind for one in questions).values()) >= 5
    assert all(one.truth != Truth() for one in questions)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "JSON"),
        ('{"id": "1", "scene": 3}', "truth"),
        ('{"id": "1", "scene": 3, "truth": {"mark": []}}', "mark"),
        (
            '{"id": "1", "kind": "a", "scene": 3, "question": "?", "truth": {"marks": [[99]]}}',
            "indexes",
        ),
    ],
)
def test_a_broken_line_is_named(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"line 1: .*{reason}"):
        read_questions(path)


def test_the_program_prints_the_table_and_writes_every_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"id": "1", "scene": 2357, "question": "the clock", "kind": "referring"}
    path, out = tmp_path / "questions.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps({**line, "truth": {"marks": [[0]]}}) + "\n", encoding="utf-8")
    main(["--questions", str(path), "--out", str(out), "--planner", "offline"])
    assert "| **all** | 1 | 1 |" in capsys.readouterr().out
    assert json.loads(out.read_text("utf-8"))["verdict"] == "right"
