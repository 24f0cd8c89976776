"""The wire format of chat.completions: messages out, tool calls in."""

import json
import re
from collections.abc import Callable, Sequence

from sam3_agent.images import Pixels
from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.providers.wire import (
    BYTE_ORDER_MARK,
    UnreadableError,
    Wire,
    native_call,
    used_ids,
)
from sam3_agent.sanitize import one_line
from sam3_agent.tool import Tool

CUT_REASONS = ("length", "max_tokens", "MAX_TOKENS")
"""Reasons to finish, OpenAI's and those that gateways pass on, of a reply that was cut off."""


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


def read_answer(body: str) -> Wire:
    """The JSON of a response; its first choice is sure to have a message, else UnreadableError."""
    beginning = one_line(body[:400], 200)
    try:
        answer = json.loads(body.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{error}; it begins with {beginning!r}") from error
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        raise UnreadableError(f"it holds no message: {beginning!r}")
    return dict(answer)


def reply_text(message: Wire) -> str:
    """The words of a reply: a string, or the texts of a list of parts."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))


def native_calls(message: Wire, messages: Sequence[Message] = ()) -> list[ToolCall]:
    """The native calls of a reply to a conversation, whatever types its fields have."""
    found = message.get("tool_calls")
    used = used_ids(messages)
    calls = []
    for call in found if isinstance(found, list) else [found] if found else []:
        call = call if isinstance(call, dict) else {"function": call}
        function = call.get("function") or call.get("custom") or call
        function = function if isinstance(function, dict) else {"name": function}
        arguments = function.get("arguments", function.get("input"))
        calls.append(native_call(call.get("id"), function.get("name"), arguments, used))
    return calls


def _plain(message: Message) -> Wire:
    """A system or assistant message; servers refuse one that says nothing at all."""
    nothing = message.role == "assistant" and not message.text and not message.tool_calls
    out: Wire = {"role": message.role, "content": "(no words)" if nothing else message.text}
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": re.sub(r"[^a-zA-Z0-9_-]", "_", call.name)[:64] or "unknown",
                    "arguments": _sendable_arguments(call.arguments),
                },
            }
            for call in message.tool_calls
        ]
    return out


def _sendable_arguments(arguments: str) -> str:
    """The arguments if they are a JSON object; servers that read them again refuse all else."""
    try:
        if isinstance(json.loads(arguments or "{}", parse_constant=_refuse), dict):
            return arguments or "{}"
    except (ValueError, RecursionError):
        pass
    return json.dumps({"malformed": arguments[:200]})


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


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
