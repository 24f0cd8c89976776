"""A fake planner that returns prepared replies, for tests and demonstrations."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sam3_agent.errors import PlannerError
from sam3_agent.messages import Message, ToolCall
from sam3_agent.tool import Tool


class ScriptedPlanner:
    """Returns its replies one after the other; PlannerError when they are used up.

    seen: the conversations that it was given, one per reply.
    """

    name = "scripted"
    sees = False

    def __init__(self, replies: Iterable[Message]) -> None:
        self._replies = iter(replies)
        self.seen: list[tuple[Message, ...]] = []

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The next prepared reply."""
        self.seen.append(tuple(messages))
        try:
            return next(self._replies)
        except StopIteration:
            raise PlannerError("the script has no further reply") from None


def calling(*calls: tuple[str, dict[str, Any] | str], text: str = "") -> Message:
    """An assistant message with tool calls, each (name, arguments) with a dict or raw JSON text."""
    return Message(
        "assistant",
        text,
        tool_calls=tuple(
            ToolCall(f"call_{i}", name, args if isinstance(args, str) else json.dumps(args))
            for i, (name, args) in enumerate(calls, 1)
        ),
    )
