"""Runs the tool calls of a planner; what is wrong with a call becomes its result, as text."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sam3_agent.budget import UsageTracker
from sam3_agent.errors import PromptError, ToolError
from sam3_agent.messages import Message, ToolCall
from sam3_agent.sanitize import one_line
from sam3_agent.scene import Scene
from sam3_agent.tool import Conclusion, Observation, Tool, tool_named

MAX_CALLS = 16
"""Calls in one reply that are run; each further one is answered with an error."""

MAX_ERROR = 600
"""Characters of an error that goes to the planner."""


@dataclass(frozen=True)
class CallResult:
    """The message that answers a tool call.

    failed: whether the call could not be run as written. conclusion: the answer that it gave.
    """

    message: Message
    failed: bool = False
    conclusion: Conclusion | None = None


class ToolRunner:
    """Runs calls of tools, by their names, on one scene.

    tracker: gets what model calls of a tool cost.
    """

    def __init__(self, tools: Iterable[Tool], scene: Scene, tracker: UsageTracker) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.scene = scene
        self.tracker = tracker

    def withdraw(self, tools: Iterable[Tool]) -> None:
        """Offer these tools no longer."""
        for tool in tools:
            self.tools.pop(tool.name, None)

    def prepare(self, calls: Sequence[ToolCall]) -> None:
        """Let each tool do at once what its calls have in common.

        What is wrong with a call is left for `run`, which answers it.
        """
        by_tool: dict[str, list[dict[str, Any]]] = {}
        for call in calls[:MAX_CALLS]:
            name = tool_named(call.name, self.tools)
            if name is not None:
                with contextlib.suppress(ToolError):
                    arguments = self.tools[name].checked(call.arguments)
                    by_tool.setdefault(name, []).append(arguments)
        for name, several in by_tool.items():
            prepare = self.tools[name].prepare
            if prepare is not None and len(several) > 1:
                with contextlib.suppress(ToolError, PromptError):
                    prepare(self.scene, several)

    def run(self, call: ToolCall, number: int = 1) -> CallResult:
        """The result of a call, the `number`th of its reply."""
        try:
            result = self._result(call, number)
        except (ToolError, PromptError) as error:
            text = f"Error: {one_line(str(error), MAX_ERROR, middle=True)}"
            return CallResult(Message("tool", text, tool_call_id=call.id), failed=True)
        if isinstance(result, Conclusion):
            return CallResult(Message("tool", "Answered.", tool_call_id=call.id), False, result)
        return CallResult(
            Message(
                "tool",
                result.text,
                result.pictures,
                tool_call_id=call.id,
                findings=result.findings,
            )
        )

    def _result(self, call: ToolCall, number: int) -> Observation | Conclusion:
        name = tool_named(call.name, self.tools)
        if name is None:
            known = ", ".join(self.tools)
            raise ToolError(f"there is no tool {call.name!r}; the tools are: {known}")
        if number > MAX_CALLS:
            raise ToolError(f"not run: one reply may have at most {MAX_CALLS} calls")
        with self.tracker.active():
            result = self.tools[name].run(self.scene, call.arguments)
        if isinstance(result, Conclusion):
            for number in result.numbers:
                if not 1 <= number <= len(self.scene.masks):
                    raise ToolError(f"there is no mask {number}")
        return result
