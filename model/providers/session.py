"""Sends a conversation to one model: retries, learns from refusals, counts the cost."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from sam3_agent.budget import deadline
from sam3_agent.errors import PlannerError, StoppedError
from sam3_agent.image_encoding import PictureEncoder
from sam3_agent.messages import Message
from sam3_agent.model.providers.failures import TIMEOUT, Failure, RequestError, declined
from sam3_agent.model.providers.history import (
    KEPT_PICTURES,
    arrange,
    count_pictures,
    with_latest_pictures,
)
from sam3_agent.model.providers.profile import LearnedProfile, Profile, RequestContents
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.model.providers.wire import Encode, Wire
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

logger = logging.getLogger(__name__)

R = TypeVar("R", covariant=True)
S = TypeVar("S")


class Api(Protocol[R]):
    """The API of one provider, for one model."""

    def payload(
        self, messages: Sequence[Message], tools: Sequence[Tool], profile: Profile, encode: Encode
    ) -> Wire:
        """A request. tools: those to declare. encode: makes a picture a file."""
        ...

    def size(self, payload: Wire) -> int:
        """Bytes of the request's body."""
        ...

    def contents(self, payload: Wire) -> RequestContents:
        """What the request holds that a server may refuse; pictures need not be counted."""
        ...

    def send(self, payload: Wire, seconds: float) -> R:
        """Send a request once and wait at most so long for the response."""
        ...

    def failure(self, error: Exception) -> Failure | None:
        """What an exception of `send` means; None for a bug."""
        ...


class Session:
    """The requests to one model.

    name: the planner's, for warnings. timeout: seconds for one request and its reply, to the last
    byte. max_side: pixels of the longest side of a picture that is sent; None for the default.
    """

    def __init__(
        self,
        name: str,
        retrier: Retrier,
        profile: Profile,
        timeout: float,
        max_side: int | None = None,
    ) -> None:
        self.pictures = PictureEncoder(max_side) if max_side else PictureEncoder()
        self._name = name
        self._retrier = retrier
        self._learned = LearnedProfile(name, profile)
        self._timeout = timeout

    @property
    def profile(self) -> Profile:
        """How the server wants to be asked, as far as it is known."""
        return self._learned.profile

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the replies beside the provider's own parameters."""
        return {"tool_calls": self.profile.tool_calls, "picture_side": self.pictures.max_side}

    def send(
        self, api: Api[S], messages: Sequence[Message], tools: Sequence[Tool]
    ) -> tuple[S, TokenUsage]:
        """The response to a conversation, and what it and failed requests cost.

        The tokens of the response itself are left to the caller. A request that is too long is sent
        once more without the older pictures; one that a server refuses as it is, in the way that
        its refusal asks for. Raises PlannerError, with what was spent.
        """
        kept, spent = KEPT_PICTURES, TokenUsage()
        while True:
            profile = self.profile
            shown = with_latest_pictures(messages, kept, profile.pictures)
            payload = self._payload(api, shown, tools, profile)
            sent = TokenUsage(images=count_pictures(shown), bytes=api.size(payload))
            failed: list[TokenUsage] = []
            try:
                response = self._send(api, payload, sent, failed)
            except (PlannerError, StoppedError) as error:
                error.spent = spent = sum(failed, spent)
                if not isinstance(error, RequestError):
                    raise
                fewer = (
                    count_pictures(with_latest_pictures(messages, 0, profile.pictures))
                    < sent.images
                )
                if "context" in error.failure.refusals and fewer:
                    logger.warning("%s: context too long, older pictures dropped", self._name)
                    kept = 0
                    continue
                side = min(self.pictures.max_side, profile.max_side or self.pictures.max_side)
                contents = replace(api.contents(payload), pictures=sent.images, side=side)
                if not self._learned.learn(profile, error.failure, contents):
                    raise
            else:
                return response, sum(failed, spent) + replace(sent, calls=1)

    def declined(self, why: str, spent: TokenUsage) -> PlannerError:
        """The error of a model that would not answer the question."""
        error = self._retrier.error(declined(why))
        error.spent = spent
        return error

    def _payload(
        self, api: Api[S], messages: Sequence[Message], tools: Sequence[Tool], profile: Profile
    ) -> Wire:
        return api.payload(
            arrange(messages, tools, profile),
            tools if profile.tool_calls == "native" else (),
            profile,
            lambda picture: self.pictures.encode(picture, profile.max_side),
        )

    def _send(self, api: Api[S], payload: Wire, sent: TokenUsage, failed: list[TokenUsage]) -> S:
        """The response to a request; what each failed try costs is added to `failed`."""

        began = time.monotonic()

        def request() -> S:
            nonlocal began
            began, end = time.monotonic(), deadline.get()
            left = self._timeout if end is None else min(self._timeout, end - began)
            return api.send(payload, left)

        def diagnose(error: Exception) -> Failure | None:
            failure = api.failure(error)
            if failure is not None or isinstance(error, StoppedError):
                spent = failure.spent if failure is not None else TokenUsage()
                failed.append(replace(sent, retries=1) + spent)
            if failure is TIMEOUT and time.monotonic() >= began + self._timeout:
                # a model that takes so long once does so again, and is paid for each time
                return replace(TIMEOUT, what=f"no answer in {self._timeout:g} s", retry=False)
            return failure

        return self._retrier.send(request, diagnose)
