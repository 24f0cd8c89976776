"""What went wrong with a request to a model's API, and what a person can do about it."""

import errno
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from sam3_agent.errors import PlannerError
from sam3_agent.model.providers.refusals import Refusal, numbers_in, refusals_of
from sam3_agent.model.providers.wire import ReplyTooLargeError
from sam3_agent.planner import Provider
from sam3_agent.usage import TokenUsage

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""HTTP status codes after which the same request may succeed later."""

AWAY_TRIES = 2
"""How often a server is asked where nothing listens, or whose name is not found just now."""


@dataclass(frozen=True)
class Failure:
    """A request that failed: what happened, what a person can do, and whether to send it again.

    wait: seconds that the server asked for (Retry-After), if it did. refusals: what the server
    refuses of the request, to learn from. numbers: those in its words, in order. spent: what an
    answer that cannot be used cost. tries: how often it is sent at most, if less often than others.
    """

    what: str
    advice: str
    status: int | None = None
    retry: bool = False
    wait: float | None = None
    refusals: tuple[Refusal, ...] = ()
    numbers: tuple[int, ...] = ()
    spent: TokenUsage = TokenUsage()
    tries: int | None = None


TIMEOUT = Failure("no answer in time", "Try again later or allow more time", retry=True)


class RequestError(PlannerError):
    """A request that failed for good; `failure` has the details."""

    def __init__(self, message: str, failure: Failure, tries: int = 0) -> None:
        super().__init__(message, tries)
        self.failure = failure


def declined(why: str) -> Failure:
    """A model that would not answer the question."""
    advice = "Ask in other words, show another picture, or use another model"
    return Failure(f"it refused to answer: {why}", advice)


def unreachable(error: Exception, address: str, provider: Provider, reached: bool) -> Failure:
    """A connection that failed. reached: whether the server has answered before: it may be back."""
    away = not_connected(error)
    hopeless = unknown_host(error) or unsendable(error) or (away and not reached)
    return Failure(
        f"cannot reach {address}: {root_cause(error)}",
        f"Check the network and {provider.base_url_variable}",
        retry=not hopeless,
        tries=AWAY_TRIES if away or isinstance(root_cause(error), socket.gaierror) else None,
    )


def too_large(error: ReplyTooLargeError, provider: Provider) -> Failure:
    """A reply that was read only in part; a second one would cost as much again."""
    advice = f"Check that {provider.base_url_variable} points at a model server"
    return Failure(f"its answer is too large: {error}", advice)


def redirected(status: int, place: str, provider: Provider) -> Failure:
    """A redirect, which is not followed: the key and the pictures would go to another place."""
    advice = f"If that is the right place, set {provider.base_url_variable} to it"
    return Failure(f"it redirects to {place}", advice, status)


def status_failure(
    status: int,
    what: str,
    body: str,
    model: str,
    provider: Provider,
    wait: float | None = None,
    hint: str = "",
) -> Failure:
    """The failure of an HTTP status.

    what: the server's message. body: all that it sent, in which refusals are looked for. hint: what
    may be wrong with the base URL.
    """
    refusals = refusals_of(status, body, model)
    advice = {
        400: "The server refuses the request as it is; see its words, or use another model",
        401: f"Check {provider.key_variables[0]}",
        402: "Check the account's credit",
        403: "This key may not use the model: check its rights, or the region",
        404: f"Check the model's name and {provider.base_url_variable}{hint}",
        413: "Make the picture smaller",
        429: "Wait, or ask for a higher rate limit",
    }.get(status, "Try again later")
    retry = status in RETRIED and not refusals
    return Failure(what, advice, status, retry, wait, refusals, numbers_in(what))


def retry_after(headers: Any) -> float | None:
    """The seconds that a response's Retry-After headers ask for; None when there are none."""
    value = headers.get("retry-after-ms")
    if value is not None and re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value) / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # a date of year 0, a time zone of 99 hours
        return None
    return max(0.0, seconds)


def root_cause(error: BaseException) -> BaseException:
    """The first cause of an exception."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def unknown_host(error: BaseException) -> bool:
    """Whether the host's name is wrong; a name server that does not answer may do so later."""
    cause = root_cause(error)
    return isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN


def unsendable(error: BaseException) -> bool:
    """Whether a request could not even be written: an address or header that HTTP does not know."""
    kinds = ("LocalProtocolError", "UnsupportedProtocol", "InvalidURL")
    cause: BaseException | None = error
    while cause is not None and type(cause).__name__ not in kinds:
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def not_connected(error: BaseException) -> bool:
    """Whether no connection was made for a reason that trying again seldom mends: nothing listens
    on that port, there is no route to that host, or its certificate or protocol is wrong.
    """
    cause = root_cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return True
    if isinstance(cause, ssl.SSLError):
        return "WRONG_VERSION" in str(cause) or "RECORD_LAYER" in str(cause)
    if isinstance(cause, ConnectionRefusedError):
        return True
    return isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
