"""Review: when an answer is checked, by what, and what becomes of doubts.

- The verifier judges each mask of an answer by itself, with several votes on request.
- The recall check looks for what the answer misses.
- Self-consistency reads the question again from scratch, and compares two answers that differ.

Each check is a model call of its own that knows nothing of the conversation. Doubts go back to the
planner once; the answer that it gives then stands, be it the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sam3_agent.abilities import refuse_unless_whole
from sam3_agent.answer import Answer
from sam3_agent.errors import InputError
from sam3_agent.geometry import Box, Size
from sam3_agent.scene import Scene
from sam3_agent.task import Task
from sam3_agent.tool import Conclusion, Tool

MAX_VOTES = 5

AGREEING_IOU = 0.8
"""Two answers whose masks together overlap at least this much agree."""


@dataclass(frozen=True)
class Effort:
    """Which checks an answer gets; what each buys is measured in evals/LOG.md.

    fast_path: a question that is itself a concept ("red cars") goes to the segmenter without the
        planner when its presence is clear. votes: how often each mask of an answer is verified.
    complete: whether the recall check runs. readings: 1, or 2 to read the question again from
        scratch; of two different answers the better one is chosen by comparison.
    """

    name: str
    fast_path: bool = False
    votes: int = 0
    complete: bool = False
    readings: int = 1

    def __post_init__(self) -> None:
        refuse_unless_whole(self.votes, "number of votes", 0, MAX_VOTES)
        refuse_unless_whole(self.readings, "number of readings", 1, 2)

    @property
    def checks(self) -> bool:
        """Whether anything is checked at all."""
        return self.votes > 0 or self.complete or self.readings > 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON values for a recording, whose key for `fast_path` is `straight`."""
        return {"straight" if k == "fast_path" else k: v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Effort":
        """Reads what `to_dict` gives."""
        return cls(**{"fast_path" if k == "straight" else k: v for k, v in values.items()})


FAST = Effort("fast", fast_path=True)
BALANCED = Effort("balanced", votes=1)
EXHAUSTIVE = Effort("exhaustive", votes=1, complete=True)
THOROUGH = Effort("thorough", votes=3, complete=True, readings=2)

EFFORTS = {effort.name: effort for effort in (FAST, BALANCED, EXHAUSTIVE, THOROUGH)}


def checked_effort(effort: Effort | str) -> Effort:
    """The effort, or that of a name; InputError for anything else."""
    if isinstance(effort, Effort):
        return effort
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise InputError(f"the effort is {effort!r:.80}; choose {', '.join(EFFORTS)}")
    return EFFORTS[effort]


@dataclass(frozen=True)
class Verdict:
    """Whether one mask is right; None when that could not be judged.

    confidence: 0..1, with several votes times the part of them that agreed.
    """

    number: int
    right: bool | None
    confidence: float
    reason: str

    def line(self) -> str:
        """The verdict as a planner reads it."""
        result = {True: "right", False: "WRONG", None: "not judged"}[self.right]
        sure = "" if self.right is None else f" ({self.confidence:.2f})"
        return f"mask {self.number}: {result}{sure}: {self.reason}"


@dataclass(frozen=True)
class Completeness:
    """Whether everything is found; None when that could not be judged.

    what: what is missing, in words. regions: where, x0 y0 x1 y1 in pixels.
    """

    complete: bool | None
    what: str = ""
    regions: tuple[Box, ...] = ()

    def line(self, size: Size) -> str:
        """What is missing and where, in percent of the (height, width) of the image."""
        if self.complete is None:
            return f"completeness not judged: {self.what}"
        if self.complete:
            return "complete: nothing is missing"
        sides = (size[1], size[0], size[1], size[0])
        places = "; ".join(
            "["
            + ", ".join(f"{100 * v / side:.0f}" for v, side in zip(region, sides, strict=True))
            + "]"
            for region in self.regions
        )
        return f"MISSING: {self.what}" + (f"; look again at {places}" if places else "")


class Reviewer(Protocol):
    """Independent checks by a model."""

    @property
    def name(self) -> str:
        """The name of the model."""
        ...

    @property
    def available(self) -> bool:
        """False once the model has turned out to take no pictures."""
        ...

    def tools(self) -> list[Tool]:
        """The checks that a planner may ask for."""
        ...

    def verdicts(
        self, scene: Scene, numbers: Sequence[int], statement: str, votes: int = 1
    ) -> list[Verdict]:
        """Whether each mask fits a statement, in order; the majority of `votes`."""
        ...

    def completeness(self, scene: Scene, query: str, numbers: Sequence[int]) -> Completeness:
        """Whether these masks are all that a question asks for."""
        ...

    def better(self, first: Answer, second: Answer) -> Answer | None:
        """The better of two answers to one question; None when that is not clear."""
        ...


class AnswerReview:
    """Checks the first answer of one reading of a task, as its effort says.

    doubted: the answer that the check had doubts about. It is given in the end if the planner gives
    no other.
    """

    def __init__(self, reviewer: Reviewer | None, effort: Effort, task: Task) -> None:
        self._reviewer, self._effort, self._task = reviewer, effort, task
        self._checked = False
        self.doubted: Conclusion | None = None

    def is_due(self, conclusion: Conclusion) -> bool:
        """Whether an answer is to be checked."""
        if self._reviewer is None or self._checked or conclusion.unable:
            return False
        return self._effort.complete or bool(self._effort.votes and conclusion.numbers)

    def check(self, conclusion: Conclusion) -> tuple[str, str]:
        """What the checks find about an answer, and what of it are doubts; a line for each.

        An answer that follows is not checked.
        """
        reviewer, effort, scene = self._reviewer, self._effort, self._task.scene
        assert reviewer is not None, "only an answer that is due is checked"
        self._checked = True
        question = self._task.context + self._task.query
        lines, doubts = [], []
        if effort.votes and conclusion.numbers:
            for verdict in reviewer.verdicts(scene, conclusion.numbers, question, effort.votes):
                lines.append(verdict.line())
                doubts += [verdict.line()] if verdict.right is False else []
        if effort.complete:
            found = reviewer.completeness(scene, question, conclusion.numbers)
            line = found.line((scene.height, scene.width))
            lines.append(line)
            doubts += [line] if found.complete is False else []
        if doubts:
            self.doubted = conclusion
        return "\n".join(lines), "\n".join(doubts)

    def drop_lost_reviewer(self) -> Reviewer | None:
        """The reviewer, once its model has turned out to take no pictures; it checks no more."""
        if self._reviewer is None or self._reviewer.available:
            return None
        lost, self._reviewer = self._reviewer, None
        return lost


def compare_readings(reviewer: Reviewer, first: Answer, second: Answer) -> tuple[Answer, str]:
    """The better of two answers from scratch, and how they compare, in words."""
    if second.status == "out_of_budget":
        return first, "came to no end"
    if _agree(first, second):
        return first, "agrees"
    if reviewer.better(first, second) is second:
        return second, "differs; the second answer is kept"
    return first, "differs; the first answer is kept"


def _agree(first: Answer, second: Answer) -> bool:
    """Whether two answers mark the same pixels."""
    if not first.numbers or not second.numbers:
        return first.numbers == second.numbers
    overlap = first.masks.union().overlap(second.masks.union())
    return bool(overlap[0, 0] >= AGREEING_IOU)
