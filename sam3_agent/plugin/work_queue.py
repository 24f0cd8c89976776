"""Limits concurrent work and rejects the rest: so many calls run, so many wait.

Clients share the workers: the next job is one of the client with the fewest that run. They share
the places to wait, too: when all are taken, the job that came last of the client with the most jobs
makes room for one of a client that has at least two fewer, so that a client alone may use all.

A job is queued, then it runs, then it has ended. One that runs when its caller's time is over is
overdue until it ends: it counts no longer as running, so that another thread may take its place.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, InvalidStateError
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

from sam3_agent import budget

logger = logging.getLogger(__name__)

T = TypeVar("T")

Report: TypeAlias = Callable[[Any], None]
"""Passes a progress report to the caller; raises AbandonedError when the caller has left."""

caller: ContextVar[str] = ContextVar("caller", default="")
"""The client whose calls are queued: the workers are shared fairly between clients."""

WORK_SHARE = 0.9
"""Share of a call's remaining time after which its work must end, so that it still can answer."""

MAX_OVERDUE = 4
"""Work per worker that may go on after its deadline; when there is more, calls are rejected."""

IDLE_SECONDS = 60.0
"""A thread that had no work for so long ends."""


class BusyError(Exception):
    """Too many calls wait already; `retry_after` is when to try again, in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server is busy; try again in {retry_after} seconds")
        self.retry_after = retry_after


class CallTimeoutError(Exception):
    """The work took longer than a call may."""


class AbandonedError(Exception):
    """The caller no longer waits for the work."""


class ClosedError(Exception):
    """The queue accepts nothing more, since the server ends."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


@dataclass(eq=False)
class _Job:
    """Work of one call.

    deadline: `time.monotonic()` when the caller waits no longer. stop: set when it does not wait
    any more, for this or another reason. began: when a worker took the job, else None.
    """

    work: Callable[[Report], Any]
    report: Report
    client: str
    deadline: float
    stop: threading.Event
    future: "Future[Any]" = field(default_factory=Future)
    began: float | None = None

    def run(self) -> None:
        """Do the work in this thread, with the context variables that make it end in time."""
        now = time.monotonic()
        budget.stop_requested.set(self.stop)
        budget.deadline.set(now + WORK_SHARE * (self.deadline - now))
        try:
            result = self.work(self.report)
        except BaseException as error:
            self.end(error=error)
        else:
            self.end(result)

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Give the caller a result or an error, unless it has one already."""
        with contextlib.suppress(InvalidStateError):
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)


class WorkQueue:
    """Runs work for async callers in threads of its own.

    workers: how much runs at once. waiting: how much more may wait for its turn. seconds: how long
    one caller waits at most, for the turn and for the work.

    Threads cannot be killed. Work gets `budget.stop_requested` and `budget.deadline` to end by; if
    it goes on after its deadline, it is overdue: another thread takes its place, while there are
    fewer than MAX_OVERDUE for each worker. The threads are daemons: they keep no process alive.
    """

    def __init__(self, workers: int = 2, waiting: int = 32, seconds: float = 300.0) -> None:
        self.workers = workers
        self.waiting = waiting
        self.seconds = seconds
        self._closed = False
        self._typical_seconds = 1.0
        self._lock = threading.Condition()
        self._queued: list[_Job] = []
        self._running: list[_Job] = []
        self._overdue: list[_Job] = []
        self._threads = 0

    @property
    def active(self) -> int:
        """Work that runs or waits."""
        return len(self._queued) + len(self._running)

    @property
    def overdue(self) -> int:
        """Work that goes on after its deadline."""
        return len(self._overdue)

    async def run(self, work: Callable[[Report], T]) -> T:
        """What `work` returns or raises; see `stream`."""
        async with contextlib.aclosing(self.stream(work)) as steps:
            *_, last = [step async for step in steps]
        return cast(T, last)

    async def stream(self, work: Callable[[Report], T]) -> AsyncGenerator[Any, None]:
        """What `work` reports while it runs, and at the end what it returns.

        Raises BusyError when too much waits, CallTimeoutError after `seconds`, and ClosedError when
        the queue is closed. A caller that leaves returns at once; the work ends at its next
        report with AbandonedError, or at its next model call, and counts as active until then.
        """
        loop, stop = asyncio.get_running_loop(), threading.Event()
        reports: asyncio.Queue[tuple[Any] | None] = asyncio.Queue()

        def report(step: Any) -> None:
            if stop.is_set():
                raise AbandonedError
            loop.call_soon_threadsafe(reports.put_nowait, (step,))

        job = _Job(work, report, caller.get(), time.monotonic() + self.seconds, stop)
        self._submit(job)
        release = loop.call_later(self.seconds, self._release, job)
        done = asyncio.wrap_future(job.future)
        done.add_done_callback(lambda future: reports.put_nowait(None))
        done.add_done_callback(lambda future: release.cancel())
        # fetched here, or asyncio warns of an exception that an abandoned caller never fetches
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        try:
            while (item := await self._next(reports, job.deadline)) is not None:
                yield item[0]
        finally:
            stop.set()
            self._forget(job)
        yield done.result()

    def retry_after(self) -> int:
        """Whole seconds until a worker may be free: a moving average of the work so far."""
        ahead = max(1, self.active - self.workers + 1)
        return max(1, min(300, round(self._typical_seconds * ahead / self.workers)))

    async def drain(self, seconds: float) -> None:
        """Reject what waits, let what runs go on for so long, then `close`."""
        with self._lock:
            self._closed = True
            queued, self._queued = self._queued, []
        for job in queued:
            job.end(error=ClosedError())
        until = time.monotonic() + seconds
        while time.monotonic() < until and not all(job.future.done() for job in self._running):
            await asyncio.sleep(0.05)
        self.close()

    def close(self) -> None:
        """Reject what waits and stop what runs, without waiting for its end."""
        with self._lock:
            self._closed = True
            jobs = [*self._queued, *self._running]
            self._queued.clear()
            self._lock.notify_all()
        for job in jobs:
            job.end(error=ClosedError())
            job.stop.set()

    def unfinished(self) -> list[float]:
        """Seconds for which each piece of work runs that has not ended yet."""
        with self._lock:
            jobs = [*self._running, *self._overdue]
        return [time.monotonic() - job.began for job in jobs if job.began is not None]

    async def _next(self, reports: "asyncio.Queue[tuple[Any] | None]", deadline: float) -> Any:
        try:
            return await asyncio.wait_for(reports.get(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise CallTimeoutError(f"this took longer than {self.seconds:g} seconds") from None

    def _submit(self, job: _Job) -> None:
        """Queue a job, if need be in place of another one; raises BusyError and ClosedError."""
        with self._lock:
            if self._closed:
                raise ClosedError
            if self.overdue > MAX_OVERDUE * self.workers:
                raise BusyError(self.retry_after())
            if self.active >= self.workers + self.waiting:
                self._displace(job.client)
            self._queued.append(job)
            self._lock.notify()
            self._start_threads()

    def _displace(self, client: str) -> None:
        """Reject the last job of the client that has most, unless `client` has as many; BusyError.

        So one client that fills the queue leaves it to the others as soon as they come.
        """
        busy = BusyError(self.retry_after())
        counts = Counter(job.client for job in [*self._queued, *self._running])
        last = max(self._queued, key=lambda job: counts[job.client], default=None)
        if last is None or counts[last.client] <= counts[client] + 1:
            raise busy
        last = next(job for job in reversed(self._queued) if job.client == last.client)
        self._queued.remove(last)
        last.end(error=busy)

    def _start_threads(self) -> None:
        """Start a thread for each queued job as far as the limits allow; the lock is held."""
        most = self.workers + min(self.overdue, MAX_OVERDUE * self.workers)
        # threads without a job, each of which takes one of those that are queued
        idle = self._threads - len(self._running) - self.overdue
        for _ in range(min(len(self._queued) - idle, most - self._threads)):
            self._threads += 1
            threading.Thread(target=self._work, name="sam3-agent", daemon=True).start()

    def _work(self) -> None:
        """Run jobs until there is none for long, or another thread has taken this one's place."""
        while (job := self._take()) is not None:
            copy_context().run(job.run)
            self._finish(job)
            del job  # an idle thread keeps no image alive

    def _take(self) -> _Job | None:
        """The next job: of the client with the fewest that run, the first; None to end."""
        with self._lock:
            # more threads than workers: an overdue job has ended after its place was taken
            surplus = self._threads - self.overdue > self.workers
            while not surplus and not self._queued and not self._closed:
                surplus = not self._lock.wait(IDLE_SECONDS)
            if not self._queued or self._threads - self.overdue > self.workers:
                self._threads -= 1
                return None
            running = Counter(job.client for job in self._running)
            job = min(self._queued, key=lambda job: running[job.client])
            self._queued.remove(job)
            job.began = time.monotonic()
            self._running.append(job)
            return job

    def _finish(self, job: _Job) -> None:
        """Count a job that has ended."""
        with self._lock:
            elapsed = time.monotonic() - (job.began or 0.0)
            self._typical_seconds += 0.2 * (elapsed - self._typical_seconds)
            (self._overdue if job in self._overdue else self._running).remove(job)

    def _forget(self, job: _Job) -> None:
        """Take a job whose caller has left out of the queue."""
        with self._lock:
            if job in self._queued:
                self._queued.remove(job)
                job.future.cancel()

    def _release(self, job: _Job) -> None:
        """Give the worker of a job that goes on after its deadline to the next one."""
        with self._lock:
            if job in self._running:
                self._running.remove(job)
                self._overdue.append(job)
                logger.warning("a call goes on after its deadline; it counts as overdue")
                self._start_threads()
