"""Planners behind Google's Gemini API."""

import json
import logging
import os
import re
import ssl
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from sam3_agent.budget import deadline, sampling_seed
from sam3_agent.credentials import checked_key, checked_url
from sam3_agent.errors import InputError, PlannerError
from sam3_agent.extras import require
from sam3_agent.image_encoding import PictureEncoder
from sam3_agent.messages import Message
from sam3_agent.model.providers import text_tool_calls
from sam3_agent.model.providers.gemini_format import (
    STATE,
    Candidate,
    UnreadableError,
    Wire,
    gemini_contents,
    gemini_system,
    gemini_tool,
    has_pictures_in_results,
    native_calls,
    read_candidate,
    tool_calls,
)
from sam3_agent.model.providers.history import KEPT_PICTURES, economical, without_system
from sam3_agent.model.providers.pricing import GEMINI_AS_OF, known_price
from sam3_agent.model.providers.profile import Learning, Profile, Sent
from sam3_agent.model.providers.refusals import numbers_in, refusals_of
from sam3_agent.model.providers.retries import (
    RETRIED,
    Failure,
    Line,
    RequestError,
    not_connected,
    retry_after,
    root_cause,
    unknown_host,
)
from sam3_agent.planner import Price, Provider
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

logger = logging.getLogger(__name__)

KEY_PAGE = "https://aistudio.google.com/apikey"

_ENDPOINTS = r"/v1(?:alpha|beta\d*)|(?:/v1(?:alpha|beta\d*)?)?/models\b.*"
"""What is no part of a base URL, though it is often copied with it."""

_BLOCKED = frozenset(
    "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY MODEL_ARMOR "
    "IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION IMAGE_OTHER ESCALATION".split()
)
"""Reasons to stop after which there will be no answer to this question."""

_BROKEN = frozenset(
    "MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL TOO_MANY_TOOL_CALLS MALFORMED_RESPONSE "
    "MISSING_THOUGHT_SIGNATURE".split()
)
"""Reasons to stop that say that the model's call was none, whatever the content holds."""


class GeminiPlanner:
    """A model behind generateContent as a Planner.

    model: the model's name, such as gemini-3.8-flash.
    api_key: by default $GEMINI_API_KEY, else $GOOGLE_API_KEY. base_url: by default
        $GOOGLE_GEMINI_BASE_URL, else Google's; a server of one's own needs no key. Blanks and line
        breaks around them are dropped.
    tool_calls: `native`, or `text` for models that have none.
    max_output_tokens, temperature, thinking_level, thinking_budget: sent only when given.
    price: dollars for a million tokens, when the model is not in `pricing.PRICES`.
    timeout: seconds for one request. line, http_client (an httpx2.Client): for tests.

    Raises PlannerError when no key is there, the key or the base URL cannot be right, or the
    google-genai package is missing.
    """

    provider = Provider(
        name="gemini",
        title="Google Gemini",
        package="google-genai",
        module="google.genai",
        extra="gemini",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_url_variable="GOOGLE_GEMINI_BASE_URL",
        example_model="gemini-3.8-flash",
        price_source=f"Google's price list of {GEMINI_AS_OF}, as others report it",
    )

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        tool_calls: Literal["native", "text"] = "native",
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        thinking_level: str | None = None,
        thinking_budget: int | None = None,
        price: Price | tuple[float, float, float] | None = None,
        max_side: int | None = None,
        timeout: float = 300.0,
        line: Line | None = None,
        http_client: Any = None,
    ) -> None:
        require("google.genai", purpose="the planner gemini:", error=PlannerError)
        import httpx2
        from google import genai
        from google.genai import errors, types

        self.model = model.removeprefix("models/")
        self.name = f"gemini:{self.model}"
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", self.model) or ".." in self.model:
            raise InputError(f"{model!r} is no name of a Gemini model; try gemini-3.8-flash")
        profile = Profile(tool_calls, pictures_in_results=_generation(self.model) >= 3)
        self._learning = Learning(self.name, profile)
        self._reached = False
        self.price = Price(*price) if isinstance(price, tuple) else price or known_price(self.model)
        self._base_url = checked_url(
            base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL"),
            "GOOGLE_GEMINI_BASE_URL",
            _ENDPOINTS,
            "https://generativelanguage.googleapis.com",
        )
        key = _key(api_key, needed=self._base_url is None)
        thinking = {
            "thinkingLevel": thinking_level and thinking_level.upper(),
            "thinkingBudget": thinking_budget,
        }
        self._generation_config = _given(
            {
                "maxOutputTokens": max_output_tokens,
                "temperature": temperature,
                "thinkingConfig": _given(thinking) or None,
            }
        )
        self._timeout = timeout
        self._pictures = PictureEncoder(max_side) if max_side else PictureEncoder()
        self._line = replace(line or Line("gemini", self.model), secret=key)
        self._httpx2, self._errors, self._types = httpx2, errors, types
        with self._line.setting_up():
            http = http_client or httpx2.Client()
        if http_client is None:
            weakref.finalize(self, http.close)
        # the SDK retries nothing unless told to: `Line` does, and heeds Retry-After. Its async
        # clients are never used: this spares loading the certificates twice more for them
        unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = genai.Client(
            api_key=key or "none",
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self._base_url,
                httpx_client=http,
                async_client_args={"verify": unused, "ssl": unused},
            ),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its replies; see `planner.settings_of`."""
        return {
            "temperature": self._generation_config.get("temperature"),
            "thinking": self._generation_config.get("thinkingConfig"),
            "max_output_tokens": self._generation_config.get("maxOutputTokens"),
            "tool_calls": self.profile.tool_calls,
            "picture_side": self._pictures.max_side,
        }

    def __repr__(self) -> str:
        return f"GeminiPlanner({self.model!r})"

    @property
    def profile(self) -> Profile:
        """How the server wants to be asked, as far as it is known."""
        return self._learning.profile

    @property
    def pictures_in_results(self) -> bool:
        """Whether its function responses may hold pictures, as far as it is known."""
        return self.profile.pictures_in_results

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
            # the SDK writes the body with the same call
            sent = TokenUsage(images=_count_pictures(shown), bytes=len(json.dumps(payload)))
            empty: list[TokenUsage] = []
            try:
                candidate, retries = self._line.send(self._request(payload, empty), self._diagnose)
            except PlannerError as error:
                spent += sum(empty, sent.in_vain(error.tries))
                error.spent = spent
                if not isinstance(error, RequestError):
                    raise
                held = self._held(payload, sent.images, profile)
                fewer = _count_pictures(economical(messages, 0)) < sent.images
                if "context" in error.fault.refusals and fewer:
                    logger.warning("%s: context too long, older pictures dropped", self.name)
                    kept = 0
                elif not self._learning.heed(profile, error.fault, held):
                    raise
                continue
            spent += sum(empty, sent.in_vain(retries)) + replace(sent, calls=1)
            return self._message(candidate, messages, tools, spent + self._tokens(candidate))

    def _payload(self, messages: Sequence[Message], tools: Sequence[Tool], by: Profile) -> Wire:
        """The request's body."""
        if by.tool_calls == "text":
            messages = text_tool_calls.as_text(messages, tools)
        if not by.system:
            messages = without_system(messages)
        contents = gemini_contents(
            messages,
            lambda picture: self._pictures.encode(picture, by.max_side),
            by.pictures_in_results,
        )
        config = _given({**self._generation_config, "seed": sampling_seed.get()})
        config = {name: value for name, value in config.items() if name not in by.refused}
        payload: Wire = {"contents": contents, "generationConfig": config}
        system = gemini_system(messages)
        if system:
            payload["systemInstruction"] = system
        if tools and by.tool_calls == "native":
            payload["tools"] = [{"functionDeclarations": [gemini_tool(tool) for tool in tools]}]
        return payload

    def _held(self, payload: Wire, pictures: int, by: Profile) -> Sent:
        """What a request held that a server may refuse."""
        return Sent(
            pictures=pictures,
            side=min(self._pictures.max_side, by.max_side or self._pictures.max_side),
            turns=len(payload["contents"]) > 1,
            roles=["system"] if "systemInstruction" in payload else [],
            parameters=[*payload, *payload["generationConfig"]],
            pictures_in_results=has_pictures_in_results(payload["contents"]),
        )

    def _request(self, payload: Wire, empty: list[TokenUsage]) -> Callable[[], Candidate]:
        """Send a body; a candidate that says something. What empty ones cost is put into `empty`.

        The body goes through the SDK as it is, and the answer's comes back as it is: the SDK's own
        types drop fields that they do not know, and replies must be sent back unchanged.
        """
        types = self._types

        def request() -> Candidate:
            end = deadline.get()
            left = self._timeout if end is None else min(self._timeout, end - time.monotonic())
            response = self._client.models.generate_content(
                model=self.model,
                contents="the body replaces this",
                config=types.GenerateContentConfig(
                    http_options=types.HttpOptions(
                        extra_body=payload, timeout=max(1, round(left * 1000))
                    ),
                    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
                    should_return_http_response=True,
                ),
            )
            self._reached = True
            http = response.sdk_http_response
            candidate = read_candidate(http.body if http else None)
            if _says_nothing(candidate):
                empty.append(self._tokens(candidate))
                raise _EmptyError("an answer without words or calls")
            return candidate

        return request

    def _message(
        self,
        candidate: Candidate,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        spent: TokenUsage,
    ) -> Message:
        """The reply as a Message; PlannerError when the model refused to answer."""
        text, native = candidate.text, native_calls(candidate.content)
        content: Wire | None = candidate.content
        if candidate.reason in _BROKEN:
            # "Malformed function call: print(default_api.segment(...))" can still be read as text
            said = re.sub(r"^[a-zA-Z ]*: *", "", candidate.said)
            text, native, content = f"{candidate.reason}\n{said}".strip(), [], None
        elif candidate.blocked or (candidate.reason in _BLOCKED and not native):
            why = candidate.said or candidate.blocked or candidate.reason
            advice = "Ask in other words, show another picture, or use another model"
            error = self._line.error(Failure(f"it refused to answer: {why}", advice))
            error.spent = spent
            raise error
        calls = native
        if not calls:
            read = text_tool_calls.read_calls(text, tools)
            calls = [{"name": call.name, "args": call.arguments} for call in read]
        return Message(
            "assistant",
            text,
            tool_calls=tuple(tool_calls(calls, messages)),
            # a content without words and calls is refused when it is sent back
            provider_state={STATE: content} if content and (text or native) else None,
            spent=spent,
        )

    def _tokens(self, candidate: Candidate) -> TokenUsage:
        """What the server says of tokens, and their cost where the price is known."""
        inputs = candidate.tokens("promptTokenCount")
        cached = candidate.tokens("cachedContentTokenCount")
        thoughts = candidate.tokens("thoughtsTokenCount")
        outputs = candidate.tokens("candidatesTokenCount") + thoughts
        # an alias such as gemini-flash-latest has the price of the model that answers
        price = self.price or known_price(candidate.model)
        return TokenUsage(
            input_tokens=inputs,
            cached_tokens=cached,
            output_tokens=outputs,
            reasoning_tokens=thoughts,
            cost=price.cost(inputs, cached, outputs) if price and inputs else None,
        )

    def _diagnose(self, error: Exception) -> Failure | None:
        """What an exception of the SDK means; None for what is no fault of the line."""
        httpx2 = self._httpx2
        if isinstance(error, httpx2.TimeoutException):
            return Failure("no answer in time", "Try again later or allow more time", retry=True)
        wrong = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)
        if isinstance(error, httpx2.TransportError) and not isinstance(error, wrong):
            where = f"cannot reach {self._base_url or 'the Gemini API'}: {root_cause(error)}"
            # a server that has answered before may be back soon
            lost = unknown_host(error) or (not_connected(error) and not self._reached)
            return Failure(where, "Check the network and GOOGLE_GEMINI_BASE_URL", retry=not lost)
        if isinstance(error, self._errors.APIError):
            self._reached = True
            return _status_fault(error, self.model)
        unreadable = (UnreadableError, httpx2.DecodingError, UnicodeDecodeError, RecursionError)
        if isinstance(error, (_EmptyError, *unreadable)):
            advice = "Check that GOOGLE_GEMINI_BASE_URL points at a Gemini API, or try again later"
            return Failure(f"its answer cannot be used: {error}", advice, retry=True)
        if isinstance(error, (*wrong, ValueError)):
            return Failure(f"the request cannot be sent: {error}", "Check GOOGLE_GEMINI_BASE_URL")
        return None


class _EmptyError(Exception):
    """A well-formed answer that says nothing; Gemini does so at times, and not when asked again."""


_USED_UP = r"per.?day|limit: 0\b|credits? (is|are|has been|have been) (depleted|exhausted|used up)"
"""What a 429 says that no waiting helps against."""


def _generation(model: str) -> int:
    """The 3 of gemini-3.8-flash; 3 too where the name has no number, such as gemini-pro-latest."""
    found = re.search(r"gemini\D*(\d+)", model)
    return int(found[1]) if found else 3


def _key(given: str | None, needed: bool) -> str:
    """The API key, empty when none is there or needed."""
    key = checked_key(given or os.environ.get("GEMINI_API_KEY"), "GEMINI_API_KEY")
    key = key or checked_key(os.environ.get("GOOGLE_API_KEY"), "GOOGLE_API_KEY")
    if needed and not key:
        raise PlannerError(
            f"the planner gemini: has no key: set GEMINI_API_KEY ({KEY_PAGE} gives one), or "
            "GOOGLE_GEMINI_BASE_URL for a server that needs none"
        )
    return key


def _given(values: Wire) -> Wire:
    return {name: value for name, value in values.items() if value is not None}


def _count_pictures(messages: Sequence[Message]) -> int:
    return sum(len(message.pictures) for message in messages)


def _says_nothing(candidate: Candidate) -> bool:
    """Whether an answer is empty without a reason for it."""
    known = candidate.blocked or candidate.reason in {"MAX_TOKENS", *_BLOCKED, *_BROKEN}
    return not (known or candidate.text.strip() or native_calls(candidate.content))


def _status_fault(error: Any, model: str) -> Failure:
    """The fault of an HTTP status, with what a person can do about it."""
    status, words = int(error.code), _words(error)
    what = error.message if isinstance(error.message, str) and error.message else words
    if status == 429 and re.search(_USED_UP, words, re.IGNORECASE):
        advice = "The quota is used up: wait for the next day, enable billing, or use another model"
        return Failure(what, advice, status)
    if status in (400, 401, 403) and "API key" in what:
        return Failure(what, f"Check GEMINI_API_KEY; {KEY_PAGE} gives a new key", status)
    advice = {
        400: "The server refuses the request as it is; see its words, or use another model",
        401: "Check GEMINI_API_KEY",
        403: "This key may not use the model: check its rights, or the region",
        404: "Check the model's name and GOOGLE_GEMINI_BASE_URL",
        413: "Make the picture smaller",
        429: "Wait, or ask for a higher rate limit",
    }.get(status, "Try again later")
    refusals = refusals_of(status, words, model)
    retry = status in RETRIED and not refusals
    asked = re.search(r"retryDelay\W+(\d+(\.\d+)?)s", words)
    wait = float(asked[1]) if asked else retry_after(getattr(error.response, "headers", {}))
    return Failure(what, advice, status, retry, wait, refusals, numbers_in(what))


def _words(error: Any) -> str:
    """The body of an error, as far as a person wrote it: an HTML page would take long to search."""
    return str(error)[:8000]
