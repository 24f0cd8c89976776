"""What happened in a scene: what prompts found, and how masks were edited."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What a prompt found: the numbers of its masks, best first, and its presence score.

    phrase: the concept phrase, or what else its masks are called. fresh: the numbers of those
    masks that nothing had found before. unknown: the part of a phrase that is outside the
    segmenter's vocabulary, so that it was not looked for; nearest: known words spelled like it.
    """

    phrase: str
    presence: float
    numbers: tuple[int, ...]
    fresh: tuple[int, ...] = ()
    unknown: str = ""
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """A change to the masks with these numbers. result: the number of the mask made, if any."""

    action: Literal["drop", "restore", "merge", "subtract"]
    numbers: tuple[int, ...]
    result: int | None = None
