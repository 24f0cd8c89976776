"""What model calls and questions cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


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


@dataclass(frozen=True)
class Usage:
    """What one question cost.

    effort: which checks were to be made. turns: replies of the planner. tool_calls: calls that it
    asked for. tool_errors: those among them that could not be run as written. spent: what all model
    calls cost; parts: which part spent it (`planner`, `verify`, `check_complete`, `compare`). The
    rest are seconds of wall time; those of checks that run in parallel count once.
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
        """One line: the effort, calls of each part, tokens, dollars and seconds."""
        models = "; ".join(f"{name} {spent}" for name, spent in self.parts.items() if spent.asked)
        effort = f"effort {self.effort}: " if self.effort else ""
        return (
            f"{effort}{models or 'no model calls'}; {self.seconds:.1f} s "
            f"(segmenter {self.segmenter_seconds:.1f} s)"
        )

    def to_dict(self) -> dict[str, Any]:
        """The usage as JSON values; seconds to the millisecond, cost in dollars."""
        own = {k: v for k, v in vars(self).items() if k not in ("spent", "parts")}
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in own.items()}
        parts = {name: spent.to_dict() for name, spent in self.parts.items()}
        return {**rounded, **self.spent.to_dict(), "parts": parts}
