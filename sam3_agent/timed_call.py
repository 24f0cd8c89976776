"""Waits for calls that block, such as the look-up of a host name, no longer than their caller."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from sam3_agent import budget

T = TypeVar("T")

SLICE = 0.1
"""Seconds after which it is seen again whether the caller has stopped the question."""


def call_until(function: Callable[[], T], end: float) -> T:
    """What a function returns or raises; it runs in a thread that nobody waits for after the end.

    end: `time.monotonic()` when it must be over, or earlier when `budget.deadline` says so. Raises
    TimeoutError then, and StoppedError when the caller has stopped the question.
    """
    end = min(end, budget.deadline.get() or end)
    budget.refuse_if_stopped()
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=work, daemon=True, name="timed-call").start()
    while not wait([result], min(SLICE, max(0.0, end - time.monotonic()))).done:
        budget.refuse_if_stopped()
        if time.monotonic() >= end:
            raise TimeoutError
    return result.result()
