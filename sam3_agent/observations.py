"""What the texts of a conversation say, as typed values for planners and servers.

A user message may carry a question (`Message.question`), a tool's message what the tool found
(`Observation.findings`, `Message.findings`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sam3_agent.findings import Finding
from sam3_agent.geometry import Point
from sam3_agent.masks import Masks
from sam3_agent.serialization import SCORE_DIGITS
from sam3_agent.vocabulary import Vocabulary


class Findings(Protocol):
    """What a tool found. Tools of other packages may bring findings of their own, or none."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the masks that the findings are about."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What is known beyond the masks themselves, as JSON values."""
        ...


@dataclass(frozen=True, eq=False)
class SegmentFindings:
    """What each prompt of one call found.

    findings: one per prompt, in order, without dropped masks. masks, numbers: the N masks of all
    findings, each once, and their N numbers; `masks.size` is that of the image. Raises ValueError
    when these do not fit each other.
    """

    findings: tuple[Finding, ...]
    masks: Masks
    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.masks):
            raise ValueError(f"{len(self.masks)} masks have {len(self.numbers)} numbers")
        missing = {n for finding in self.findings for n in finding.numbers} - set(self.numbers)
        if missing:
            raise ValueError(f"findings name masks that are not among them: {sorted(missing)}")

    def to_dict(self) -> dict[str, Any]:
        """Each prompt with its presence and its numbers; what was unknown, and words like it."""
        return {
            "findings": [
                {
                    "phrase": finding.phrase,
                    "presence": round(finding.presence, SCORE_DIGITS),
                    "numbers": list(finding.numbers),
                }
                | (
                    {"unknown": finding.unknown, "nearest": list(finding.nearest)}
                    if finding.unknown
                    else {}
                )
                for finding in self.findings
            ]
        }


@dataclass(frozen=True)
class MaskNumbers:
    """The masks that a picture shows, or that an edit left."""

    numbers: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nothing: there is no more than the masks."""
        return {}


@dataclass(frozen=True)
class Measurement:
    """One mask measured.

    area: pixels. centre: x y of the centre of gravity in pixels. colors: the main colour names with
    their share of the pixels in 0..1, largest first.
    """

    number: int
    area: int
    centre: Point
    colors: Mapping[str, float]


@dataclass(frozen=True)
class PairMeasurement:
    """How the first of two masks lies to the second.

    relations: of left, right, above, below, inside, around. overlap: the share of the first, and of
    the second, that both cover. gap: the distance as a share of the image's diagonal.
    """

    numbers: tuple[int, int]
    relations: tuple[str, ...]
    overlap: tuple[float, float]
    gap: float


@dataclass(frozen=True)
class Measurements:
    """Masks measured. orders: the numbers by place and size; pairs: empty for many masks."""

    masks: tuple[Measurement, ...]
    orders: Mapping[str, tuple[int, ...]]
    pairs: tuple[PairMeasurement, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the masks, in the order of the call."""
        return tuple(one.number for one in self.masks)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "masks": [
                {
                    "number": one.number,
                    "area": one.area,
                    "centre": list(one.centre),
                    "colors": dict(one.colors),
                }
                for one in self.masks
            ],
            "orders": {name: list(numbers) for name, numbers in self.orders.items()},
            "pairs": [
                {
                    "numbers": list(pair.numbers),
                    "relations": list(pair.relations),
                    "overlap": list(pair.overlap),
                    "gap": pair.gap,
                }
                for pair in self.pairs
            ],
        }


@dataclass(frozen=True)
class UserQuestion:
    """A question of the user, as opposed to a reminder of the loop.

    vocabulary: the nouns that can be found, see `Scene.vocabulary`.
    """

    vocabulary: Vocabulary | None = None


@dataclass(frozen=True, eq=False)
class VerificationQuestion:
    """Does each of N masks, with N numbers, fit the statement?"""

    statement: str
    masks: Masks
    numbers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CompletenessQuestion:
    """Are these masks all that the query asks for?"""

    query: str
    masks: Masks


@dataclass(frozen=True, eq=False)
class ComparisonQuestion:
    """Which of two answers to the query is better, by their masks?"""

    query: str
    answers: tuple[Masks, Masks]


Question: TypeAlias = (
    UserQuestion | VerificationQuestion | CompletenessQuestion | ComparisonQuestion
)
