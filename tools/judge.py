"""Independent checks by fresh model calls: is each mask right, is everything found, which answer
is better.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on

from sam3_agent.errors import ToolError
from sam3_agent.images import Pixels
from sam3_agent.messages import Message
from sam3_agent.observations import (
    ComparisonQuestion,
    CompletenessQuestion,
    VerificationQuestion,
)
from sam3_agent.planner import Planner
from sam3_agent.review import Candidate, Completeness, Verdict
from sam3_agent.sanitize import one_line
from sam3_agent.scene import Scene
from sam3_agent.structured_output import Opinion, consult
from sam3_agent.tool import Observation, Tool
from sam3_agent.tools.crops import closeups
from sam3_agent.tools.observation_text import checked_numbers
from sam3_agent.tools.overlay import view

MASKS_PER_PICTURE = 5
"""Masks that one verifying call judges."""

MAX_MASKS = 100
"""More masks than this in one call are refused."""

MAX_VOTES = 5

MAX_STATEMENT = 1000
"""Characters of a statement or question that is checked."""

MAX_REASON = 160
"""Characters of a reason that are passed on."""

MAX_REGIONS = 8
"""Regions to look at again that are passed on."""

Part = Literal["verify", "check_complete", "compare"]


NOTED = Observation("Noted.")
"""What a form would say if it were run; it is only read."""


class Judged(TypedDict):
    """One mask's verdict in the form that a model fills in."""

    number: int
    right: bool
    confidence: float
    reason: str


def judge(scene: Scene, verdicts: list[Judged]) -> Observation:
    """Give the verdict on every numbered mask.

    verdicts: for each mask whether it is right, your confidence from 0 to 1, and the reason in a
    few words.
    """
    return NOTED


def report(scene: Scene, complete: bool, missing: str, regions: list[list[float]]) -> Observation:
    """Say whether everything is marked.

    missing: what is not marked, in a few words; empty when complete.
    regions: where it is, each x0, y0, x1, y1 in percent of the image's width and height.
    """
    return NOTED


def prefer(scene: Scene, better: str, reason: str) -> Observation:
    """Say which answer is better.

    better: "A", "B" or "equal".
    """
    return NOTED


JUDGE, REPORT, PREFER = (Tool.from_function(form) for form in (judge, report, prefer))
"""The forms that fresh eyes fill in."""


@dataclass(frozen=True)
class Checker:
    """Checks by fresh calls of a model that sees pictures.

    prompt: gives the system prompt of each kind of check.
    """

    model: Planner
    prompt: Callable[[Part], str]

    def tools(self) -> list[Tool]:
        """The checks that a planner may ask for."""
        return [Tool.from_function(self.verify), Tool.from_function(self.check_complete)]

    def verify(
        self, scene: Scene, numbers: list[int], statement: str, votes: int | None = None
    ) -> Observation:
        """Have fresh eyes judge masks, one by one, by a statement such as "the cup she holds".

        votes: 1 to 5 for each mask; the majority counts.
        """
        chosen = checked_numbers(scene, numbers, 1, MAX_MASKS)
        _check_text("statement", statement)
        if votes is not None and not 1 <= votes <= MAX_VOTES:
            raise ToolError(f"votes is {votes}; give 1 to {MAX_VOTES}")
        verdicts = self.verdicts(scene, chosen, statement, votes or 1)
        return Observation("\n".join(verdict.line() for verdict in verdicts))

    def check_complete(self, scene: Scene, query: str, numbers: list[int]) -> Observation:
        """Have fresh eyes look for what `query` asks for beyond these masks, and tell where."""
        chosen = checked_numbers(scene, numbers, 0, MAX_MASKS)
        _check_text("query", query)
        found = self.completeness(scene, query, chosen)
        return Observation(found.line((scene.height, scene.width)))

    def verdicts(
        self, scene: Scene, numbers: Sequence[int], statement: str, votes: int = 1
    ) -> list[Verdict]:
        """Whether each mask fits the statement, in order; several masks share a call."""
        groups = [
            tuple(numbers[begin : begin + MASKS_PER_PICTURE])
            for begin in range(0, len(numbers), MASKS_PER_PICTURE)
        ]
        questions = []
        for group in groups:
            masks = scene.select(group)
            pictures = (view(scene.image, masks, group), closeups(scene, group))
            question = VerificationQuestion(statement, masks, group)
            told = f"Statement: {statement}\nMasks to judge: {', '.join(map(str, group))}"
            for vote in range(1, votes + 1):
                ballot = f"{told}\n(Vote {vote} of {votes}.)" if votes > 1 else told
                questions.append(Message("user", ballot, pictures, question=question))
        opinions = consult(self.model, "verify", self.prompt("verify"), questions, JUDGE)
        out = []
        for i, group in enumerate(groups):
            ballots = opinions[i * votes : (i + 1) * votes]
            out += [_counted(number, ballots) for number in group]
        return out

    def completeness(self, scene: Scene, query: str, numbers: Sequence[int]) -> Completeness:
        """Whether these masks are all that the question asks for."""
        masks = scene.select(numbers)
        marked = view(scene.image, masks, tuple(numbers)) if numbers else scene.image
        told = f"Question: {query}\nMarked: {', '.join(map(str, numbers)) or 'nothing'}"
        pictures = (scene.image, marked) if numbers else (marked,)
        question = CompletenessQuestion(query, masks)
        (opinion,) = consult(
            self.model,
            "check_complete",
            self.prompt("check_complete"),
            [Message("user", told, pictures, question=question)],
            REPORT,
        )
        if opinion.values is None:
            return Completeness(None, opinion.failure)
        if opinion.values["complete"]:
            return Completeness(True)
        sides = np.array([scene.width, scene.height] * 2) / 100
        regions = [
            tuple((region * sides).tolist())
            for region in map(_in_percent, opinion.values["regions"])
            if region is not None
        ]
        what = one_line(opinion.values["missing"], MAX_REASON) or "something"
        return Completeness(False, what, tuple(regions[:MAX_REGIONS]))

    def better(
        self, image: Pixels, query: str, first: Candidate, second: Candidate
    ) -> Candidate | None:
        """The better answer when both orders of showing them agree on it, else None."""
        questions = [
            _comparison(image, query, *pair) for pair in ((first, second), (second, first))
        ]
        opinions = consult(self.model, "compare", self.prompt("compare"), questions, PREFER)
        choices = [_choice(opinion) for opinion in opinions]
        return {("A", "B"): first, ("B", "A"): second}.get((choices[0], choices[1]))


def _counted(number: int, ballots: Sequence[Opinion]) -> Verdict:
    """The majority of the votes on one mask; a tie is no verdict."""
    votes: list[Judged] = []
    for ballot in ballots:
        given: list[Judged] = ballot.values["verdicts"] if ballot.values is not None else []
        votes += [one for one in given if one["number"] == number][:1]
    if not votes:
        failure = next((ballot.failure for ballot in ballots if ballot.failure), "no verdict")
        return Verdict(number, None, 0.0, one_line(failure, MAX_REASON))
    counts = Counter(vote["right"] for vote in votes)
    right, most = counts.most_common(1)[0]
    if 2 * most == len(votes) and len(counts) > 1:
        return Verdict(number, None, 0.0, "the votes are even")
    agreeing = [vote for vote in votes if vote["right"] == right]
    sure = sum(min(1.0, max(0.0, vote["confidence"])) for vote in agreeing) / len(votes)
    return Verdict(number, right, sure, one_line(agreeing[0]["reason"], MAX_REASON))


def _comparison(image: Pixels, query: str, a: Candidate, b: Candidate) -> Message:
    told = [f"Question: {query}"]
    pictures = [image]
    for letter, one in (("A", a), ("B", b)):
        masks = ", ".join(map(str, one.numbers)) or "none"
        told.append(f"Answer {letter}: {one.text} (masks: {masks})")
        pictures.append(view(image, one.masks, one.numbers) if one.numbers else image)
    question = ComparisonQuestion(query, (a.masks, b.masks))
    return Message("user", "\n".join(told), tuple(pictures), question=question)


def _choice(opinion: Opinion) -> str:
    better = "" if opinion.values is None else str(opinion.values["better"]).strip().upper()
    return better.removeprefix("ANSWER ")


def _in_percent(region: Sequence[float]) -> npt.NDArray[np.float64] | None:
    """What of a region x0 y0 x1 y1 lies in the image; None for nothing, and for another form."""
    if len(region) != 4:
        return None
    values = np.array(region, np.float64)
    if (np.abs(values) <= 1).all():  # fractions
        values = values * 100
    values = values.clip(0, 100)
    return values if values[0] < values[2] and values[1] < values[3] else None


def _check_text(name: str, text: str) -> None:
    if not text.strip() or len(text) > MAX_STATEMENT:
        raise ToolError(f"{name} must have 1 to {MAX_STATEMENT} characters")
