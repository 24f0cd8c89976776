"""Planners behind an OpenAI-compatible chat API: OpenAI, vLLM, Ollama, llama.cpp, OpenRouter."""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

from sam3_agent.budget import deadline, sampling_seed
from sam3_agent.credentials import checked_key, checked_url
from sam3_agent.errors import PlannerError
from sam3_agent.extras import require
from sam3_agent.image_encoding import PictureEncoder
from sam3_agent.messages import Message
from sam3_agent.model.providers import text_tool_calls
from sam3_agent.model.providers.history import KEPT_PICTURES, economical, rebuilt, without_system
from sam3_agent.model.providers.openai_format import (
    UnreadableError,
    Wire,
    chat_messages,
    chat_tool,
    native_calls,
    read_answer,
    said_in,
)
from sam3_agent.model.providers.pricing import AS_OF, known_price
from sam3_agent.model.providers.profile import Learning, Profile, Sent
from sam3_agent.model.providers.refusals import numbers_in, refusals_in, refusals_of
from sam3_agent.model.providers.retries import (
    CONNECT_SECONDS,
    RETRIED,
    Failure,
    Line,
    RequestError,
    not_connected,
    retry_after,
    root_cause,
    unknown_host,
    unsendable,
)
from sam3_agent.planner import Price, Provider
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

logger = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"

__all__ = ["OpenAIPlanner", "Profile"]

_ENDPOINTS = r"(?:/chat)?/completions|/responses|/embeddings|/models"
"""What is no part of a base URL, though it is often copied with it."""


class OpenAIPlanner:
    """A model behind chat.completions as a Planner.

    model: the model's name. base_url, api_key: by default $OPENAI_BASE_URL and $OPENAI_API_KEY; a
        local server needs no key. Blanks and line breaks around them are dropped.
    tool_calls, profile: how the server wants to be spoken to; what it refuses is learned from its
        answers.
    max_output_tokens, temperature, reasoning_effort: sent only when given.
    price: dollars for a million tokens, when the model is not in `pricing.PRICES`.
    timeout: seconds for one request. line, http_client: for tests.

    Raises PlannerError when no key is there, the key or the base URL cannot be right, or the openai
    package is missing.
    """

    provider = Provider(
        name="openai",
        title="OpenAI, or a server with its API: vLLM, Ollama, llama.cpp, OpenRouter",
        package="openai",
        module="openai",
        extra="openai",
        key_variables=("OPENAI_API_KEY",),
        base_url_variable="OPENAI_BASE_URL",
        example_model="gpt-5.4-mini",
        price_source=f"OpenAI's price list of {AS_OF}",
    )

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
        require("openai", purpose="the planner openai:", error=PlannerError)
        import openai

        self.model = model
        self.name = f"openai:{model}"
        self._learning = Learning(self.name, profile or Profile(tool_calls))
        base_url = checked_url(
            base_url or os.environ.get("OPENAI_BASE_URL"),
            "OPENAI_BASE_URL",
            _ENDPOINTS,
            "http://localhost:8000/v1",
        )
        key = checked_key(api_key or os.environ.get("OPENAI_API_KEY"), "OPENAI_API_KEY")
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
        self._line = replace(line or Line("openai", model), secret=key)
        self._reached = False
        self._openai = openai
        with self._line.setting_up():
            self._client = openai.OpenAI(
                api_key=key or "none",
                base_url=base_url or OPENAI_URL,  # with None the SDK reads the variable, unchecked
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

    @property
    def profile(self) -> Profile:
        """How the server wants to be asked, as far as it is known."""
        return self._learning.profile

    @property
    def sees(self) -> bool:
        """Whether the model takes pictures, as far as it is known."""
        return self.profile.pictures != 0

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The model's next message; see `Planner.reply`."""
        kept, spent = KEPT_PICTURES, TokenUsage()
        while True:
            profile = self.profile
            shown = economical(messages, kept, profile.pictures)
            payload = self._payload(shown, tools, profile)
            images = sum(len(message.pictures) for message in shown)
            sent = TokenUsage(images=images, bytes=_size(payload))
            try:
                response, retries = self._line.send(self._request(payload), self._diagnose)
            except PlannerError as error:
                spent += sent.in_vain(error.tries)
                error.spent = spent
                if not isinstance(error, RequestError):
                    raise
                held = self._held(payload, sent.images, profile)
                if "context" in error.fault.refusals and kept:
                    logger.warning("%s: context too long, older pictures dropped", self.name)
                    kept = 0
                elif not self._learning.heed(profile, error.fault, held):
                    raise
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
            left = max(left, 0.001)
            timeout = self._openai.Timeout(left, connect=min(left, CONNECT_SECONDS))
            response = self._client.chat.completions.with_raw_response.create(
                **payload, timeout=timeout
            )
            self._reached = True
            return read_answer(response.text)

        return request

    def _payload(self, messages: Sequence[Message], tools: Sequence[Tool], by: Profile) -> Wire:
        """The arguments of chat.completions.create."""
        payload: Wire = {"model": self.model, "messages": self._wire(messages, tools, by)}
        if tools and by.tool_calls == "native":
            payload["tools"] = [chat_tool(tool) for tool in tools]
        for name, value in self._options.items():
            wire_name = by.limit_name if name == "limit" else name
            if value is not None and wire_name not in by.refused:
                payload[wire_name] = value
        seed = sampling_seed.get()
        if seed is not None and "seed" not in by.refused:
            payload["seed"] = seed
        return payload

    def _wire(self, messages: Sequence[Message], tools: Sequence[Tool], by: Profile) -> list[Wire]:
        if by.layout == "rebuilt":
            messages = rebuilt(messages)
        if by.tool_calls == "text":
            messages = text_tool_calls.as_text(messages, tools)
        if not by.system:
            messages = without_system(messages)
        return chat_messages(
            messages, lambda picture: self._pictures.encode(picture, by.max_side).data_url
        )

    def _held(self, payload: Wire, pictures: int, by: Profile) -> Sent:
        """What a request held that a server may refuse."""
        roles = [message["role"] for message in payload["messages"]]
        return Sent(
            pictures=pictures,
            side=min(self._pictures.max_side, by.max_side or self._pictures.max_side),
            turns=len(roles) - ("system" in roles) > 1,
            roles=roles,
            parameters=payload,
        )

    def _message(
        self, response: Wire, taken: Collection[str], tools: Sequence[Tool], spent: TokenUsage
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
            error = self._line.error(Failure(f"it refused to answer: {said}", advice))
            error.spent = spent
            raise error
        if not calls:
            calls = text_tool_calls.read_calls(text, tools)
        return Message(
            "assistant",
            text,
            tool_calls=tuple(calls),
            spent=spent,
        )

    def _with_tokens(self, spent: TokenUsage, usage: Any) -> TokenUsage:
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

    def _diagnose(self, error: Exception) -> Failure | None:
        """What an exception of the SDK means; None for what is no fault of the line."""
        openai = self._openai
        if isinstance(error, openai.APITimeoutError):
            return Failure("no answer in time", "Try again later or allow more time", retry=True)
        if isinstance(error, openai.APIConnectionError):
            where = f"cannot reach {self._client.base_url}: {root_cause(error)}"
            # a server that has answered before may be back soon
            new = not self._reached
            lost = unknown_host(error) or unsendable(error) or (new and not_connected(error))
            return Failure(where, "Check the network and OPENAI_BASE_URL", retry=not lost)
        if isinstance(error, openai.APIStatusError):
            self._reached = True
            return _status_fault(error, self.model)
        if isinstance(error, (UnreadableError, ValueError, openai.APIError)):
            advice = "Check that OPENAI_BASE_URL points at a chat API, or try again later"
            # some gateways send a refusal with status 200
            refusals = refusals_in(str(error), self.model)
            return Failure(
                f"its answer cannot be read: {error}",
                advice,
                retry=not refusals,
                refusals=refusals,
                numbers=numbers_in(str(error)),
            )
        return None


def _status_fault(error: Any, model: str) -> Failure:
    """The fault of an HTTP status, with what a person can do about it."""
    status = int(error.status_code)
    body = error.body if isinstance(error.body, dict) else {}
    words = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", error.response.text[:4000])
    what = str(body.get("message") or words.strip() or error.message)
    if status == 429 and "insufficient_quota" in f"{body.get('code')} {body.get('type')}":
        return Failure(what, "The account has no credit left: add some or use another key", status)
    refusals = refusals_of(status, f"{what} {body}", model)
    advice = {
        400: "The server refuses the request as it is; see its words, or use another model",
        401: "Check OPENAI_API_KEY",
        402: "Check the account's credit",
        403: "This key may not use the model: check its rights, or the region",
        404: f"Check the model's name and OPENAI_BASE_URL{_hint(error.request.url.path)}",
        413: "Make the picture smaller",
        429: "Wait, or ask for a higher rate limit",
    }.get(status, "Try again later")
    retry = status in RETRIED and not refusals
    wait = retry_after(error.response.headers)
    return Failure(what, advice, status, retry, wait, refusals, numbers_in(what))


def _hint(path: str) -> str:
    """What is likely wrong with a base URL that has no path."""
    return " (it usually ends in /v1)" if path == "/chat/completions" else ""


def _count(usage: Any, *path: str) -> int:
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if type(usage) is int and 0 < usage < 2**53 else 0


def _size(payload: Wire) -> int:
    """Bytes of the request body."""
    return len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())
