"""A planner that searches for the last words of a question."""

import json
from collections.abc import Sequence

from sam3_agent import Message, PlannerError, Tool, ToolCall


class KeywordPlanner:
    """Searches for the last words of the question and answers with all that is found.

    words: how many; `--planner keyword:2` gives two.
    """

    sees = False

    def __init__(self, words: str = "1") -> None:
        self.name = f"keyword:{words}"
        self._words = int(words)

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """A call of `segment`, then of `count_pixels` if it is offered, then of `answer`."""
        last = messages[-1]
        if last.role == "user":
            phrase = " ".join(last.text.strip(" ?.").split()[-self._words :])
            return calling("segment", phrases=[phrase])
        called = [call.name for message in messages for call in message.tool_calls]
        found = [message.findings.numbers for message in messages if message.findings]
        if not found:
            raise PlannerError(f"the tool gave no masks: {last.text}")
        offered = {tool.name for tool in tools}
        if called[-1] == "segment" and found[0] and "count_pixels" in offered:
            return calling("count_pixels", numbers=list(found[0]))
        return calling("answer", text=f"{last.text} ({len(found[0])})", numbers=list(found[0]))


def calling(name: str, **arguments: object) -> Message:
    """A reply that calls one tool."""
    return Message("assistant", tool_calls=(ToolCall(f"call_{name}", name, json.dumps(arguments)),))
