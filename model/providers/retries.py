"""What goes wrong between here and a model, and what is done about it."""

import errno
import logging
import random
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from sam3_agent.budget import deadline
from sam3_agent.errors import DeadlineError, PlannerError
from sam3_agent.model.providers.refusals import Refusal
from sam3_agent.sanitize import one_line

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
"""How often one request is sent at most."""

MAX_WAIT = 600.0
"""Seconds; a server that asks for a longer pause is not waited for."""

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""HTTP status codes after which the same request may succeed later."""

CONNECT_SECONDS = 10.0
"""How long to wait for a connection, however long the answer may take."""

_SECRETS = (
    (re.compile(r"\b(sk-|AIza|Bearer\s+)[A-Za-z0-9_\-.*]{6,}"), r"\1***"),
    (re.compile(r"://[^\s/@]+@"), "://***@"),
)
"""What looks like a key, or a password in an address."""

SHORT = 8
"""Characters below which a key of only letters or digits, such as "none", is a word, no secret."""


@dataclass(frozen=True)
class Failure:
    """A request that failed: what happened, what a person can do, and whether to send it again.

    wait: seconds that the server asked for (Retry-After), if it did. refusals: what the server
    refuses of the request, to learn from. numbers: those in its words, in order.
    """

    what: str
    advice: str
    status: int | None = None
    retry: bool = False
    wait: float | None = None
    refusals: tuple[Refusal, ...] = ()
    numbers: tuple[int, ...] = ()


class RequestError(PlannerError):
    """A request that failed for good; `fault` says how."""

    def __init__(self, message: str, fault: Failure, tries: int = 0) -> None:
        super().__init__(message, tries)
        self.fault = fault


@dataclass(frozen=True)
class Line:
    """The line to one model: how its faults are named, retried and waited for.

    secret: never shown, whatever a server says. sleep: takes seconds; tests give their own.
    """

    provider: str
    model: str
    secret: str = ""
    attempts: int = ATTEMPTS
    max_wait: float = MAX_WAIT
    sleep: Callable[[float], None] = time.sleep

    def send(
        self, request: Callable[[], T], diagnose: Callable[[Exception], Failure | None]
    ) -> tuple[T, int]:
        """The result of `request` and how many tries failed before it.

        `diagnose` says what an exception means; None for one that is a bug and flies. Raises
        PlannerError when trying again is useless, too slow, or was done often enough.
        """
        for attempt in range(self.attempts):
            end = deadline.get()
            if end is not None and time.monotonic() >= end:
                raise DeadlineError("the time of this question is over")
            try:
                return request(), attempt
            except Exception as error:
                fault = diagnose(error)
                if fault is None:
                    raise
                if not fault.retry:
                    raise self.error(fault, error, tries=attempt + 1) from error
                wait = fault.wait if fault.wait is not None else _backoff(attempt)
                if attempt + 1 == self.attempts:
                    note = f"after {self.attempts} tries"
                    raise self.error(fault, error, note, self.attempts) from error
                self._pause(wait, fault, error, attempt + 1)
        raise AssertionError("every attempt returns or raises")

    def error(
        self, fault: Failure, cause: Exception | None = None, note: str = "", tries: int = 0
    ) -> RequestError:
        """The error of a fault: provider, model, status, what happened, what to do."""
        status = f" answered {fault.status}" if fault.status is not None else ""
        said = self.redacted(fault.what)
        words = f"{self.provider} model {self.model}{status}{' ' + note if note else ''}: {said}"
        if cause is not None:
            self._redact(cause)
        shown = replace(fault, what=said)
        return RequestError(f"{words.rstrip('. ')}. {fault.advice}", shown, tries)

    def redacted(self, text: str, limit: int = 400) -> str:
        """A server's words on one line, without keys, and not endless."""
        return one_line(self._without_keys(text), limit)

    @contextmanager
    def setting_up(self) -> Iterator[None]:
        """Make a client inside; a proxy that it cannot use is a PlannerError."""
        try:
            yield
        except Exception as error:  # what httpx raises for an address has no class of its own
            if not isinstance(error, (ImportError, ValueError)) and not unsendable(error):
                raise
            advice = "Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
            raise self.error(Failure(f"no client can be made: {error}", advice), error) from error

    def _without_keys(self, text: str) -> str:
        wordlike = re.fullmatch("[A-Za-z]+|[0-9]+", self.secret) is not None
        if len(self.secret) >= SHORT and not wordlike:
            text = text.replace(self.secret, "***")
        elif self.secret and (len(self.secret) >= SHORT or not wordlike):
            text = re.sub(rf"(?<![\w.-]){re.escape(self.secret)}(?![\w-])", "***", text)
        for pattern, shown in _SECRETS:
            text = pattern.sub(shown, text)
        return text

    def _redact(self, error: BaseException | None) -> None:
        """Take the key out of an exception and its causes: a traceback or a log would show it."""
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            if self._without_keys(repr(error.args)) != repr(error.args):
                error.args = tuple(self._without_keys(str(arg)) for arg in error.args)
            for name in ("message", "body", "doc"):
                value = getattr(error, name, None)
                if value is not None and self._without_keys(str(value)) != str(value):
                    setattr(error, name, self._without_keys(str(value)))
            error = error.__cause__ or error.__context__

    def _pause(self, wait: float, fault: Failure, error: Exception, tries: int) -> None:
        end = deadline.get()
        if wait > self.max_wait:
            note = f"and asks to wait {wait:.0f} s, longer than {self.max_wait:.0f} s"
            raise self.error(fault, error, note, tries) from error
        if end is not None and wait > end - time.monotonic():
            said = str(self.error(fault, error))
            raise DeadlineError(f"no time is left to wait {wait:.0f} s: {said}", tries) from error
        said = self.redacted(fault.what, 120)
        logger.warning("%s: %s; trying again in %.1f s", self.model, said, wait)
        self.sleep(wait)


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
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


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
    """Whether no connection came about for a reason that trying again seldom mends: nothing listens
    on that port, there is no way to that host, or its certificate or protocol is wrong.
    """
    cause = root_cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return True
    if isinstance(cause, ssl.SSLError):
        return "WRONG_VERSION" in str(cause) or "RECORD_LAYER" in str(cause)
    if isinstance(cause, ConnectionRefusedError):
        return True
    return isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)


def _backoff(attempt: int) -> float:
    """0.5 s, then double, at most 30 s, with a random part so that clients do not march in step."""
    return float(min(30.0, 0.5 * 2**attempt) * random.uniform(0.75, 1.25))
