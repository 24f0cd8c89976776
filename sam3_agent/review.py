"""The seam to independent checks: what the agent asks of fresh eyes before it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.scene import Scene
from sam3_agent.tool import Tool


@dataclass(frozen=True)
class Verdict:
    """Whether one mask is right; None when nobody could tell.

    confidence: 0..1, with several votes times the part of them that agreed.
    """

    number: int
    right: bool | None
    confidence: float
    reason: str

    def line(self) -> str:
        """The verdict as a planner reads it."""
        said = {True: "right", False: "WRONG", None: "not judged"}[self.right]
        sure = "" if self.right is None else f" ({self.confidence:.2f})"
        return f"mask {self.number}: {said}{sure}: {self.reason}"


@dataclass(frozen=True)
class Completeness:
    """Whether everything is found; None when nobody could tell.

    what: what is missing, in words. regions: where, x0 y0 x1 y1 in pixels.
    """

    complete: bool | None
    what: str = ""
    regions: tuple[tuple[float, float, float, float], ...] = ()

    def line(self, size: tuple[int, int]) -> str:
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


@dataclass(frozen=True)
class Candidate:
    """An answer that is compared with another: its words, masks and their numbers."""

    text: str
    masks: Masks
    numbers: tuple[int, ...]


class Checks(Protocol):
    """Fresh eyes: each question is a model call of its own that knows nothing of the others."""

    def tools(self) -> list[Tool]:
        """The checks that a planner may ask for."""

    def verdicts(
        self, scene: Scene, numbers: Sequence[int], statement: str, votes: int = 1
    ) -> list[Verdict]:
        """Whether each mask fits a statement, in order; the majority of `votes`."""

    def completeness(self, scene: Scene, query: str, numbers: Sequence[int]) -> Completeness:
        """Whether these masks are all that a question asks for."""

    def better(
        self, image: Pixels, query: str, first: Candidate, second: Candidate
    ) -> Candidate | None:
        """The better of two answers; None when that is not clear."""
