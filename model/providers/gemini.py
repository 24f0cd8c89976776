"""Planners behind Google's Gemini API."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from sam3_agent.credentials import checked_key, checked_url
from sam3_agent.errors import InputError, PlannerError
from sam3_agent.extras import require
from sam3_agent.messages import Message
from sam3_agent.model.providers.gemini_api import KEY_PAGE, PROVIDER, GenerateContentApi, given
from sam3_agent.model.providers.gemini_format import STATE, native_calls, small_enough, tool_calls
from sam3_agent.model.providers.pricing import price_for
from sam3_agent.model.providers.profile import Profile
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.model.providers.session import Session
from sam3_agent.model.providers.text_tool_calls import read_calls
from sam3_agent.model.providers.wire import Wire, whole_calls
from sam3_agent.planner import Price
from sam3_agent.tool import Tool

_ENDPOINTS = r"/v1(?:alpha|beta\d*)|(?:/v1(?:alpha|beta\d*)?)?/models\b.*"
"""What is no part of a base URL, though it is often copied with it."""


class GeminiPlanner:
    """A model behind generateContent as a Planner.

    model: the model's name, such as gemini-3.8-flash.
    api_key: by default $GEMINI_API_KEY, else $GOOGLE_API_KEY. base_url: by default
        $GOOGLE_GEMINI_BASE_URL, else Google's; a server of one's own needs no key. Blanks and line
        breaks around them are dropped.
    tool_calls: `native`, or `text` for models that have none.
    max_output_tokens, temperature, thinking_level, thinking_budget: sent only when given.
    price: dollars for a million tokens, when the model is not in `pricing.PRICES`.
    timeout: seconds for one request and its reply, to the last byte; one that takes them all is not
        sent again. retrier, http_client (an httpx2.Client): for tests.

    Raises PlannerError when no key is there, the key or the base URL cannot be right, or the
    google-genai package is missing.
    """

    provider = PROVIDER

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
        retrier: Retrier | None = None,
        http_client: Any = None,
    ) -> None:
        self.model = model.removeprefix("models/")
        self.name = f"gemini:{self.model}"
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", self.model) or ".." in self.model:
            raise InputError(f"{model!r} is no name of a Gemini model; try gemini-3.8-flash")
        self.price = price_for(self.model, price)
        base_url = checked_url(
            base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL"),
            "GOOGLE_GEMINI_BASE_URL",
            _ENDPOINTS,
            "https://generativelanguage.googleapis.com",
        )
        key = _key(self.name, api_key, needed=base_url is None)
        require("google.genai", purpose="the planner gemini:", error=PlannerError)
        thinking = {
            "thinkingLevel": thinking_level and thinking_level.upper(),
            "thinkingBudget": thinking_budget,
        }
        self._parameters = {
            "maxOutputTokens": max_output_tokens,
            "temperature": temperature,
            "thinkingConfig": given(thinking) or None,
        }
        retrier = replace(retrier or Retrier("gemini", self.model), secret=key)
        profile = Profile(tool_calls, pictures_in_results=_generation(self.model) >= 3)
        self._session = Session(self.name, retrier, profile, timeout, max_side)
        with retrier.creating_client():
            self._api = GenerateContentApi(
                self.model, self._parameters, self.price, key or "none", base_url, http_client
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its replies; see `PlannerDefaults`."""
        return {
            "temperature": self._parameters["temperature"],
            "thinking": self._parameters["thinkingConfig"],
            "max_output_tokens": self._parameters["maxOutputTokens"],
            **self._session.settings,
        }

    def __repr__(self) -> str:
        return f"GeminiPlanner({self.model!r})"

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
        candidate, spent = self._session.send(self._api, messages, tools)
        spent += self._api.tokens(candidate)
        if candidate.declined:
            raise self._session.declined(candidate.declined, spent)
        text, native = candidate.text, native_calls(candidate.content)
        content: Wire | None = candidate.content
        if candidate.malformed:
            # "Malformed function call: print(default_api.segment(...))" can still be read as text
            explanation = re.sub(r"^[a-zA-Z ]*: *", "", candidate.explanation)
            text, native, content = f"{candidate.reason}\n{explanation}".strip(), [], None
        calls = native or [
            {"name": call.name, "args": call.arguments} for call in read_calls(text, tools)
        ]
        made = tool_calls(calls, messages)
        cut = candidate.reason == "MAX_TOKENS"
        if cut and len(made := whole_calls(made)) < len(native):
            content = None  # its last function call gets no response
        if content and not small_enough(content):
            content = None
        return Message(
            "assistant",
            text,
            tool_calls=tuple(made),
            cut=cut,
            # a content without words and calls is refused when it is sent back
            provider_state={STATE: content} if content and (text or native) else None,
            spent=spent,
        )


def _generation(model: str) -> int:
    """The 3 of gemini-3.8-flash; 3 too where the name has no number, such as gemini-pro-latest."""
    found = re.search(r"gemini\D*(\d+)", model)
    return int(found[1]) if found else 3


def _key(planner: str, api_key: str | None, needed: bool) -> str:
    """The API key, empty when none is there or needed."""
    key = checked_key(api_key or os.environ.get("GEMINI_API_KEY"), "GEMINI_API_KEY")
    key = key or checked_key(os.environ.get("GOOGLE_API_KEY"), "GOOGLE_API_KEY")
    if needed and not key:
        raise PlannerError(
            f"the planner {planner} has no key: set GEMINI_API_KEY ({KEY_PAGE} gives one), or "
            "GOOGLE_GEMINI_BASE_URL for a server that needs none"
        )
    return key
