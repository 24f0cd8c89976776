"""The gate: so much work at once, so much waiting, and a kind word for the rest."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar, cast

T = TypeVar("T")

Tell: TypeAlias = Callable[[Any], None]
"""How work says where it is; raises StoppedError when nobody listens any more."""


class BusyError(Exception):
    """No room; `retry_after` is the whole number of seconds after which there may be some."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server is busy; try again in {retry_after} seconds")
        self.retry_after = retry_after


class LateError(Exception):
    """The work took longer than a request may."""


class StoppedError(Exception):
    """Nobody waits for the work any more."""


class WorkQueue:
    """Runs work for async callers in threads of its own.

    running: how much at once. waiting: how much more may wait for its turn. seconds: how long one
    caller waits at most, for the turn and for the work.
    """

    def __init__(self, running: int = 2, waiting: int = 32, seconds: float = 300.0) -> None:
        self.running = running
        self.waiting = waiting
        self.seconds = seconds
        self.inside = 0
        self._typical = 1.0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(running, thread_name_prefix="sam3-agent")

    async def run(self, work: Callable[[Tell], T]) -> T:
        """What `work` returns or raises; see `stream`."""
        async with contextlib.aclosing(self.stream(work)) as steps:
            *_, last = [step async for step in steps]
        return cast(T, last)

    async def stream(self, work: Callable[[Tell], T]) -> AsyncGenerator[Any, None]:
        """What `work` tells on its way, and at the end what it returns.

        Raises BusyError at once when too much waits already, and LateError after `seconds`. A
        caller that leaves is gone at once; the work ends when it tells something next, with
        StoppedError, and keeps its place until then.
        """
        with self._lock:
            if self.inside >= self.running + self.waiting:
                raise BusyError(self.retry_after())
            self.inside += 1
        loop, stop = asyncio.get_running_loop(), threading.Event()
        told: asyncio.Queue[tuple[Any] | None] = asyncio.Queue()

        def tell(what: Any) -> None:
            if stop.is_set():
                raise StoppedError
            loop.call_soon_threadsafe(told.put_nowait, (what,))

        done = asyncio.wrap_future(self._pool.submit(self._work, work, tell, stop))
        done.add_done_callback(lambda future: told.put_nowait(None))
        # a caller that has left does not ask how it ended
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        deadline = time.monotonic() + self.seconds
        try:
            while (item := await self._next(told, deadline)) is not None:
                yield item[0]
        finally:
            stop.set()
        yield done.result()

    def retry_after(self) -> int:
        """Whole seconds until a place may be free, going by the work so far."""
        queue = max(1, self.inside - self.running + 1)
        return max(1, min(300, round(self._typical * queue / self.running)))

    def close(self) -> None:
        """Finish what is inside; nothing more may come."""
        self._pool.shutdown(wait=True)

    async def _next(self, told: "asyncio.Queue[tuple[Any] | None]", deadline: float) -> Any:
        try:
            return await asyncio.wait_for(told.get(), max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise LateError(f"this took longer than {self.seconds:g} seconds") from None

    def _work(self, work: Callable[[Tell], T], tell: Tell, stop: threading.Event) -> T:
        began = time.monotonic()
        try:
            if stop.is_set():
                raise StoppedError
            return work(tell)
        finally:
            with self._lock:
                self.inside -= 1
                self._typical += 0.2 * (time.monotonic() - began - self._typical)
