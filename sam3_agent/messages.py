"""Messages: the conversation with a planner as plain values, which is also the trace."""

from dataclasses import dataclass
from typing import Any, Literal

from sam3_agent.images import Pixels
from sam3_agent.observations import Findings, Question
from sam3_agent.usage import TokenUsage


@dataclass(frozen=True)
class ToolCall:
    """A planner's request to run a tool. arguments: the raw JSON text, checked where it runs."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, eq=False)
class Message:
    """One turn of the conversation.

    role: `system`, `user`, `assistant` (may carry tool calls) or `tool` (answers one call).
    pictures: (H, W, 3) uint8 arrays.
    question, findings: the content of `text` as values, for planners and servers that are programs.
    spent: what it cost to get this message, as far as the planner reports it.
    cut: whether a reply was cut off at its limit of output tokens: its text has no end, and a call
    that has none is left out.
    provider_state: opaque; passed back to the planner that put it there (thought signatures).
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    pictures: tuple[Pixels, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    question: Question | None = None
    findings: Findings | None = None
    cut: bool = False
    provider_state: Any = None
    spent: TokenUsage = TokenUsage()

    def to_dict(self) -> dict[str, Any]:
        """The message as JSON values; of a picture only its size is kept."""
        out: dict[str, Any] = {"role": self.role, "text": self.text}
        if self.pictures:
            out["pictures"] = [
                {"width": picture.shape[1], "height": picture.shape[0]} for picture in self.pictures
            ]
        if self.tool_calls:
            out["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.arguments}
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            out["tool_call_id"] = self.tool_call_id
        return out
