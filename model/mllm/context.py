"""What of a conversation a planner is shown: fewer pictures, or all of it in one message."""

from collections.abc import Sequence
from dataclasses import replace

from sam3_agent.images import Pixels
from sam3_agent.messages import Message

KEPT_PICTURES = 2
"""How many pictures besides the original image are shown, the latest ones."""


def economical(messages: Sequence[Message], kept: int = KEPT_PICTURES) -> list[Message]:
    """The conversation with the original image and the `kept` latest pictures.

    A picture that is left out becomes a line of words.
    """
    out: list[Message] = []
    left = kept
    for message in reversed(messages):
        shown = message.pictures
        if message.role != "user" and shown:
            first = max(0, len(shown) - left)
            left -= len(shown) - first
            if first:
                note = f"({first} picture{'s' if first > 1 else ''} of this step no longer shown)"
                message = replace(
                    message, text=f"{message.text}\n{note}".strip(), pictures=shown[first:]
                )
        out.append(message)
    return out[::-1]


def rebuilt(messages: Sequence[Message]) -> list[Message]:
    """The system prompt and one user message: the question, what was done so far, the pictures."""
    first = [message for message in messages if message.role == "system"]
    lines: list[str] = []
    pictures: list[Pixels] = []
    for message in messages[len(first) :]:
        pictures += message.pictures
        if message.role == "assistant":
            lines += [f"You called {call.name}({call.arguments})" for call in message.tool_calls]
            lines += [] if message.tool_calls else [f"You said: {message.text}"]
        elif message.role == "tool":
            lines.append(f"Result: {message.text}")
        else:
            lines.append(message.text)
    return [*first, Message("user", "\n".join(lines), tuple(pictures))]
