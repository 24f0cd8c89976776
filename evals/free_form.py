"""Evaluation on free-form questions: replies that are right, unable, or wrong.

`python -m sam3_agent.evals.free_form` asks the questions of evals/demo/free_form.jsonl, which were
written without knowledge of the offline planner, and prints the table of evals/LOG.md. A line:

    {"id": "12", "image": "ducks.png", "question": "what colour is it?", "kind": "follow_up",
     "before": ["is there a backpack?"], "truth": {"marks": [[5]], "colors": ["blue"]}}

`image` is an image of the annotated set in the same folder; `scene`, a seed for `scenes.compose`,
may replace it. `before` are the earlier questions of the chat. `truth` is a `Truth`.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.errors import InputError
from sam3_agent.evals.synthetic.annotated_set import read_set
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.masks import Masks
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.vocabulary import COLORS
from sam3_agent.segmenter import vocabulary_of

QUESTIONS = Path(__file__).resolve().parent / "demo" / "free_form.jsonl"

SAME_IOU = 0.5
"""The IoU from which a mask marks an object."""

Verdict = Literal["right", "segmentation", "unable", "wrong"]
"""right: masks and text are right, or `unable` is. segmentation: wrong, but right with the true
masks. unable: a refusal. wrong: any other answer."""

VERDICTS: tuple[Verdict, ...] = ("right", "segmentation", "unable", "wrong")

COLOR_WORDS = (*COLORS, "gray", "brown", "black", "white", "pink")
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


@dataclass(frozen=True)
class Truth:
    """The accepted replies to a question; fields that are left out are not checked.

    marks: the accepted sets of marked objects, as indexes. no_target: the status must be that.
    count: a number that the text must contain. counts: word -> the number that must stand with it.
    yes: yes or no. colors: the colours that the text must name, with no others except those of the
    question. unable: the question cannot be answered from the image. unable_ok: it can be, but a
    small grammar may refuse it.
    """

    marks: Sequence[Sequence[int]] | None = None
    no_target: bool = False
    count: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    yes: bool | None = None
    colors: Sequence[str] = ()
    unable: bool = False
    unable_ok: bool = False


@dataclass(frozen=True)
class Question:
    """A question about a scene; before: the earlier questions of the chat."""

    id: str
    kind: str
    scene: SyntheticScene
    question: str
    before: tuple[str, ...]
    truth: Truth


@dataclass(frozen=True)
class Result:
    """The verdict on the reply to a question; accepted: it is an acceptable `unable`."""

    id: str
    kind: str
    question: str
    verdict: Verdict
    accepted: bool
    status: str
    text: str


def read_questions(path: Path) -> list[Question]:
    """Reads the questions of a file; ValueError names the line and what is wrong."""
    pictures = cache(lambda: {one.file_name: one.scene for one in read_set(path.parent)})
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            scene = compose(record["scene"]) if "scene" in record else pictures()[record["image"]]
            questions.append(_question(record, scene))
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error!r}") from error
    return questions


def _question(record: dict[str, Any], scene: SyntheticScene) -> Question:
    truth = Truth(**record["truth"])
    if any(
        index not in range(len(scene.objects)) for marks in truth.marks or () for index in marks
    ):
        raise ValueError(f"marks must be indexes of the {len(scene.objects)} objects")
    before = tuple(record.get("before", ()))
    return Question(record["id"], record["kind"], scene, record["question"], before, truth)


def evaluate(agent: Agent, questions: Sequence[Question]) -> Iterator[Result]:
    """Asks every question in a chat of its own and judges the reply to the last one."""
    for one in questions:
        answer = _reply(agent, one)
        verdict = judge(answer, one)
        if verdict == "wrong":
            # the same question with perfect masks tells a fault of the segmenter from others
            with_truth = Agent(agent.planner, _true_masks(agent, one.scene), verifier="none")
            if judge(_reply(with_truth, one), one) == "right":
                verdict = "segmentation"
        accepted = verdict == "unable" and one.truth.unable_ok
        yield Result(one.id, one.kind, one.question, verdict, accepted, answer.status, answer.text)


def _reply(agent: Agent, one: Question) -> Answer:
    chat = agent.chat(one.scene.image)
    for earlier in one.before:
        chat.ask(earlier)
    return chat.ask(one.question)


def _true_masks(agent: Agent, scene: SyntheticScene) -> FakeSegmenter:
    """Makes a segmenter with the agent's vocabulary that finds every object of a scene exactly."""
    concepts = sorted(set().union(*(obj.concepts for obj in scene.objects)))
    return FakeSegmenter(
        {name: np.array([scene.mask(i) for i in scene.matching(name)]) for name in concepts},
        vocabulary=vocabulary_of(agent.segmenter),
    )


def judge(answer: Answer, one: Question) -> Verdict:
    """Judges an answer; `out_of_budget` counts as `unable`."""
    truth = one.truth
    if answer.status in ("unable", "out_of_budget"):
        return "right" if truth.unable and answer.status == "unable" else "unable"
    right = (
        not truth.unable
        and (
            truth.marks is None
            or _marked(answer.masks, one.scene) in [set(marks) for marks in truth.marks]
        )
        and (not truth.no_target or answer.status == "no_target")
        and _words_right(answer, one)
    )
    return "right" if right else "wrong"


def _marked(masks: Masks, scene: SyntheticScene) -> set[int] | None:
    """Returns the objects that masks mark; None where a mask marks none, or two mark the same."""
    if not len(masks):
        return set()
    truth = Masks.from_dense(np.array([scene.mask(i) for i in range(len(scene.objects))]))
    overlap = masks.overlap(truth)
    # each mask marks the object that it overlaps most; two of one object are one too many
    marked = {int(i) for i in overlap.argmax(axis=1)}
    every = bool((overlap.max(axis=1) >= SAME_IOU).all())
    return marked if every and len(marked) == len(masks) else None


def _words_right(answer: Answer, one: Question) -> bool:
    truth, text = one.truth, _normal(answer.text)
    named, asked = (_colors(words) for words in (text, _normal(one.question)))
    return (
        (truth.count is None or str(truth.count) in re.findall(r"\d+", text))
        and all(_comes_with(text, word, number) for word, number in truth.counts.items())
        and (truth.yes is None or _says_yes(text, answer, truth) == truth.yes)
        and (not truth.colors or set(truth.colors) <= named <= {*truth.colors, *asked})
    )


def _normal(text: str) -> str:
    """Normalises a text: lower case, numbers in digits, none as 0, one spelling of grey."""
    text = text.lower().replace("grey", "gray")
    for number, word in enumerate(NUMBER_WORDS):
        text = re.sub(rf"\b{word}\b", str(number), text)
    return re.sub(r"\b(no|none|nothing)\b", r"\1 0", text)


def _colors(text: str) -> set[str]:
    return {color for color in COLOR_WORDS if re.search(rf"\b{color}\b", text)}


def _comes_with(text: str, word: str, number: int) -> bool:
    """Whether the text has "2 red", "2 big red" or "red: 2", "red (2)", "red is 2"."""
    before = rf"\b{number}\s+(?:[a-z-]+\s+)?{word}"
    after = rf"\b{word}\w*(?:\s+[a-z-]+)?\s*(?::|=|\(|-|\bis\b|\bare\b)\s*{number}\b"
    return re.search(f"{before}|{after}", text) is not None


def _says_yes(text: str, answer: Answer, truth: Truth) -> bool | None:
    """Reads yes or no from the text, or else from the masks of a question that asks for some."""
    if re.match(r"(yes|no|not|none|neither)\b", text):
        return text.startswith("yes")
    if answer.status == "no_target":
        return False
    return len(answer.masks) > 0 if truth.marks else None


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yields the numbers of replies by kind and verdict, as lines of a Markdown table.

    The column `accepted` counts the acceptable ones of the unable replies.
    """
    yield f"| kind | n | {' | '.join(VERDICTS)} | accepted |"
    yield "|---|" + "--:|" * (len(VERDICTS) + 2)
    for kind in dict.fromkeys(one.kind for one in results):
        yield _table_row(kind, [one for one in results if one.kind == kind])
    yield _table_row("**all**", results)


def _table_row(name: str, results: Sequence[Result]) -> str:
    counts = Counter(one.verdict for one in results)
    cells = [len(results), *(counts[one] for one in VERDICTS), sum(one.accepted for one in results)]
    return f"| {name} | {' | '.join(map(str, cells))} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=Path, default=QUESTIONS)
    parser.add_argument("--out", type=Path, help="write every result to this file, as JSON lines")
    parser.add_argument("--planner")
    parser.add_argument("--segmenter")
    chosen = parser.parse_args(arguments)
    agent = Agent(chosen.planner, chosen.segmenter)
    results = list(evaluate(agent, read_questions(chosen.questions)))
    if chosen.out is not None:
        lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in results)
        chosen.out.write_text("".join(lines), encoding="utf-8")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
