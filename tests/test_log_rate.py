"""The log of a server under attack stays small."""

import logging

from sam3_agent.plugin.log_rate import LINES, SECONDS, LogRateFilter


def record(
    line: int, text: str, *args: object, error: Exception | None = None
) -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    return logging.LogRecord("any", logging.ERROR, "file.py", line, text, args, info)


def test_the_same_line_is_logged_so_often_and_then_counted() -> None:
    now = 0.0
    passes = LogRateFilter(lambda: now).filter
    kept = [passes(record(1, "failed %d", one)) for one in range(1000)]
    assert kept == [True] * LINES + [False] * (1000 - LINES)
    assert passes(record(2, "another"))
    assert passes(record(1, "failed", error=ValueError("x")))
    now = SECONDS
    later = record(1, "failed %d", 7)
    assert passes(later)
    assert later.getMessage() == f"failed 7 (and {1000 - LINES} more like it)"
