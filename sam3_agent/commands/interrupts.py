"""Stops a command in order on Ctrl-C, SIGTERM or SIGHUP: what has been paid for is kept."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""The exit code of Ctrl-C, as shells count it: 130."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""What stops a run in order; SIGHUP, which Windows has not, comes when a terminal is closed."""

STOPPED = tuple(128 + number for number in SIGNALS)
"""The exit codes of a run that was stopped: 130, 143 for SIGTERM, 129 for SIGHUP."""


@dataclass
class StopSignal:
    """Whether a command was asked to stop, and its exit code then.

    requested: set by the first of SIGNALS. code: the one that belongs to it.
    """

    requested: threading.Event = field(default_factory=threading.Event)
    code: int = INTERRUPTED


@contextmanager
def stop_on_signal() -> Iterator[StopSignal]:
    """Lets the first of SIGNALS only set `requested`; a second one is raised as Ctrl-C is.

    Does nothing in another thread than the main one, and for a signal that this process ignores.
    """
    stop = StopSignal()

    def note(number: int, _: FrameType | None) -> None:
        if stop.requested.is_set():
            if number not in (signal.SIGINT, signal.SIGTERM):
                return  # SIGHUP of a closed terminal: the shell sends one, and the system another
            raise KeyboardInterrupt
        stop.code = 128 + number
        stop.requested.set()

    main = threading.current_thread() is threading.main_thread()
    caught = SIGNALS if main else ()
    watched = [number for number in caught if signal.getsignal(number) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, note)) for number in watched]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)
