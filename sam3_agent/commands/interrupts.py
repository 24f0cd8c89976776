"""Stops a command in order on Ctrl-C or SIGTERM: what has been paid for is kept."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""The exit codes of Ctrl-C and SIGTERM, as shells count them: 130 and 143."""


@dataclass
class StopSignal:
    """Whether a command was asked to stop, and its exit code then.

    requested: set by the first Ctrl-C or SIGTERM. code: the one that belongs to it.
    """

    requested: threading.Event = field(default_factory=threading.Event)
    code: int = INTERRUPTED


@contextmanager
def stop_on_signal() -> Iterator[StopSignal]:
    """Lets the first Ctrl-C or SIGTERM only set `requested`; a second one is raised as Ctrl-C is.

    Does nothing in another thread than the main one, and for a signal that this process ignores.
    """
    stop = StopSignal()

    def note(number: int, _: FrameType | None) -> None:
        if stop.requested.is_set():
            raise KeyboardInterrupt
        stop.code = 128 + number
        stop.requested.set()

    main = threading.current_thread() is threading.main_thread()
    both = (signal.SIGINT, signal.SIGTERM) if main else ()
    watched = [number for number in both if signal.getsignal(number) is not signal.SIG_IGN]
    before = [(number, signal.signal(number, note)) for number in watched]
    try:
        yield stop
    finally:
        for number, handler in before:
            signal.signal(number, handler)
