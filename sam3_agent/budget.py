"""What a question may cost, and a tracker of what it has cost so far."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from sam3_agent.abilities import refuse_unless_above, refuse_unless_whole
from sam3_agent.errors import StoppedError
from sam3_agent.usage import TokenUsage, Usage


@dataclass(frozen=True)
class Budget:
    """What one question may cost; checked before every planner call.

    turns: replies of the planner. mistakes: wrong calls in a row. The others have no limit when
    they are None: seconds of wall time; input and output tokens together; US dollars, for which the
    planner's prices must be known. Raises InputError for anything but numbers above 0.
    """

    turns: int = 12
    seconds: float | None = None
    tokens: int | None = None
    usd: float | None = None
    mistakes: int = 4

    def __post_init__(self) -> None:
        for name in ("turns", "mistakes", "tokens"):
            value = getattr(self, name)
            if value is not None or name != "tokens":
                refuse_unless_whole(value, f"budget of {name}", 1)
        for name in ("seconds", "usd"):
            value = getattr(self, name)
            if value is not None:
                refuse_unless_above(value, f"budget of {name}", 0)

    def exhausted(self, spent: TokenUsage, seconds: float) -> str | None:
        """Why nothing more may be sent, or None."""
        if self.seconds is not None and seconds >= self.seconds:
            return f"its {self.seconds:g} seconds"
        tokens = spent.input_tokens + spent.output_tokens
        if self.tokens is not None and spent.calls and not tokens:
            return f"its {self.tokens} tokens, since the model's server does not count them"
        if self.tokens is not None and tokens >= self.tokens:
            return f"its {self.tokens} tokens"
        if self.usd is not None and spent.cost is None:
            return f"its {self.usd:g} US dollars, since the cost of a reply is not known"
        if self.usd is not None and spent.cost is not None and spent.cost >= self.usd:
            return f"its {self.usd:g} US dollars"
        return None


class UsageTracker:
    """What one question has cost so far, shared by all that ask a model for it, from any thread.

    parts: what each part spent, see `Usage`. turns, tool_calls, tool_errors, planner_seconds,
    checks_seconds, segmenter_seconds: as in `Usage`, added to by the thread that runs the question.
    stopped: set when the question has ended; no model is called for it after that.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.began = time.monotonic()
        self.stopped = threading.Event()
        self._outer_deadline = deadline.get()
        self.parts: dict[str, TokenUsage] = {}
        self.turns = self.tool_calls = self.tool_errors = 0
        self.planner_seconds = self.checks_seconds = self.segmenter_seconds = 0.0
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

    def add(self, part: str, spent: TokenUsage) -> None:
        """Note that a part has spent something."""
        with self._lock:
            self.parts[part] = self.parts.get(part, TokenUsage()) + spent

    def exhausted(self) -> str | None:
        """Why nothing more may be sent, or None."""
        limit = self._outer_deadline
        if limit is not None and time.monotonic() >= limit:
            return f"its {limit - self.began:.3g} seconds"
        return self.budget.exhausted(self.total, self.seconds)

    def usage(self, effort: str = "") -> Usage:
        """All of it as a value; effort: the name of the question's effort."""
        return Usage(
            effort=effort,
            turns=self.turns,
            tool_calls=self.tool_calls,
            tool_errors=self.tool_errors,
            spent=self.total,
            parts=dict(self.parts),
            seconds=self.seconds,
            planner_seconds=self.planner_seconds,
            checks_seconds=self.checks_seconds,
            segmenter_seconds=self.segmenter_seconds,
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Set `current_tracker`, `deadline` and `stop_requested` for the model calls inside.

        Enter it around a single step, not around a whole question: the steps of one may run in
        several threads, each with context variables of its own.
        """
        budget = self.budget.seconds
        own = None if budget is None else self.began + budget
        limits = [one for one in (own, self._outer_deadline) if one is not None]
        tracker = current_tracker.set(self)
        limit = deadline.set(min(limits, default=None))
        stop = stop_requested.set(EitherEvent(self.stopped, stop_requested.get()))
        try:
            yield
        finally:
            stop_requested.reset(stop)
            deadline.reset(limit)
            current_tracker.reset(tracker)

    @contextmanager
    def timed(self, part: Literal["planner", "checks"]) -> Iterator[None]:
        """`active`, and the wall time inside is added to that part's seconds."""
        began = time.monotonic()
        try:
            with self.active():
                yield
        finally:
            seconds = time.monotonic() - began
            if part == "planner":
                self.planner_seconds += seconds
            else:
                self.checks_seconds += seconds


class EitherEvent(threading.Event):
    """Counts as set once it or one of the others is; None for no other."""

    POLL = 0.05

    def __init__(self, *others: threading.Event | None) -> None:
        super().__init__()
        self._others = [one for one in others if one is not None]

    def is_set(self) -> bool:
        """Whether any of them is set."""
        return super().is_set() or any(one.is_set() for one in self._others)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until any of them is set, at most so many seconds; whether one is."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = self.POLL if end is None else min(self.POLL, end - time.monotonic())
            if left <= 0:
                break
            # no lock wakes for several events, so it looks at all of them again and again
            super().wait(left)
        return self.is_set()


# Context variables carry these through code that knows nothing of them, such as tools and the
# planners of other packages, and into the threads that `structured_output` starts.

current_tracker: ContextVar[UsageTracker | None] = ContextVar("current_tracker", default=None)
"""The tracker of the question that is being answered; None outside one."""

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""`time.monotonic()` after which a planner must not send anything; None without a limit."""

sampling_seed: ContextVar[int | None] = ContextVar("sampling_seed", default=None)
"""The seed that planners pass on to a server that takes one, so that repeated asks differ."""

stop_requested: ContextVar[threading.Event | None] = ContextVar("stop_requested", default=None)
"""Set by a caller that no longer waits for the question; no model is called after that."""


def refuse_if_stopped() -> None:
    """Raises StoppedError when the caller has stopped the question; called before model calls."""
    event = stop_requested.get()
    if event is not None and event.is_set():
        raise StoppedError("stopped by its caller")


abandoned: ContextVar[threading.Event | None] = ContextVar("abandoned", default=None)
"""Set when replies on their way are not waited for either; None: as soon as `stop_requested` is."""


def refuse_if_abandoned() -> None:
    """Raises StoppedError when nobody waits for a reply on its way; called while it is read."""
    event = abandoned.get() or stop_requested.get()
    if event is not None and event.is_set():
        raise StoppedError("stopped by its caller")
