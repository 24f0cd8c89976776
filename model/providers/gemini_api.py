"""Google's generateContent API for one model: requests out, candidates and failures in."""

import json
import re
import ssl
import weakref
from collections.abc import Sequence
from typing import Any

from sam3_agent.budget import sampling_seed
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
from sam3_agent.model.providers.gemini_format import (
    Candidate,
    gemini_contents,
    gemini_system,
    gemini_tool,
    has_pictures_in_results,
    read_candidate,
)
from sam3_agent.model.providers.pricing import GEMINI_AS_OF, known_price, token_usage
from sam3_agent.model.providers.profile import Profile, RequestContents
from sam3_agent.model.providers.wire import Encode, ReplyTooLargeError, UnreadableError, Wire
from sam3_agent.planner import Price, Provider
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

KEY_PAGE = "https://aistudio.google.com/apikey"

PROVIDER = Provider(
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

_USED_UP = r"per.?day|limit: 0\b|credits? (is|are|has been|have been) (depleted|exhausted|used up)"
"""What a 429 says that no waiting helps against."""


class _EmptyError(Exception):
    """A well-formed answer that says nothing; Gemini does so at times, and not when asked again."""

    def __init__(self, spent: TokenUsage) -> None:
        super().__init__("an answer without words or calls")
        self.spent = spent


class GenerateContentApi:
    """generateContent of one model; see `session.Api`.

    parameters: of the generationConfig; None for one that is not sent.
    """

    def __init__(
        self,
        model: str,
        parameters: dict[str, Any],
        price: Price | None,
        key: str,
        base_url: str | None,
        http_client: Any,
    ) -> None:
        import httpx2
        from google import genai
        from google.genai import errors, types

        from sam3_agent.model.providers.http_client import bounded_client

        self._model = model
        self._parameters = parameters
        self._price = price
        self._address = base_url or "the Gemini API"
        self._reached = False
        self._httpx2, self._errors, self._types = httpx2, errors, types
        http = bounded_client(http_client)
        if http_client is None:
            weakref.finalize(self, http.close)
        # the SDK is not asked to retry: `Retrier` does, and heeds Retry-After. Its async clients
        # are never used: this spares loading the certificates twice more for them
        unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = genai.Client(
            api_key=key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=base_url,
                httpx_client=http,
                async_client_args={"verify": unused, "ssl": unused},
            ),
        )

    def payload(
        self, messages: Sequence[Message], tools: Sequence[Tool], profile: Profile, encode: Encode
    ) -> Wire:
        """The request's body."""
        config = given({**self._parameters, "seed": sampling_seed.get()})
        payload: Wire = {
            "contents": gemini_contents(messages, encode, profile.pictures_in_results),
            "generationConfig": {k: v for k, v in config.items() if k not in profile.refused},
        }
        system = gemini_system(messages)
        if system:
            payload["systemInstruction"] = system
        if tools:
            payload["tools"] = [{"functionDeclarations": [gemini_tool(tool) for tool in tools]}]
        return payload

    def size(self, payload: Wire) -> int:
        """Bytes of the request's body, as the SDK writes it."""
        return len(json.dumps(payload))

    def contents(self, payload: Wire) -> RequestContents:
        """What the request holds that a server may refuse."""
        return RequestContents(
            roles=["system"] if "systemInstruction" in payload else [],
            parameters=[*payload, *payload["generationConfig"]],
            turns=len(payload["contents"]) > 1,
            pictures_in_results=has_pictures_in_results(payload["contents"]),
        )

    def send(self, payload: Wire, seconds: float) -> Candidate:
        """A candidate that says something.

        The body goes through the SDK as it is, and the answer's comes back as it is: the SDK's own
        types drop fields that they do not know, and replies must be sent back unchanged.
        """
        types = self._types
        timeout = max(1, round(seconds * 1000))  # in milliseconds
        response = self._client.models.generate_content(
            model=self._model,
            contents="the body replaces this",
            config=types.GenerateContentConfig(
                http_options=types.HttpOptions(extra_body=payload, timeout=timeout),
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
                should_return_http_response=True,
            ),
        )
        self._reached = True
        http = response.sdk_http_response
        candidate = read_candidate(http.body if http else None)
        if candidate.empty:
            raise _EmptyError(self.tokens(candidate))
        return candidate

    def tokens(self, candidate: Candidate) -> TokenUsage:
        """The tokens that the server counted, and their cost where the price is known."""
        reasoning = candidate.tokens("thoughtsTokenCount")
        return token_usage(
            # an alias such as gemini-flash-latest has the price of the model that answers
            self._price or known_price(candidate.model),
            inputs=candidate.tokens("promptTokenCount"),
            cached=candidate.tokens("cachedContentTokenCount"),
            outputs=candidate.tokens("candidatesTokenCount") + reasoning,
            reasoning=reasoning,
        )

    def failure(self, error: Exception) -> Failure | None:
        """What an exception of the SDK means; None for a bug."""
        httpx2 = self._httpx2
        if isinstance(error, httpx2.TimeoutException):
            return TIMEOUT
        if isinstance(error, ReplyTooLargeError):
            return too_large(error, PROVIDER)
        unsendable = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)
        if isinstance(error, httpx2.TransportError) and not isinstance(error, unsendable):
            return unreachable(error, self._address, PROVIDER, self._reached)
        if isinstance(error, self._errors.APIError):
            self._reached = True
            return _status_failure(error, self._model)
        unreadable = (UnreadableError, httpx2.DecodingError, UnicodeDecodeError, RecursionError)
        if isinstance(error, (_EmptyError, *unreadable)):
            return Failure(
                f"its answer cannot be used: {error}",
                "Check that GOOGLE_GEMINI_BASE_URL points at a Gemini API, or try again later",
                retry=True,
                spent=error.spent if isinstance(error, _EmptyError) else TokenUsage(),
            )
        if isinstance(error, (*unsendable, ValueError)):
            return Failure(f"the request cannot be sent: {error}", "Check GOOGLE_GEMINI_BASE_URL")
        return None


def given(values: Wire) -> Wire:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _status_failure(error: Any, model: str) -> Failure:
    """The failure of an HTTP status, with what a person can do about it."""
    status = int(error.code)
    headers = getattr(error.response, "headers", {})
    if place := headers.get("location"):
        return redirected(status, place, PROVIDER)
    body = str(error)[:8000]  # an HTML page would take long to search
    what = error.message if isinstance(error.message, str) and error.message else body
    if status == 429 and re.search(_USED_UP, body, re.IGNORECASE):
        advice = "The quota is used up: wait for the next day, enable billing, or use another model"
        return Failure(what, advice, status)
    if status in (400, 401, 403) and "API key" in what:
        return Failure(what, f"Check GEMINI_API_KEY; {KEY_PAGE} gives a new key", status)
    asked = re.search(r"retryDelay\W+(\d+(\.\d+)?)s", body)
    wait = float(asked[1]) if asked else retry_after(headers)
    return status_failure(status, what, body, model, PROVIDER, wait)
