"""Effort: how much is checked before an answer goes out."""

from dataclasses import dataclass

from sam3_agent.errors import InputError


@dataclass(frozen=True)
class Effort:
    """Which checks an answer gets; what each buys is measured in evals/LOG.md.

    straight: a question that is itself a concept ("red cars") goes to the segmenter without the
        planner when its presence is clear. votes: how often each mask of an answer is verified.
    complete: whether fresh eyes look for what is missing. readings: how often the question is read
        from scratch; of two different answers the better one is chosen by comparison.
    """

    name: str
    straight: bool = False
    votes: int = 0
    complete: bool = False
    readings: int = 1

    @property
    def checks(self) -> bool:
        """Whether anything is checked at all."""
        return self.votes > 0 or self.complete or self.readings > 1


FAST = Effort("fast", straight=True)
BALANCED = Effort("balanced", votes=1)
EXHAUSTIVE = Effort("exhaustive", votes=1, complete=True)
THOROUGH = Effort("thorough", votes=3, complete=True, readings=2)

EFFORTS = {effort.name: effort for effort in (FAST, BALANCED, EXHAUSTIVE, THOROUGH)}


def effort_named(name: str) -> Effort:
    """The effort of this name; InputError for another."""
    if name not in EFFORTS:
        raise InputError(f"the effort is {name!r}; choose {', '.join(EFFORTS)}")
    return EFFORTS[name]
