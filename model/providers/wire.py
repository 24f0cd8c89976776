"""What the wire formats of all providers share: JSON, encoded pictures, calls with unique ids."""

import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeAlias

from sam3_agent.image_encoding import EncodedImage
from sam3_agent.images import Pixels
from sam3_agent.messages import Message, ToolCall

Wire: TypeAlias = dict[str, Any]
"""JSON as it goes over the network."""

Encode: TypeAlias = Callable[[Pixels], EncodedImage]

BYTE_ORDER_MARK = "\ufeff"
"""What some servers write before their JSON, and Python's parser refuses."""

MAX_ID = 100
"""Characters of a call's id; a longer one is replaced."""


class UnreadableError(Exception):
    """A response that holds no message of a model."""


class ReplyTooLargeError(Exception):
    """A response larger than any that a model gives."""


def used_ids(messages: Sequence[Message]) -> set[str]:
    """The ids of all calls of a conversation."""
    return {call.id for message in messages for call in message.tool_calls}


def whole_calls(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """The calls of a reply that was cut off: without the last one if its arguments have no end."""
    try:
        whole = bool(calls) and isinstance(json.loads(calls[-1].arguments or "{}"), dict)
    except (ValueError, RecursionError):
        whole = False
    return [*calls] if whole else [*calls[:-1]]


def native_call(call_id: Any, name: Any, arguments: Any, used: set[str]) -> ToolCall:
    """A call whose fields may have any type.

    used: the ids of earlier calls, to which its own is added. It gets a new id when it has none, or
    a used one.
    """
    if not isinstance(call_id, str) or not 0 < len(call_id) <= MAX_ID or call_id in used:
        call_id = next(new for n in count(len(used) + 1) if (new := f"call_{n}") not in used)
    used.add(call_id)
    if not isinstance(arguments, str):
        arguments = json.dumps({} if arguments is None else arguments)
    return ToolCall(call_id, name if isinstance(name, str) else "", arguments)
