"""The judge: a model that checks each mask, looks for what is missing, and compares two answers."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from sam3_agent.answer import Answer
from sam3_agent.errors import ToolError
from sam3_agent.messages import Message
from sam3_agent.observations import (
    ComparisonQuestion,
    CompletenessQuestion,
    VerificationQuestion,
)
from sam3_agent.overlay import view
from sam3_agent.planner import Planner, sees
from sam3_agent.review import MAX_VOTES, Completeness, Verdict
from sam3_agent.sanitize import one_line
from sam3_agent.scene import Scene
from sam3_agent.structured_output import Schema, StructuredReply, ask_structured
from sam3_agent.tool import Observation, Tool
from sam3_agent.tools.crops import crop_grid
from sam3_agent.tools.observation_text import checked_numbers

MASKS_PER_PICTURE = 5
"""Masks that one verifying call judges."""

MAX_MASKS = 100
"""More masks than this in one call are refused."""

MAX_STATEMENT = 1000
"""Characters of a statement or question that is checked."""

MAX_REASON = 160
"""Characters of a reason that are passed on."""

MAX_REGIONS = 8
"""Regions to look at again that are passed on."""

Part: TypeAlias = Literal["verify", "check_complete", "compare"]
Numbers: TypeAlias = Annotated[list[int], Field(description="of masks", max_length=MAX_MASKS)]


class Judgment(BaseModel):
    """A model's verdict on one mask."""

    number: int
    right: bool
    confidence: Annotated[float, Field(description="from 0 to 1")]
    reason: Annotated[str, Field(description="in a few words")]


class Judgments(BaseModel):
    """Give the verdict on every numbered mask."""

    verdicts: list[Judgment]


class RecallReport(BaseModel):
    """State whether everything is marked."""

    complete: bool
    missing: Annotated[
        str, Field(description="what is not marked, in a few words; empty when complete")
    ]
    regions: Annotated[
        list[list[float]],
        Field(description="where it is, each x0,y0,x1,y1 in percent of the width and height"),
    ]


class Preference(BaseModel):
    """State which answer is better."""

    better: Annotated[str, Field(description='"A", "B" or "equal"')]
    reason: str


JUDGE = Schema("judge", Judgments)
REPORT = Schema("report", RecallReport)
PREFER = Schema("prefer", Preference)


class Judge:
    """Checks by calls of a model that takes pictures; each call is a conversation of its own.

    prompt: gives the system prompt of each kind of check.
    """

    def __init__(self, model: Planner, prompt: Callable[[Part], str]) -> None:
        self._model, self._prompt = model, prompt
        self._saw = sees(model)

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._model.name

    @property
    def available(self) -> bool:
        """False once the model has turned out to take no pictures."""
        return sees(self._model) or not self._saw

    def tools(self) -> list[Tool]:
        """The checks that a planner may ask for."""
        return [Tool.from_function(self.verify), Tool.from_function(self.check_complete)]

    def verify(
        self,
        scene: Scene,
        numbers: Numbers,
        statement: Annotated[str, Field(max_length=MAX_STATEMENT)],
        votes: Annotated[
            int, Field(ge=1, le=MAX_VOTES, description="on each mask; the majority counts")
        ] = 1,
    ) -> Observation:
        """Have an independent check judge each mask by a statement such as "the cup she holds"."""
        chosen = checked_numbers(scene, numbers, 1, MAX_MASKS)
        _refuse_blank("statement", statement)
        verdicts = self.verdicts(scene, chosen, statement, votes)
        return Observation("\n".join(verdict.line() for verdict in verdicts))

    def check_complete(
        self,
        scene: Scene,
        query: Annotated[str, Field(max_length=MAX_STATEMENT)],
        numbers: Numbers,
    ) -> Observation:
        """Have an independent check find what `query` asks for beyond these masks, and where."""
        chosen = checked_numbers(scene, numbers, 0, MAX_MASKS)
        _refuse_blank("query", query)
        found = self.completeness(scene, query, chosen)
        return Observation(found.line(scene.size))

    def verdicts(
        self, scene: Scene, numbers: Sequence[int], statement: str, votes: int = 1
    ) -> list[Verdict]:
        """See `Reviewer.verdicts`; several masks share a call."""
        groups = [
            tuple(numbers[begin : begin + MASKS_PER_PICTURE])
            for begin in range(0, len(numbers), MASKS_PER_PICTURE)
        ]
        questions = []
        for group in groups:
            masks = scene.select(group)
            pictures = (view(scene.image, masks, group), crop_grid(scene, group))
            question = VerificationQuestion(statement, masks, group)
            prompt = f"Statement: {statement}\nMasks to judge: {', '.join(map(str, group))}"
            for vote in range(1, votes + 1):
                ballot = f"{prompt}\n(Vote {vote} of {votes}.)" if votes > 1 else prompt
                questions.append(Message("user", ballot, pictures, question=question))
        replies = ask_structured(self._model, "verify", self._prompt("verify"), questions, JUDGE)
        out = []
        for i, group in enumerate(groups):
            ballots = replies[i * votes : (i + 1) * votes]
            out += [_counted(number, ballots) for number in group]
        return out

    def completeness(self, scene: Scene, query: str, numbers: Sequence[int]) -> Completeness:
        """See `Reviewer.completeness`."""
        masks = scene.select(numbers)
        marked = view(scene.image, masks, tuple(numbers)) if numbers else scene.image
        prompt = f"Question: {query}\nMarked: {', '.join(map(str, numbers)) or 'nothing'}"
        pictures = (scene.image, marked) if numbers else (marked,)
        question = CompletenessQuestion(query, masks)
        (reply,) = ask_structured(
            self._model,
            "check_complete",
            self._prompt("check_complete"),
            [Message("user", prompt, pictures, question=question)],
            REPORT,
        )
        report = reply.value
        if report is None:
            return Completeness(None, reply.failure)
        if report.complete:
            return Completeness(True)
        sides = np.array([scene.width, scene.height] * 2) / 100
        regions = [
            tuple((region * sides).tolist())
            for region in map(_in_percent, report.regions)
            if region is not None
        ]
        what = one_line(report.missing, MAX_REASON) or "something"
        return Completeness(False, what, tuple(regions[:MAX_REGIONS]))

    def better(self, first: Answer, second: Answer) -> Answer | None:
        """The better answer when both orders of showing them agree on it, else None."""
        questions = [_comparison(first, second), _comparison(second, first)]
        prompt = self._prompt("compare")
        replies = ask_structured(self._model, "compare", prompt, questions, PREFER)
        choices = [_choice(reply) for reply in replies]
        return {("A", "B"): first, ("B", "A"): second}.get((choices[0], choices[1]))


def _counted(number: int, ballots: Sequence[StructuredReply[Judgments]]) -> Verdict:
    """The majority of the votes on one mask; a tie is no verdict.

    The first verdict of a ballot on the mask counts. The confidence is the mean over all votes,
    with 0 for those that disagree.
    """
    votes: list[Judgment] = []
    for ballot in ballots:
        verdicts = ballot.value.verdicts if ballot.value is not None else []
        votes += [one for one in verdicts if one.number == number][:1]
    if not votes:
        failure = next((ballot.failure for ballot in ballots if ballot.failure), "no verdict")
        return Verdict(number, None, 0.0, one_line(failure, MAX_REASON))
    counts = Counter(vote.right for vote in votes)
    right, most = counts.most_common(1)[0]
    if 2 * most == len(votes) and len(counts) > 1:
        return Verdict(number, None, 0.0, "the votes are even")
    agreeing = [vote for vote in votes if vote.right == right]
    confidence = sum(min(1.0, max(0.0, vote.confidence)) for vote in agreeing) / len(votes)
    return Verdict(number, right, confidence, one_line(agreeing[0].reason, MAX_REASON))


def _comparison(a: Answer, b: Answer) -> Message:
    lines, pictures = [f"Question: {a.query}"], [a.image]
    for letter, one in (("A", a), ("B", b)):
        masks = ", ".join(map(str, one.numbers)) or "none"
        lines.append(f"Answer {letter}: {one.text} (masks: {masks})")
        pictures.append(view(one.image, one.masks, one.numbers) if one.numbers else one.image)
    question = ComparisonQuestion(a.query, (a.masks, b.masks))
    return Message("user", "\n".join(lines), tuple(pictures), question=question)


def _choice(reply: StructuredReply[Preference]) -> str:
    better = "" if reply.value is None else reply.value.better.strip().upper()
    return better.removeprefix("ANSWER ")


def _in_percent(region: Sequence[float]) -> npt.NDArray[np.float64] | None:
    """What of a region x0 y0 x1 y1 lies in the image; None for nothing, and for another form."""
    if len(region) != 4:
        return None
    values = np.array(region, np.float64)
    if (np.abs(values) <= 1).all():  # a model that gives fractions in spite of the schema
        values = values * 100
    values = values.clip(0, 100)
    return values if values[0] < values[2] and values[1] < values[3] else None


def _refuse_blank(name: str, text: str) -> None:
    if not text.strip():
        raise ToolError(f"{name} is empty")
