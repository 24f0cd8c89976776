"""Limits how often a server logs the same thing, so that its callers cannot fill a disk."""

import logging
import time
from collections import deque
from collections.abc import Callable

LINES = 10
SECONDS = 60.0

MAX_KINDS = 1000


class LogRateFilter(logging.Filter):
    """Passes LINES records of a kind every SECONDS; the next one that passes counts the others.

    Records are of one kind that come from one line of code and have the same type of exception.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[object, deque[float]] = {}
        self._dropped: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        error = record.exc_info[0] if record.exc_info else None
        kind = (record.pathname, record.lineno, error)
        now = self._clock()
        if len(self._passed) > MAX_KINDS:
            self._passed.clear()
        passed = self._passed.setdefault(kind, deque(maxlen=LINES))
        if len(passed) == LINES and now - passed[0] < SECONDS:
            self._dropped[kind] = self._dropped.get(kind, 0) + 1
            return False
        passed.append(now)
        dropped = self._dropped.pop(kind, 0)
        if dropped:
            record.msg = f"{record.getMessage()} (and {dropped} more like it)"
            record.args = None
        return True
