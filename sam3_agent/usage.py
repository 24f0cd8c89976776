"""What a run costs, and the budget that it must stay in."""

import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sam3_agent.errors import InputError, PlannerError


@dataclass(frozen=True)
class TokenUsage:
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

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        def total(name: str) -> Any:
            parts = (getattr(self, name), getattr(other, name))
            return None if None in parts else sum(parts)

        return TokenUsage(**{field.name: total(field.name) for field in fields(self)})

    @property
    def asked(self) -> bool:
        """Whether anything was sent at all."""
        return self.calls > 0 or self.retries > 0

    def __str__(self) -> str:
        """Calls, tokens in and out together, and dollars where they are known."""
        calls = f"{self.calls} call{'' if self.calls == 1 else 's'}"
        cost = "" if self.cost is None else f", {self.cost:.4f} USD"
        return f"{calls}, {self.input_tokens + self.output_tokens} tokens{cost}"

    def to_dict(self) -> dict[str, Any]:
        """The values by name, cost to a millionth of a dollar."""
        cost = None if self.cost is None else round(self.cost, 6)
        return {**vars(self), "cost": cost}

    def in_vain(self, tries: int) -> "TokenUsage":
        """What `tries` requests like this one cost that were not answered."""
        return TokenUsage(retries=tries, images=tries * self.images, bytes=tries * self.bytes)


def usage_of(error: PlannerError) -> TokenUsage:
    """What a planner's failure cost, as far as it is known."""
    return TokenUsage(retries=error.tries) if error.spent is None else error.spent


@dataclass(frozen=True)
class Usage:
    """What one question cost.

    effort: which checks were to be made. turns: replies of the planner. tool_calls: calls that it
    asked for. tool_errors: those among them that could not be run as written. spent: what all model
    calls cost; parts: who spent it (`planner`, `verify`, `check_complete`, `compare`). The rest are
    seconds of wall time; those of checks that run side by side count once.
    """

    effort: str = ""
    turns: int = 0
    tool_calls: int = 0
    tool_errors: int = 0
    spent: TokenUsage = TokenUsage()
    parts: Mapping[str, TokenUsage] = field(default_factory=dict)
    seconds: float = 0.0
    planner_seconds: float = 0.0
    checks_seconds: float = 0.0
    segmenter_seconds: float = 0.0

    def __str__(self) -> str:
        """One line: the effort, who asked a model how often, tokens, dollars and seconds."""
        models = "; ".join(f"{name} {spent}" for name, spent in self.parts.items() if spent.asked)
        effort = f"effort {self.effort}: " if self.effort else ""
        return (
            f"{effort}{models or 'no model calls'}; {self.seconds:.1f} s "
            f"(segmenter {self.segmenter_seconds:.1f} s)"
        )

    def followed_by(self, other: "Usage") -> "Usage":
        """Two runs of one question: counts add up, while `other` knows the total of the rest."""
        counts = ("turns", "tool_calls", "tool_errors")
        times = ("planner_seconds", "checks_seconds", "segmenter_seconds")
        added = {name: getattr(self, name) + getattr(other, name) for name in (*counts, *times)}
        return replace(other, **added)

    def to_dict(self) -> dict[str, Any]:
        """The usage as JSON values; seconds to the millisecond, cost in dollars."""
        own = {k: v for k, v in vars(self).items() if k not in ("spent", "parts")}
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in own.items()}
        parts = {name: spent.to_dict() for name, spent in self.parts.items()}
        return {**rounded, **self.spent.to_dict(), "parts": parts}


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

    def exhausted(self, spent: TokenUsage, seconds: float) -> str | None:
        """Why nothing more may be sent, or None."""
        if self.seconds is not None and seconds >= self.seconds:
            return f"its {self.seconds:g} seconds"
        tokens = spent.input_tokens + spent.output_tokens
        if self.tokens is not None and tokens >= self.tokens:
            return f"its {self.tokens} tokens"
        if self.usd is not None and spent.cost is None:
            return f"its {self.usd:g} US dollars, since the cost of a reply is not known"
        if self.usd is not None and spent.cost is not None and spent.cost >= self.usd:
            return f"its {self.usd:g} US dollars"
        return None


class UsageTracker:
    """What one question has spent so far, kept by all that ask a model for it, from any thread.

    Times are of `time.monotonic()`.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.began = time.monotonic()
        self.parts: dict[str, TokenUsage] = {}
        self._lock = threading.Lock()

    @property
    def total(self) -> TokenUsage:
        """What all parts spent together."""
        with self._lock:
            return sum(self.parts.values(), TokenUsage())

    @property
    def seconds(self) -> float:
        """Wall time since the question was asked."""
        return time.monotonic() - self.began

    @property
    def deadline(self) -> float | None:
        """When the budget's seconds are over."""
        return None if self.budget.seconds is None else self.began + self.budget.seconds

    def add(self, part: str, spent: TokenUsage) -> None:
        """Note that a part has spent something."""
        with self._lock:
            self.parts[part] = self.parts.get(part, TokenUsage()) + spent

    def exhausted(self) -> str | None:
        """Why nothing more may be sent, or None."""
        return self.budget.exhausted(self.total, self.seconds)


current_tracker: ContextVar[UsageTracker | None] = ContextVar("current_tracker", default=None)
"""The ledger of the question that is being answered, set while its tools run."""

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""`time.monotonic()` after which a planner must not send anything, set around `Planner.reply`."""

sampling_seed: ContextVar[int | None] = ContextVar("sampling_seed", default=None)
"""The seed that planners pass on to a server that takes one, so that repeated asks differ."""
