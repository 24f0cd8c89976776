"""Limits concurrent work and rejects the rest: so many calls run, so many wait."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar, cast

T = TypeVar("T")

Report: TypeAlias = Callable[[Any], None]
"""Passes a progress report to the caller; raises AbandonedError when the caller has left."""


class BusyError(Exception):
    """Too many calls wait already; `retry_after` is when to try again, in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server is busy; try again in {retry_after} seconds")
        self.retry_after = retry_after


class CallTimeoutError(Exception):
    """The work took longer than a call may."""


class AbandonedError(Exception):
    """The caller no longer waits for the work."""


class WorkQueue:
    """Runs work for async callers in threads of its own.

    workers: how much runs at once. waiting: how much more may wait for its turn. seconds: how long
    one caller waits at most, for the turn and for the work.
    """

    def __init__(self, workers: int = 2, waiting: int = 32, seconds: float = 300.0) -> None:
        self.workers = workers
        self.waiting = waiting
        self.seconds = seconds
        self.active = 0
        """Work that runs or waits."""
        self._typical_seconds = 1.0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="sam3-agent")

    async def run(self, work: Callable[[Report], T]) -> T:
        """What `work` returns or raises; see `stream`."""
        async with contextlib.aclosing(self.stream(work)) as steps:
            *_, last = [step async for step in steps]
        return cast(T, last)

    async def stream(self, work: Callable[[Report], T]) -> AsyncGenerator[Any, None]:
        """What `work` reports while it runs, and at the end what it returns.

        Raises BusyError at once when too much waits already, and CallTimeoutError after `seconds`.
        A caller that leaves returns at once; the work ends at its next report, with
        AbandonedError, and counts as active until then.
        """
        with self._lock:
            if self.active >= self.workers + self.waiting:
                raise BusyError(self.retry_after())
            self.active += 1
        loop, abandoned = asyncio.get_running_loop(), threading.Event()
        reports: asyncio.Queue[tuple[Any] | None] = asyncio.Queue()

        def report(step: Any) -> None:
            if abandoned.is_set():
                raise AbandonedError
            loop.call_soon_threadsafe(reports.put_nowait, (step,))

        done = asyncio.wrap_future(self._pool.submit(self._work, work, report, abandoned))
        done.add_done_callback(lambda future: reports.put_nowait(None))
        # fetched here, or asyncio warns of an exception that an abandoned caller never fetches
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        deadline = time.monotonic() + self.seconds
        try:
            while (item := await self._next(reports, deadline)) is not None:
                yield item[0]
        finally:
            abandoned.set()
        yield done.result()

    def retry_after(self) -> int:
        """Whole seconds until a worker may be free: a moving average of the work so far."""
        ahead = max(1, self.active - self.workers + 1)
        return max(1, min(300, round(self._typical_seconds * ahead / self.workers)))

    def close(self) -> None:
        """Finish the active work; nothing more is accepted."""
        self._pool.shutdown(wait=True)

    async def _next(self, reports: "asyncio.Queue[tuple[Any] | None]", deadline: float) -> Any:
        try:
            return await asyncio.wait_for(reports.get(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise CallTimeoutError(f"this took longer than {self.seconds:g} seconds") from None

    def _work(self, work: Callable[[Report], T], report: Report, abandoned: threading.Event) -> T:
        began = time.monotonic()
        try:
            if abandoned.is_set():
                raise AbandonedError
            return work(report)
        finally:
            with self._lock:
                self.active -= 1
                elapsed = time.monotonic() - began
                self._typical_seconds += 0.2 * (elapsed - self._typical_seconds)
