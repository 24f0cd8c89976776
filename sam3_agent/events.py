"""The events of `Agent.stream`, in the order in which they happen."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from sam3_agent.answer import Answer
from sam3_agent.messages import Message, ToolCall


@dataclass(frozen=True)
class TurnStarted:
    """A call of the planner begins; `turn` counts from 1 to `max_turns`."""

    turn: int
    max_turns: int


@dataclass(frozen=True)
class PlannerReplied:
    """The planner's message of this turn."""

    message: Message


@dataclass(frozen=True)
class ToolStarted:
    """A tool call is about to run."""

    call: ToolCall


@dataclass(frozen=True)
class ToolFinished:
    """The result of a call; `failed` when it could not be run as written."""

    call: ToolCall
    message: Message
    failed: bool


@dataclass(frozen=True)
class ChecksFinished:
    """The result, in words, of a check outside the conversation, such as by the verifier."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The question is answered; always the last event."""

    answer: Answer


Event: TypeAlias = (
    TurnStarted | PlannerReplied | ToolStarted | ToolFinished | ChecksFinished | Finished
)


def final_answer(events: Iterable[Event]) -> Answer:
    """The answer with which the events of a question end."""
    for event in events:
        if isinstance(event, Finished):
            return event.answer
    raise AssertionError("the events of a question end with Finished")
