"""What goes wrong between here and a model, and what is done about it."""

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from sam3_agent.errors import PlannerError
from sam3_agent.usage import deadline

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
"""How often one request is sent at most."""

MAX_WAIT = 600.0
"""Seconds; a server that asks for a longer pause is not waited for."""

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""HTTP status codes after which the same request may succeed later."""

_SECRET = re.compile(r"\b(sk-|AIza|Bearer\s+)[A-Za-z0-9_\-.*]{6,}")


@dataclass(frozen=True)
class Fault:
    """A request that failed: what happened, what a person can do, and whether to send it again.

    wait: seconds that the server asked for (Retry-After), if it did.
    """

    what: str
    advice: str
    status: int | None = None
    retry: bool = False
    wait: float | None = None


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
        self, request: Callable[[], T], diagnose: Callable[[Exception], Fault | None]
    ) -> tuple[T, int]:
        """The result of `request` and how many tries failed before it.

        `diagnose` says what an exception means; None for one that is a bug and flies. Raises
        PlannerError when trying again is useless, too slow, or was done often enough.
        """
        for attempt in range(self.attempts):
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
        self, fault: Fault, cause: Exception | None = None, note: str = "", tries: int = 0
    ) -> PlannerError:
        """The PlannerError of a fault: provider, model, status, what happened, what to do."""
        status = f" answered {fault.status}" if fault.status is not None else ""
        said = self.redacted(fault.what)
        words = f"{self.provider} model {self.model}{status}{' ' + note if note else ''}: {said}"
        error = PlannerError(f"{words.rstrip('. ')}. {fault.advice}", tries)
        if cause is not None and self.redacted(str(cause)) != str(cause):
            # the cause would show the key in a traceback
            cause.args = tuple(self.redacted(str(arg)) for arg in cause.args)
        return error

    def redacted(self, text: str, limit: int = 400) -> str:
        """A server's words without keys, and not endless."""
        if self.secret:
            text = text.replace(self.secret, "***")
        text = _SECRET.sub(r"\1***", text)
        return text if len(text) <= limit else text[: limit - 1] + "…"

    def _pause(self, wait: float, fault: Fault, error: Exception, tries: int) -> None:
        end = deadline.get()
        left = min(self.max_wait, float("inf") if end is None else end - time.monotonic())
        if wait > left:
            note = f"and asks to wait {wait:.0f} s, longer than the {max(left, 0):.0f} s there are"
            raise self.error(fault, error, note, tries) from error
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


def _backoff(attempt: int) -> float:
    """0.5 s, then double, at most 30 s, with a random part so that clients do not march in step."""
    return float(min(30.0, 0.5 * 2**attempt) * random.uniform(0.75, 1.25))
