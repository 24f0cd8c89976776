"""Rearranges a conversation for a server: fewer pictures, one message, tool calls as text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sam3_agent.images import Pixels
from sam3_agent.messages import Message
from sam3_agent.model.providers.profile import Profile
from sam3_agent.model.providers.text_tool_calls import as_text
from sam3_agent.tool import Tool

KEPT_PICTURES = 2
"""How many pictures besides the original image are shown, the latest ones."""

GAP, GROUND = 12, 32
"""Pixels between pictures that are joined into one, and the grey around them."""

NO_PICTURES = (
    "(You cannot be shown the image or any other picture: go by what the tools tell in words and "
    "numbers, such as scores, boxes and what `measure` says.)"
)


def arrange(messages: Sequence[Message], tools: Sequence[Tool], profile: Profile) -> list[Message]:
    """The conversation in the form that a server takes: see `Profile`."""
    out = in_one_message(messages) if profile.layout == "rebuilt" else [*messages]
    if profile.tool_calls == "text":
        out = as_text(out, tools)
    return out if profile.system else _without_system(out)


def count_pictures(messages: Sequence[Message]) -> int:
    """How many pictures the messages hold."""
    return sum(len(message.pictures) for message in messages)


def with_latest_pictures(
    messages: Sequence[Message], kept: int = KEPT_PICTURES, limit: int | None = None
) -> list[Message]:
    """The conversation with the original image and the `kept` latest pictures.

    A picture that is left out becomes a line of words. limit: pictures that the server takes in one
    request; None for any number.
    """
    out: list[Message] = []
    left = kept
    for message in reversed(messages):
        if message.role != "user" and message.pictures:
            shown = message.pictures[max(0, len(message.pictures) - left) :]
            left -= len(shown)
            message = _keep_pictures(message, shown, "of this step no longer shown")
        out.append(message)
    return out[::-1] if limit is None else _limit_pictures(out[::-1], limit)


def _limit_pictures(messages: Sequence[Message], limit: int) -> list[Message]:
    """The conversation with at most `limit` pictures.

    Those of the latest message that has any are shown, side by side in one where they are too many;
    then the image itself and what else the user's messages show; then the latest others.
    """
    out = list(messages)
    having = [i for i, message in enumerate(messages) if message.pictures]
    if limit == 0:
        for i in having:
            note = NO_PICTURES if i == having[0] else ""
            out[i] = replace(out[i], text=f"{out[i].text}\n{note}".strip(), pictures=())
        return out
    latest = having[-1:]
    left = limit
    for i in sorted(having, key=lambda i: (i not in latest, out[i].role != "user", -i)):
        # the image itself keeps its place beside the latest pictures, if there is more than one
        place_for_image = i in latest and left > 1 and len(having) > 1
        free = left - place_for_image
        pictures = out[i].pictures
        if len(pictures) > free and i in latest:
            note = f"({len(pictures)} pictures, here in one, in their order)"
            out[i] = replace(out[i], text=f"{out[i].text}\n{note}", pictures=(_join(pictures),))
        elif len(pictures) > free:
            what = "not shown: the server takes too few in one request; see the latest"
            out[i] = _keep_pictures(out[i], pictures[len(pictures) - free :], what)
        left -= len(out[i].pictures)
    return out


def _keep_pictures(message: Message, pictures: tuple[Pixels, ...], what: str) -> Message:
    """The message with only these of its pictures, and a line about the others."""
    out = len(message.pictures) - len(pictures)
    if not out:
        return message
    note = f"({out} picture{'s' if out > 1 else ''} {what})"
    return replace(message, text=f"{message.text}\n{note}".strip(), pictures=pictures)


def _join(pictures: Sequence[Pixels]) -> Pixels:
    """Several (H, W, 3) pictures as one, in order: side by side, or below each other if they are
    wide; each keeps its pixels.
    """
    width = sum(picture.shape[1] for picture in pictures)
    height = sum(picture.shape[0] for picture in pictures)
    axis = 0 if width > height else 1
    other = max(picture.shape[1 - axis] for picture in pictures)
    parts: list[Pixels] = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[axis] = (0, GAP if picture is not pictures[-1] else 0)
        padding[1 - axis] = (0, other - picture.shape[1 - axis])
        parts.append(np.pad(picture, padding, constant_values=GROUND))
    return np.concatenate(parts, axis)


def in_one_message(messages: Sequence[Message]) -> list[Message]:
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


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The conversation with the system prompt at the beginning of the user's first message."""
    prompts = [message.text for message in messages if message.role == "system"]
    out = [message for message in messages if message.role != "system"]
    first = next((i for i, message in enumerate(out) if message.role == "user"), None)
    if prompts and first is not None:
        out[first] = replace(out[first], text="\n\n".join([*prompts, out[first].text]))
    return out
