"""What `Agent.stream` tells while it works, in the order in which it happens."""

from dataclasses import dataclass
from typing import TypeAlias

from sam3_agent.answer import Answer
from sam3_agent.messages import Message, ToolCall


@dataclass(frozen=True)
class TurnStarted:
    """The planner is about to be asked; `turn` counts from 1 to `max_turns`."""

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
    """What a tool call gave back to the planner; `failed` when it could not be run as written."""

    call: ToolCall
    message: Message
    failed: bool


@dataclass(frozen=True)
class ChecksFinished:
    """What was checked beside the conversation, in words, such as by fresh eyes."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The run is over; always the last event."""

    answer: Answer


Event: TypeAlias = (
    TurnStarted | PlannerReplied | ToolStarted | ToolFinished | ChecksFinished | Finished
)
