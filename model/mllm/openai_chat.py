"""Planners behind an OpenAI-compatible chat API: OpenAI, vLLM, Ollama, llama.cpp, OpenRouter."""

import base64
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from sam3_agent.errors import PlannerError
from sam3_agent.images import Pixels
from sam3_agent.messages import Message
from sam3_agent.model.mllm import text_protocol
from sam3_agent.model.mllm.chat_wire import (
    UnreadableError,
    Wire,
    chat_messages,
    chat_tool,
    native_calls,
    read_answer,
    said_in,
)
from sam3_agent.model.mllm.context import KEPT_PICTURES, economical, rebuilt
from sam3_agent.model.mllm.faults import RETRIED, Fault, Line, retry_after, root_cause, unknown_host
from sam3_agent.model.mllm.pictures import PictureEncoder
from sam3_agent.model.mllm.prices import Price, known_price
from sam3_agent.tool import Tool
from sam3_agent.usage import Spent, deadline, sampling_seed

logger = logging.getLogger(__name__)


LimitName: TypeAlias = Literal["max_completion_tokens", "max_tokens"]


@dataclass(frozen=True)
class Profile:
    """How a server wants to be spoken to; each refusal that names a point changes it, once.

    tool_calls: `native`, or `text` for models that have none.
    layout: `turns` keeps the conversation as it was; `rebuilt` sends the system prompt and one user
        message with everything so far, for servers that refuse a user message after a tool message.
    limit_name: the parameter that limits the reply.
    """

    tool_calls: Literal["native", "text"] = "native"
    layout: Literal["turns", "rebuilt"] = "turns"
    limit_name: LimitName = "max_completion_tokens"
    refused: frozenset[str] = field(default_factory=frozenset)


class OpenAIPlanner:
    """A model behind chat.completions as a Planner.

    model: the model's name. base_url, api_key: by default $OPENAI_BASE_URL and $OPENAI_API_KEY; a
        local server needs no key.
    tool_calls, profile: how the server wants to be spoken to; what it refuses is learned from its
        answers.
    max_output_tokens, temperature, reasoning_effort: sent only when given.
    price: dollars for a million tokens, when the model is not in `prices.PRICES`.
    timeout: seconds for one request. line, http_client: for tests.

    Raises PlannerError when no key is there or the openai package is missing.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        tool_calls: Literal["native", "text"] = "native",
        profile: Profile | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        reasoning_effort: str | None = None,
        price: Price | tuple[float, float, float] | None = None,
        max_side: int | None = None,
        timeout: float = 300.0,
        line: Line | None = None,
        http_client: Any = None,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise PlannerError(
                "the planner openai: needs the openai package: pip install 'sam3-agent[openai]'"
            ) from error
        self.model = model
        self.name = f"openai:{model}"
        self.profile = profile or Profile(tool_calls)
        self._learning = threading.Lock()
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = api_key or os.environ.get("OPENAI_API_KEY")
        if not key and base_url is None:
            raise PlannerError(
                "the planner openai: has no key: set OPENAI_API_KEY, or OPENAI_BASE_URL for a "
                "local server that needs none"
            )
        self.price = Price(*price) if isinstance(price, tuple) else price or known_price(model)
        self._options = {
            "limit": max_output_tokens,
            "temperature": temperature,
            "reasoning_effort": reasoning_effort,
        }
        self._timeout = timeout
        self._pictures = PictureEncoder(max_side) if max_side else PictureEncoder()
        self._line = replace(line or Line("openai", model), secret=key or "")
        self._openai = openai
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=0,
            http_client=http_client,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its replies; see `planner.settings_of`."""
        return {
            "temperature": self._options["temperature"],
            "reasoning_effort": self._options["reasoning_effort"],
            "max_output_tokens": self._options["limit"],
            "tool_calls": self.profile.tool_calls,
            "picture_side": self._pictures.max_side,
        }

    def __repr__(self) -> str:
        return f"OpenAIPlanner({self.model!r})"

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The model's next message; see `Planner.reply`."""
        kept, spent = KEPT_PICTURES, Spent()
        while True:
            shown = economical(messages, kept)
            profile = self.profile
            payload = self._payload(shown, tools)
            sent = Spent(
                images=sum(len(message.pictures) for message in shown), bytes=_size(payload)
            )
            try:
                response, retries = self._line.send(self._request(payload), self._diagnose)
            except PlannerError as error:
                spent += sent.in_vain(error.tries)
                error.spent = spent
                refusal = _refusal(error.__cause__)
                if refusal == "context" and kept:
                    logger.warning("%s: context too long, older pictures dropped", self.name)
                    kept = 0
                elif not self._learned(refusal, payload) and self.profile is profile:
                    raise  # with a profile that another thread has changed, it may go well
                continue
            spent += sent.in_vain(retries) + replace(sent, calls=1)
            taken = {call.id for message in messages for call in message.tool_calls}
            return self._message(response, taken, tools, spent)

    def _request(self, payload: Wire) -> Callable[[], Wire]:
        """Send a payload; the JSON of the answer, or an exception.

        The raw JSON and not the SDK's objects: those have whatever types a server sent.
        """

        def request() -> Wire:
            end = deadline.get()
            left = self._timeout if end is None else min(self._timeout, end - time.monotonic())
            raw = self._client.chat.completions.with_raw_response
            return read_answer(raw.create(**payload, timeout=max(left, 0.001)).text)

        return request

    def _payload(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Wire:
        """The arguments of chat.completions.create."""
        payload: Wire = {"model": self.model, "messages": self._wire(messages, tools)}
        if tools and self.profile.tool_calls == "native":
            payload["tools"] = [chat_tool(tool) for tool in tools]
        for name, value in self._options.items():
            wire_name = self.profile.limit_name if name == "limit" else name
            if value is not None and wire_name not in self.profile.refused:
                payload[wire_name] = value
        seed = sampling_seed.get()
        if seed is not None and "seed" not in self.profile.refused:
            payload["seed"] = seed
        return payload

    def _wire(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Wire]:
        if self.profile.layout == "rebuilt":
            messages = rebuilt(messages)
        if self.profile.tool_calls == "text":
            messages = text_protocol.as_text(messages, tools)
        return chat_messages(messages, self._picture_url)

    def _picture_url(self, picture: Pixels) -> str:
        encoded = self._pictures.encode(picture)
        data = base64.b64encode(encoded.data).decode("ascii")
        return f"data:{encoded.media_type};base64,{data}"

    def _message(
        self, response: Wire, taken: Collection[str], tools: Sequence[Tool], spent: Spent
    ) -> Message:
        """The reply as a Message; PlannerError when the model refused to answer."""
        spent = self._with_tokens(spent, response.get("usage"))
        choice = response["choices"][0]
        text = said_in(choice["message"])
        calls = native_calls(choice["message"], taken)
        refused = choice["message"].get("refusal")
        if not calls and (refused or choice.get("finish_reason") == "content_filter"):
            said = str(refused or "its content filter stopped the answer")
            advice = "Ask in other words, show another picture, or use another model"
            error = self._line.error(Fault(f"it refused to answer: {said}", advice))
            error.spent = spent
            raise error
        if not calls:
            calls = text_protocol.read_calls(text, tools)
        return Message(
            "assistant",
            text,
            tool_calls=tuple(calls),
            spent=spent,
        )

    def _with_tokens(self, spent: Spent, usage: Any) -> Spent:
        """What the server says of tokens, and their cost where the price is known."""
        inputs = _count(usage, "prompt_tokens")
        cached = _count(usage, "prompt_tokens_details", "cached_tokens")
        outputs = _count(usage, "completion_tokens")
        return replace(
            spent,
            input_tokens=inputs,
            cached_tokens=cached,
            output_tokens=outputs,
            reasoning_tokens=_count(usage, "completion_tokens_details", "reasoning_tokens"),
            cost=self.price.cost(inputs, cached, outputs) if self.price and inputs else None,
        )

    def _learned(self, refusal: str | None, payload: Wire) -> bool:
        """Change the profile by what a server refused; False when that changes nothing."""
        with self._learning:
            changed = self._changed(refusal, payload)
            before, self.profile = self.profile, changed
            return changed != before

    def _changed(self, refusal: str | None, payload: Wire) -> Profile:
        """The profile that heeds a refusal; the same one when there is nothing to change."""
        profile = self.profile
        if refusal == "tools" and profile.tool_calls == "native":
            profile = replace(profile, tool_calls="text")
            logger.warning("%s has no native tool calls: they are now asked for as text", self.name)
        elif refusal == "roles" and profile.layout == "turns":
            profile = replace(profile, layout="rebuilt")
            logger.warning("%s refuses the order of roles: sent as one message now", self.name)
        elif refusal in ("max_tokens", "max_completion_tokens") and refusal in payload:
            other: LimitName = (
                "max_tokens" if refusal == "max_completion_tokens" else "max_completion_tokens"
            )
            if other not in profile.refused:
                profile = replace(profile, limit_name=other, refused=profile.refused | {refusal})
        elif refusal in payload and refusal in ("temperature", "reasoning_effort", "seed"):
            profile = replace(profile, refused=profile.refused | {refusal})
            logger.warning("%s refuses %s: no longer sent", self.name, refusal)
        return profile

    def _diagnose(self, error: Exception) -> Fault | None:
        """What an exception of the SDK means; None for what is no fault of the line."""
        openai = self._openai
        if isinstance(error, openai.APITimeoutError):
            return Fault("no answer in time", "Try again later or allow more time", retry=True)
        if isinstance(error, openai.APIConnectionError):
            where = f"cannot reach {self._client.base_url}: {root_cause(error)}"
            lost = unknown_host(error)
            return Fault(where, "Check the network and OPENAI_BASE_URL", retry=not lost)
        if isinstance(error, openai.APIStatusError):
            return _status_fault(error)
        if isinstance(error, (UnreadableError, ValueError, openai.APIError)):
            advice = "Check that OPENAI_BASE_URL points at a chat API, or try again later"
            return Fault(f"its answer cannot be read: {error}", advice, retry=True)
        return None


_REFUSALS = {
    "context": r"context.?length|maximum context|context window|context size|too many tokens"
    r"|(prompt|input) is too long|reduce the length|exceeds the available context",
    "tools": r"not support (tool|function)|support tool use|enable-auto-tool-choice"
    r"|tools? param requires"
    r"|(tool|function)s?( call\w*| use| choice)? (is|are) not (supported|enabled|available)",
    "roles": r"role 'user' after role 'tool'|after role .?tool|roles must alternate"
    r"|unexpected role",
    "max_tokens": r"max_tokens.{0,30}(not supported|unsupported)"
    r"|(unsupported|unknown|unrecognized|extra)[^.]{0,40}\bmax_tokens",
    "max_completion_tokens": r"(unsupported|unknown|unrecognized|unexpected|extra|permitted)"
    r".{0,80}max_completion_tokens|max_completion_tokens.{0,80}(unsupported|unknown|not|extra)",
    "temperature": r"temperature.{0,120}(support|permitted|unknown|allowed|default)"
    r"|(unsupported|unknown|unrecognized|extra).{0,80}temperature",
    "reasoning_effort": r"reasoning_effort.{0,80}(support|permitted|unknown|allowed)"
    r"|(unsupported|unknown|unrecognized|extra).{0,80}reasoning_effort",
    "seed": r"\bseed\b.{0,80}(support|permitted|unknown|allowed)"
    r"|(unsupported|unknown|unrecognized|extra).{0,80}\bseed\b",
}
"""What a server's refusal is about, by the words of known servers."""


def _refusal(error: BaseException | None) -> str | None:
    """The point of _REFUSALS that an HTTP error is about, if any."""
    status = getattr(error, "status_code", None)
    if status is None or status in (401, 403, 429):
        return None
    words = f"{error} {getattr(error, 'body', '')}"
    for point, pattern in _REFUSALS.items():
        if re.search(pattern, words, re.IGNORECASE | re.DOTALL):
            return point
    return "context" if status == 413 else None


def _status_fault(error: Any) -> Fault:
    """The fault of an HTTP status, with what a person can do about it."""
    status = int(error.status_code)
    body = error.body if isinstance(error.body, dict) else {}
    words = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", error.response.text[:4000])
    what = str(body.get("message") or words.strip() or error.message)
    if status == 429 and "insufficient_quota" in f"{body.get('code')} {body.get('type')}":
        return Fault(what, "The account has no credit left: add some or use another key", status)
    advice = {
        400: "The server refuses the request as it is; see its words, or use another model",
        401: "Check OPENAI_API_KEY",
        402: "Check the account's credit",
        403: "This key may not use the model: check its rights, or the region",
        404: "Check the model's name and OPENAI_BASE_URL",
        413: "Make the picture smaller",
        429: "Wait, or ask for a higher rate limit",
    }.get(status, "Try again later")
    retry = status in RETRIED and _refusal(error) is None
    return Fault(what, advice, status, retry, retry_after(error.response.headers))


def _count(usage: Any, *path: str) -> int:
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if type(usage) is int and 0 < usage < 2**53 else 0


def _size(payload: Wire) -> int:
    """Bytes of the request body."""
    return len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())
