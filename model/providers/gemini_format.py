"""The wire format of Gemini's generateContent: contents out, a candidate in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sam3_agent.image_encoding import EncodedImage
from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.providers.pricing import token_count
from sam3_agent.model.providers.wire import (
    BYTE_ORDER_MARK,
    Encode,
    UnreadableError,
    Wire,
    native_call,
    used_ids,
)
from sam3_agent.sanitize import shorten
from sam3_agent.tool import Tool

STATE = "gemini"
"""Where in `Message.provider_state` the content of a reply is kept, as it came."""

MAX_STATE = 1_000_000
"""Characters of a content that is sent back as it came, with its signatures: it goes out again with
every further request. A larger one is sent as its words and calls.
"""

UNSIGNED = "skip_thought_signature_validator"
"""What Gemini 3 takes for the thought signature of a call that it did not make itself."""


BLOCKED = frozenset(
    "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY MODEL_ARMOR "
    "IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION IMAGE_OTHER ESCALATION".split()
)
"""Reasons to stop after which there will be no answer to this question."""

MALFORMED = frozenset(
    "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MALFORMED_RESPONSE "
    "MISSING_THOUGHT_SIGNATURE".split()
)
"""Reasons to stop that say that the model's call was none, whatever the content holds."""


@dataclass(frozen=True)
class Candidate:
    """What a model answered.

    content: as it came, to be sent back unchanged. reason: why it stopped, `STOP` if it does not
    say. explanation: its words on that, if any. blocked: why the question was refused, if it was.
    usage: the counts of tokens by their wire names. model: the model that answered.
    """

    content: Wire
    reason: str
    explanation: str
    blocked: str
    usage: Wire
    model: str

    @property
    def text(self) -> str:
        """The words, without the thoughts."""
        texts = [part.get("text") for part in _parts(self.content) if not part.get("thought")]
        return "".join(text for text in texts if isinstance(text, str))

    @property
    def malformed(self) -> bool:
        """Whether the model's call was none, whatever the content holds."""
        return self.reason in MALFORMED

    @property
    def declined(self) -> str:
        """Why the model would not answer the question; "" when it did."""
        stopped = self.reason in BLOCKED and not native_calls(self.content)
        if self.malformed or not (self.blocked or stopped):
            return ""
        return self.explanation or self.blocked or self.reason

    @property
    def empty(self) -> bool:
        """Whether it holds no words and no calls, without a reason for it."""
        explained = self.blocked or self.reason in {"MAX_TOKENS", *BLOCKED, *MALFORMED}
        return not (explained or self.text.strip() or native_calls(self.content))

    def tokens(self, name: str) -> int:
        """A count of the usage; 0 when it is not there."""
        return token_count(self.usage.get(name))


def gemini_contents(messages: Sequence[Message], encode: Encode, modern: bool) -> list[Wire]:
    """A conversation as contents; the system prompt is left out.

    encode: makes a picture a file. modern: as Gemini 3 and later want it:
    pictures stand inside the function response they belong to, otherwise in the user's next turn;
    and calls that were not made by Gemini say so.
    """
    wire: list[Wire] = []
    asked: dict[str, Wire] = {}
    names: dict[str, str] = {}
    waiting: list[Wire] = []
    for message in messages:
        if message.role != "tool" and waiting:
            _append_user(wire, waiting)
            waiting = []
        pictures = [_picture_part(encode(picture)) for picture in message.pictures]
        if message.role == "user":
            _append_user(wire, [*pictures, {"text": message.text}])
        elif message.role == "assistant":
            content = _replayed(message) or _rebuilt(message, modern)
            names = {call.id: call.name for call in message.tool_calls}
            # calls that were read from the text are not on the wire: they get no function response
            asked = dict(zip(names, native_calls(content), strict=False))
            if _parts(content):
                wire.append(content)
        elif message.role == "tool":
            call = message.tool_call_id or ""
            if call not in asked:
                text = f"Result of {names.get(call, 'the tool')}:\n{message.text}"
                _append_user(wire, [{"text": text}, *pictures])
                continue
            response = _response(asked[call], message.text)
            if pictures and modern:
                response["parts"] = pictures
            elif pictures:
                waiting += [{"text": f"Picture for {response['name']}:"}, *pictures]
            _append_user(wire, [{"functionResponse": response}])
    if waiting:
        _append_user(wire, waiting)
    return wire


def gemini_system(messages: Sequence[Message]) -> Wire | None:
    """The system prompt as a content, if there is one."""
    texts = [message.text for message in messages if message.role == "system"]
    return {"parts": [{"text": "\n\n".join(texts)}]} if texts else None


def gemini_tool(tool: Tool) -> Wire:
    """A tool as a function declaration."""
    return {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": dict(tool.parameters),
    }


def has_pictures_in_results(contents: Sequence[Wire]) -> bool:
    """Whether some function response holds a picture."""
    responses = [part.get("functionResponse") for one in contents for part in _parts(one)]
    return any(isinstance(one, dict) and "parts" in one for one in responses)


def read_candidate(body: str | None) -> Candidate:
    """The first candidate of a response body, whatever types its fields have.

    Raises UnreadableError for what is no JSON object, or holds neither a candidate nor a reason.
    """
    try:
        response = json.loads((body or "").removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{error}: {shorten(body or '', 200)!r}") from error
    response = _mapping(response)
    found = [one for one in _sequence(response.get("candidates")) if isinstance(one, dict)]
    blocked = _word(_mapping(response.get("promptFeedback")).get("blockReason"))
    if not found and not blocked:
        raise UnreadableError(f"an answer without a candidate: {shorten(body or '', 200)!r}")
    first = found[0] if found else {}
    return Candidate(
        content=_mapping(first.get("content")),
        reason=_word(first.get("finishReason")) or "STOP",
        explanation=_word(first.get("finishMessage")),
        blocked=blocked,
        usage=_mapping(response.get("usageMetadata")),
        model=_word(response.get("modelVersion")),
    )


def small_enough(content: Wire) -> bool:
    """Whether a content may be sent back as it came, and kept with the conversation."""
    try:
        return len(json.dumps(content)) <= MAX_STATE
    except RecursionError:
        return False


def native_calls(content: Wire) -> list[Wire]:
    """The function calls of a content, in order."""
    calls = [part.get("functionCall") for part in _parts(content)]
    return [call for call in calls if isinstance(call, dict)]


def tool_calls(calls: Sequence[Wire], messages: Sequence[Message]) -> list[ToolCall]:
    """Function calls as tool calls, under ids that are new in the conversation."""
    used = used_ids(messages)
    return [native_call(call.get("id"), call.get("name"), call.get("args"), used) for call in calls]


def _replayed(message: Message) -> Wire | None:
    """The content that a message came as, if Gemini sent it."""
    state = message.provider_state
    content = state.get(STATE) if isinstance(state, dict) else None
    if not isinstance(content, dict):
        return None
    return content if content.get("role") == "model" else {**content, "role": "model"}


def _rebuilt(message: Message, modern: bool) -> Wire:
    """The content of a message that another planner, or nobody, sent."""
    parts: list[Wire] = [{"text": message.text}] if message.text else []
    for number, call in enumerate(message.tool_calls):
        try:
            values = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            values = None
        args = values if isinstance(values, dict) else {"arguments": call.arguments}
        part: Wire = {"functionCall": {"id": call.id, "name": call.name, "args": args}}
        if modern and number == 0:
            part["thoughtSignature"] = UNSIGNED
        parts.append(part)
    return {"role": "model", "parts": parts}


def _response(call: Wire, text: str) -> Wire:
    """The function response that belongs to a function call: its name, and its id if it has one."""
    response: Wire = {"id": call["id"]} if call.get("id") else {}
    return {**response, "name": _word(call.get("name")), "response": {"output": text}}


def _picture_part(picture: EncodedImage) -> Wire:
    return {"inlineData": {"mimeType": picture.media_type, "data": picture.base64}}


def _append_user(wire: list[Wire], parts: list[Wire]) -> None:
    """Add to the user's turn; function responses stand in a content of their own."""
    last = wire[-1] if wire else None
    if (
        last is not None
        and last["role"] == "user"
        and ("functionResponse" in last["parts"][0]) == ("functionResponse" in parts[0])
    ):
        last["parts"].extend(parts)
    else:
        wire.append({"role": "user", "parts": list(parts)})


def _parts(content: Wire) -> list[Wire]:
    return [part for part in _sequence(content.get("parts")) if isinstance(part, dict)]


def _mapping(value: Any) -> Wire:
    return value if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
