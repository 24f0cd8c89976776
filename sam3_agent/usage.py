"""What a run costs, and the budget that it must stay in."""

from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

from sam3_agent.errors import InputError


@dataclass(frozen=True)
class Spent:
    """What model calls cost; two of these add up.

    calls: requests that were answered. retries: requests that failed and were sent again.
    images, bytes: pictures sent, and the size of all request bodies.
    cost: US dollars; None as soon as one part of it is unknown.
    """

    calls: int = 0
    retries: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    bytes: int = 0
    cost: float | None = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        def total(name: str) -> Any:
            parts = (getattr(self, name), getattr(other, name))
            return None if None in parts else sum(parts)

        return Spent(**{field.name: total(field.name) for field in fields(self)})

    def in_vain(self, tries: int) -> "Spent":
        """What `tries` requests like this one cost that were not answered."""
        return Spent(retries=tries, images=tries * self.images, bytes=tries * self.bytes)


@dataclass(frozen=True)
class Usage:
    """What one question cost.

    turns: replies of the planner. tool_calls: calls that it asked for. tool_errors: those among
    them that could not be run as written. spent: what the planner's model calls cost. The rest are
    seconds of wall time.
    """

    turns: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    spent: Spent = Spent()
    seconds: float = 0.0
    planner_seconds: float = 0.0
    segmenter_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The usage as one level of JSON values; seconds to the millisecond, cost in dollars."""
        own = {name: value for name, value in vars(self).items() if name != "spent"}
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in own.items()}
        cost = self.spent.cost
        return {
            **rounded,
            **vars(self.spent),
            "cost": None if cost is None else round(cost, 6),
        }


@dataclass(frozen=True)
class Budget:
    """What one question may cost; checked before every planner call, None means no limit.

    turns: replies of the planner. seconds: wall time. tokens: input and output tokens together.
    usd: US dollars; the planner's prices must be known. mistakes: wrong calls in a row.
    """

    turns: int = 12
    seconds: float | None = None
    tokens: int | None = None
    usd: float | None = None
    mistakes: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise InputError(f"the budget of {name} is {value}; it must be more than 0")

    def exhausted(self, spent: Spent, seconds: float) -> str | None:
        """Why nothing more may be sent, or None."""
        if self.seconds is not None and seconds >= self.seconds:
            return f"its {self.seconds:g} seconds"
        tokens = spent.input_tokens + spent.output_tokens
        if self.tokens is not None and tokens >= self.tokens:
            return f"its {self.tokens} tokens"
        if self.usd is not None and (spent.cost or 0.0) >= self.usd:
            return f"its {self.usd:g} US dollars"
        return None


deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""`time.monotonic()` after which a planner must not send anything, set around `Planner.reply`."""
