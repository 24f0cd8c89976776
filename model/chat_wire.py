"""The wire format of chat.completions: messages out, tool calls in."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sam3_agent.images import Pixels
from sam3_agent.messages import Message, ToolCall
from sam3_agent.tool import Tool

Wire: TypeAlias = dict[str, Any]


def chat_messages(messages: Sequence[Message], picture_url: Callable[[Pixels], str]) -> list[Wire]:
    """A conversation as chat messages; `picture_url` gives the data URL of a picture.

    A tool message holds only text: its pictures follow in the user's turn, after the last result.
    """
    wire: list[Wire] = []
    pictures: list[Wire] = []
    for message in messages:
        if message.role != "tool" and pictures:
            _append_user(wire, pictures)
            pictures = []
        parts = [
            {"type": "image_url", "image_url": {"url": picture_url(picture)}}
            for picture in message.pictures
        ]
        if message.role == "tool":
            wire.append(
                {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
            )
            if parts:
                pictures += [_text_part(f"Picture for {message.tool_call_id}:"), *parts]
        elif message.role == "user":
            _append_user(wire, [_text_part(message.text), *parts])
        else:
            wire.append(_plain(message))
    if pictures:
        _append_user(wire, pictures)
    return wire


def chat_tool(tool: Tool) -> Wire:
    """A tool as chat.completions declares it."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }


def native_calls(message: Any) -> list[ToolCall]:
    """The native calls of a reply, whatever types its fields have."""
    calls = []
    found = getattr(message, "tool_calls", None)
    for number, call in enumerate(found if isinstance(found, list) else [], 1):
        function = getattr(call, "function", None) or getattr(call, "custom", None)
        name = getattr(function, "name", None)
        arguments = getattr(function, "arguments", None)
        if not isinstance(arguments, str):
            arguments = "{}" if arguments is None else json.dumps(arguments, default=str)
        given = getattr(call, "id", None)
        calls.append(ToolCall(given or f"call_{number}", str(name or ""), arguments))
    return calls


def _plain(message: Message) -> Wire:
    """A system or assistant message."""
    out: Wire = {"role": message.role, "content": message.text}
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return out


def _append_user(wire: list[Wire], parts: list[Wire]) -> None:
    """Add to the user's turn: two user messages in a row are one, and only text is a string."""
    if wire and wire[-1]["role"] == "user":
        before = wire.pop()["content"]
        parts = [*([_text_part(before)] if isinstance(before, str) else before), *parts]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    only_text = len(texts) == len(parts)
    wire.append({"role": "user", "content": "\n\n".join(texts) if only_text else parts})


def _text_part(text: str) -> Wire:
    return {"type": "text", "text": text}
