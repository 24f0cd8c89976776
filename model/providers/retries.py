"""Sends a request to a model's API, and again after failures that may pass."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from sam3_agent.budget import deadline, refuse_if_stopped, stop_requested
from sam3_agent.errors import DeadlineError
from sam3_agent.model.providers.failures import Failure, RequestError, unsendable
from sam3_agent.model.providers.redaction import Redactor

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
"""How often one request is sent at most."""

MAX_WAIT = 600.0
"""Seconds; a server that asks for a longer pause is not waited for."""


def sleep_unless_stopped(seconds: float) -> None:
    """Wait, but no longer than until the caller stops the question."""
    event = stop_requested.get()
    if event is None:
        time.sleep(seconds)
    else:
        event.wait(seconds)


@dataclass(frozen=True)
class Retrier:
    """Sends the requests to one model, and words the errors of those that fail.

    provider, model: named in errors. secret: the API key, which no error or log shows. sleep: takes
    seconds; tests give their own.
    """

    provider: str
    model: str
    secret: str = ""
    attempts: int = ATTEMPTS
    max_wait: float = MAX_WAIT
    sleep: Callable[[float], None] = sleep_unless_stopped

    def send(self, request: Callable[[], T], diagnose: Callable[[Exception], Failure | None]) -> T:
        """The result of `request`.

        diagnose: what an exception means; None for one that is a bug and is raised as it is. Raises
        PlannerError when trying again is useless, too slow, or was done often enough.
        """
        for attempt in range(self.attempts):
            refuse_if_stopped()
            end = deadline.get()
            if end is not None and time.monotonic() >= end:
                raise DeadlineError("the time of this question is over")
            try:
                return request()
            except Exception as error:
                failure = diagnose(error)
                if failure is None:
                    raise
                if not failure.retry:
                    raise self.error(failure, error, tries=attempt + 1) from error
                if attempt + 1 == min(self.attempts, failure.tries or self.attempts):
                    note = f"after {attempt + 1} tries"
                    raise self.error(failure, error, note, attempt + 1) from error
                wait = failure.wait if failure.wait is not None else _backoff(attempt)
                self._pause(wait, failure, error, attempt + 1)
        raise AssertionError("every attempt returns or raises")

    def error(
        self, failure: Failure, cause: Exception | None = None, note: str = "", tries: int = 0
    ) -> RequestError:
        """The error of a failure: provider, model, status, what happened, what to do."""
        redactor = Redactor(self.secret)
        what = redactor.text(failure.what)
        redactor.exception(cause)
        status = f" answered {failure.status}" if failure.status is not None else ""
        message = f"{self.provider} model {self.model}{status}{' ' + note if note else ''}: {what}"
        shown = replace(failure, what=what)
        return RequestError(f"{message.rstrip('. ')}. {failure.advice}", shown, tries)

    @contextmanager
    def creating_client(self) -> Iterator[None]:
        """Make a client inside; a proxy that it cannot use is a PlannerError."""
        try:
            yield
        except Exception as error:  # what httpx raises for an address has no class of its own
            if not isinstance(error, (ImportError, ValueError)) and not unsendable(error):
                raise
            advice = "Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY"
            raise self.error(Failure(f"no client can be made: {error}", advice), error) from error

    def _pause(self, wait: float, failure: Failure, error: Exception, tries: int) -> None:
        """Wait before the next try, if the server and the deadline allow it."""
        end = deadline.get()
        if wait > self.max_wait:
            note = f"and asks to wait {wait:.0f} s, longer than {self.max_wait:.0f} s"
            raise self.error(failure, error, note, tries) from error
        if end is not None and wait > end - time.monotonic():
            over = time.monotonic() >= end
            why = (
                "the time of this question is over"
                if over
                else f"no time is left to wait {wait:.0f} s"
            )
            message = f"{why}: {self.error(failure, error)}"
            raise DeadlineError(message, tries) from error
        what = Redactor(self.secret).text(failure.what, 120)
        logger.warning("%s: %s; trying again in %.1f s", self.model, what, wait)
        self.sleep(wait)


def _backoff(attempt: int) -> float:
    """Seconds: 0.5, then double, at most 30, with a random part so that clients spread out."""
    return float(min(30.0, 0.5 * 2**attempt) * random.uniform(0.75, 1.25))
