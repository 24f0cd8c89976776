"""Worker processes of a training run, and how they end on Ctrl-C."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.multiprocessing as processes

from sam3_agent.errors import InputError, ModelError

GRACE = 60.0
"""Seconds in which workers end a step and save after Ctrl-C, before they are stopped."""


def work_together(work: Callable[..., None], job: tuple[Any, ...], workers: int) -> None:
    """Runs `work(rank, *job)` in several processes; on Ctrl-C waits until they have saved.

    Raises what a worker ended with, and KeyboardInterrupt.
    """
    running: Any = processes.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        work, args=job, nprocs=workers, join=False, start_method="spawn"
    )
    try:
        while not running.join():
            pass
    except processes.ProcessRaisedException as error:  # type: ignore[attr-defined]
        raise _raised_in_worker(error) from error
    except KeyboardInterrupt:
        for process in running.processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGINT)  # a terminal signals all, others the first
        for process in running.processes:
            process.join(GRACE)
        raise
    finally:
        for process in running.processes:
            if process.is_alive():
                process.terminate()


def _raised_in_worker(error: Exception) -> Exception:
    """The error of this package that a worker ended with, of which its traceback is left."""
    last = str(error).strip().splitlines()[-1]
    for kind in (InputError, ModelError):
        _, name, message = last.partition(f"sam3_agent.errors.{kind.__name__}: ")
        if name:
            return kind(message)
    return error


@contextmanager
def interrupt_noted(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C inside sets the event; outside the main thread it cannot be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
