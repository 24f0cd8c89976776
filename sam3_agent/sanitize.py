"""A model's reply as it goes into a conversation: text that can be sent on, and not endless."""

from dataclasses import replace

from sam3_agent.messages import Message
from sam3_agent.tool import MAX_ARGUMENTS

MAX_SAID = 20_000
"""Characters of a reply's words that are kept; of a longer one the middle is left out."""


def kept(reply: Message) -> Message:
    """The reply with sendable, bounded texts."""
    calls = tuple(
        replace(
            call,
            id=sendable(call.id),
            name=cut(sendable(call.name), 100),
            arguments=sendable(call.arguments)[: MAX_ARGUMENTS + 1],
        )
        for call in reply.tool_calls
    )
    return replace(reply, text=cut(sendable(reply.text), MAX_SAID), tool_calls=calls)


def sendable(text: str) -> str:
    """Text without halves of surrogate pairs, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


def cut(text: str, limit: int) -> str:
    """Text of about `limit` characters at most; the middle gives way."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"
