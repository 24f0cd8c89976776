"""The interface of solvers, which answer samples: the agent, and what it is compared with."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sam3_agent.answer import Status
from sam3_agent.budget import refuse_if_stopped
from sam3_agent.errors import PlannerError, Sam3AgentError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.messages import Message
from sam3_agent.planner import Planner
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage, Usage


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a solver for a sample; the fields are those of `benchmark.Row`."""

    pred: Masks
    found: Masks
    text: str
    status: Status
    usage: Usage
    messages: tuple[Message, ...] = ()


class Solver(Protocol):
    """Answers samples, from several threads at once."""

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """Answers `sample.query` about (H, W, 3) uint8 pixels.

        Only the oracle may use `sample.truth`. Raises UnfinishedError on failure, or any other
        error when nothing was spent.
        """
        ...


class UnfinishedError(Exception):
    """A sample that could not be answered, with its usage; its cause is the error."""

    def __init__(self, usage: Usage) -> None:
        super().__init__("a sample could not be answered")
        self.usage = usage


@contextmanager
def accounted(usage: Callable[[], Usage]) -> Iterator[None]:
    """Turns every error raised inside into UnfinishedError with the usage of that moment."""
    try:
        yield
    except Exception as error:
        # the agent attaches the usage of the whole question to its errors
        known = error.usage if isinstance(error, Sam3AgentError) else None
        raise UnfinishedError(known or usage()) from error


class CountingPlanner:
    """Wraps a planner and counts the usage of one sample."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._began = time.monotonic()
        self.spent = TokenUsage()
        self.turns = self.tool_calls = self.tool_errors = 0
        self.planner_seconds = self.segmenter_seconds = 0.0

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Message:
        """Returns the planner's reply; StoppedError once the caller has stopped the sample."""
        refuse_if_stopped()
        began = time.monotonic()
        try:
            reply = self._planner.reply(tuple(messages), tuple(tools))
        except PlannerError as error:
            # a reply that could not be used may have been billed
            self.spent += error.spent
            raise
        finally:
            self.planner_seconds += time.monotonic() - began
        self.spent += reply.spent
        self.turns += 1
        return reply

    def usage(self) -> Usage:
        """Returns the usage so far."""
        return Usage(
            turns=self.turns,
            tool_calls=self.tool_calls,
            tool_errors=self.tool_errors,
            spent=self.spent,
            seconds=time.monotonic() - self._began,
            planner_seconds=self.planner_seconds,
            segmenter_seconds=self.segmenter_seconds,
        )
