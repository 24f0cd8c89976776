"""Planners behind an OpenAI-compatible chat API: OpenAI, vLLM, Ollama, llama.cpp, OpenRouter."""

import json
import os
import re
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from sam3_agent.budget import sampling_seed
from sam3_agent.credentials import checked_key, checked_url
from sam3_agent.errors import PlannerError
from sam3_agent.extras import require
from sam3_agent.messages import Message
from sam3_agent.model.providers.failures import (
    TIMEOUT,
    Failure,
    redirected,
    retry_after,
    status_failure,
    too_large,
    unreachable,
)
from sam3_agent.model.providers.openai_format import (
    CUT_REASONS,
    chat_messages,
    chat_tool,
    native_calls,
    read_answer,
    reply_text,
)
from sam3_agent.model.providers.pricing import AS_OF, price_for, token_count, token_usage
from sam3_agent.model.providers.profile import Profile, RequestContents
from sam3_agent.model.providers.refusals import numbers_in, refusals_in
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.model.providers.session import Session
from sam3_agent.model.providers.text_tool_calls import read_calls
from sam3_agent.model.providers.wire import (
    Encode,
    ReplyTooLargeError,
    UnreadableError,
    Wire,
    whole_calls,
)
from sam3_agent.planner import Price, Provider
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

OPENAI_URL = "https://api.openai.com/v1"

CONNECT_SECONDS = 10.0
"""How long to wait for a connection, however long the answer may take."""

__all__ = ["OpenAIPlanner", "Profile"]

_ENDPOINTS = r"(?:/chat)?/completions|/responses|/embeddings|/models"
"""What is no part of a base URL, though it is often copied with it."""


class OpenAIPlanner:
    """A model behind chat.completions as a Planner.

    model: the model's name. base_url, api_key: by default $OPENAI_BASE_URL and $OPENAI_API_KEY; a
        local server needs no key. Blanks and line breaks around them are dropped.
    tool_calls, profile: how the server wants to be asked; what it refuses is learned from its
        answers.
    max_output_tokens, temperature, reasoning_effort: sent only when given.
    price: dollars for a million tokens, when the model is not in `pricing.PRICES`.
    timeout: seconds for one request and its reply, to the last byte; one that takes them all is not
        sent again. retrier, http_client: for tests.

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
        retrier: Retrier | None = None,
        http_client: Any = None,
    ) -> None:
        self.model = model
        self.name = f"openai:{model}"
        base_url = checked_url(
            base_url or os.environ.get("OPENAI_BASE_URL"),
            "OPENAI_BASE_URL",
            _ENDPOINTS,
            "http://localhost:8000/v1",
        )
        key = checked_key(api_key or os.environ.get("OPENAI_API_KEY"), "OPENAI_API_KEY")
        if not key and base_url is None:
            raise PlannerError(
                f"the planner {self.name} has no key: set OPENAI_API_KEY, or OPENAI_BASE_URL for a "
                "local server that needs none"
            )
        require("openai", purpose="the planner openai:", error=PlannerError)
        self.price = price_for(model, price)
        self._parameters = {
            "max_output_tokens": max_output_tokens,
            "temperature": temperature,
            "reasoning_effort": reasoning_effort,
        }
        retrier = replace(retrier or Retrier("openai", model), secret=key)
        self._session = Session(
            self.name, retrier, profile or Profile(tool_calls), timeout, max_side
        )
        with retrier.creating_client():
            # with None the SDK reads the variable, unchecked
            self._api = _ChatApi(
                model, self._parameters, key or "none", base_url or OPENAI_URL, http_client
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its replies; see `PlannerDefaults`."""
        return {**self._parameters, **self._session.settings}

    def __repr__(self) -> str:
        return f"OpenAIPlanner({self.model!r})"

    @property
    def profile(self) -> Profile:
        """How the server wants to be asked, as far as it is known."""
        return self._session.profile

    @property
    def sees(self) -> bool:
        """Whether the model takes pictures, as far as it is known."""
        return self.profile.pictures != 0

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The model's next message; see `Planner.reply`."""
        response, spent = self._session.send(self._api, messages, tools)
        spent += self._tokens(response.get("usage"))
        choice = response["choices"][0]
        text = reply_text(choice["message"])
        calls = native_calls(choice["message"], messages)
        declined = choice["message"].get("refusal")
        if not calls and (declined or choice.get("finish_reason") == "content_filter"):
            why = str(declined or "its content filter stopped the answer")
            raise self._session.declined(why, spent)
        calls = calls or read_calls(text, tools)
        cut = choice.get("finish_reason") in CUT_REASONS
        if cut:
            calls = whole_calls(calls)
        return Message("assistant", text, tool_calls=tuple(calls), cut=cut, spent=spent)

    def _tokens(self, usage: Any) -> TokenUsage:
        """The tokens that the server counted, and their cost where the price is known."""

        def count(*path: str) -> int:
            value = usage
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            return token_count(value)

        return token_usage(
            self.price,
            inputs=count("prompt_tokens"),
            cached=count("prompt_tokens_details", "cached_tokens"),
            outputs=count("completion_tokens"),
            reasoning=count("completion_tokens_details", "reasoning_tokens"),
        )


class _ChatApi:
    """chat.completions of one model; see `session.Api`.

    parameters: max_output_tokens and those of the API; None for one that is not sent.
    """

    def __init__(
        self, model: str, parameters: dict[str, Any], key: str, base_url: str, http_client: Any
    ) -> None:
        import httpx2
        import openai

        from sam3_agent.model.providers.http_client import bounded_client

        self._model = model
        self._parameters = parameters
        self._reached = False
        self._openai, self._httpx2 = openai, httpx2
        http = bounded_client(http_client)
        if http_client is None:
            weakref.finalize(self, http.close)
        self._client = openai.OpenAI(
            api_key=key, base_url=base_url, max_retries=0, http_client=http
        )

    def payload(
        self, messages: Sequence[Message], tools: Sequence[Tool], profile: Profile, encode: Encode
    ) -> Wire:
        """The arguments of chat.completions.create."""
        wire = chat_messages(messages, lambda picture: encode(picture).data_url)
        payload: Wire = {"model": self._model, "messages": wire}
        if tools:
            payload["tools"] = [chat_tool(tool) for tool in tools]
        for name, value in {**self._parameters, "seed": sampling_seed.get()}.items():
            wire_name = profile.limit_name if name == "max_output_tokens" else name
            if value is not None and wire_name not in profile.refused:
                payload[wire_name] = value
        return payload

    def size(self, payload: Wire) -> int:
        """Bytes of the request's body, as the SDK writes it."""
        return len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())

    def contents(self, payload: Wire) -> RequestContents:
        """What the request holds that a server may refuse."""
        roles = [message["role"] for message in payload["messages"]]
        return RequestContents(roles, payload, turns=len(roles) - ("system" in roles) > 1)

    def send(self, payload: Wire, seconds: float) -> Wire:
        """The JSON of the answer.

        The raw JSON and not the SDK's objects: those have whatever types a server sent.
        """
        seconds = max(seconds, 0.001)
        timeout = self._openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        response = self._client.chat.completions.with_raw_response.create(
            **payload, timeout=timeout
        )
        self._reached = True
        return read_answer(response.text)

    def failure(self, error: Exception) -> Failure | None:
        """What an exception of the SDK means; None for a bug."""
        openai, provider = self._openai, OpenAIPlanner.provider
        if isinstance(error, openai.APITimeoutError):
            return TIMEOUT
        if isinstance(error, ReplyTooLargeError):
            return too_large(error, provider)
        undecodable = isinstance(error.__cause__, self._httpx2.DecodingError)
        if isinstance(error, openai.APIConnectionError) and not undecodable:
            return unreachable(error, str(self._client.base_url), provider, self._reached)
        if isinstance(error, openai.APIStatusError):
            self._reached = True
            return _status_failure(error, self._model, provider)
        if isinstance(error, (UnreadableError, ValueError, openai.APIError)):
            # some gateways send a refusal with status 200
            refusals = refusals_in(str(error), self._model)
            return Failure(
                f"its answer cannot be read: {error.__cause__ if undecodable else error}",
                "Check that OPENAI_BASE_URL points at a chat API, or try again later",
                retry=not refusals,
                refusals=refusals,
                numbers=numbers_in(str(error)),
            )
        return None


def _status_failure(error: Any, model: str, provider: Provider) -> Failure:
    """The failure of an HTTP status, with what a person can do about it."""
    status = int(error.status_code)
    if place := error.response.headers.get("location"):
        return redirected(status, place, provider)
    body = error.body if isinstance(error.body, dict) else {}
    words = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", error.response.text[:4000])
    what = str(body.get("message") or words.strip() or error.message)
    if status == 429 and "insufficient_quota" in f"{body.get('code')} {body.get('type')}":
        return Failure(what, "The account has no credit left: add some or use another key", status)
    bare = error.request.url.path == "/chat/completions"
    hint = " (it usually ends in /v1)" if bare else ""
    wait = retry_after(error.response.headers)
    return status_failure(status, what, f"{what} {body}", model, provider, wait, hint)
