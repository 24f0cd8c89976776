"""The queue of a server: deadlines, callers that leave, fairness, and its end."""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sam3_agent import budget
from sam3_agent.errors import StoppedError
from sam3_agent.plugin.work_queue import (
    MAX_OVERDUE,
    BusyError,
    CallTimeoutError,
    ClosedError,
    WorkQueue,
    caller,
)
from tests.http_fixtures import until


class Blocked:
    """Work that goes on until it is released, whatever its caller does."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.released = threading.Event()

    def __call__(self, _: Any) -> str:
        self.began.set()
        assert self.released.wait(60)
        return "late"


def polling(_: Any) -> None:
    """Work that looks whether anybody still waits, as planners do."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        budget.refuse_if_stopped()


def asked(queue: WorkQueue, work: Callable[[Any], Any], client: str = "") -> "asyncio.Task[Any]":
    caller.set(client)  # a task begins with a copy of the context
    return asyncio.create_task(queue.run(work))


def _note(order: list[str], name: str, _: Any) -> None:
    order.append(name)


async def test_work_that_does_not_end_gives_its_worker_to_the_next_call() -> None:
    queue, blocked = WorkQueue(workers=1, waiting=1, seconds=0.2), Blocked()
    with pytest.raises(CallTimeoutError):
        await queue.run(blocked)
    queue.seconds = 60.0
    assert await queue.run(lambda _: "next") == "next"
    await until(lambda: not queue.active)
    assert (queue.overdue, len(queue.unfinished())) == (1, 1)
    blocked.released.set()
    await until(lambda: not queue.overdue)
    assert await queue.run(lambda _: "again") == "again"
    queue.close()


async def test_work_that_does_not_end_is_bounded() -> None:
    queue, blocked = WorkQueue(workers=1, waiting=0, seconds=0.05), Blocked()
    for _ in range(MAX_OVERDUE + 1):
        with pytest.raises(CallTimeoutError):
            await queue.run(blocked)
        await until(lambda: not queue.active)
    queue.seconds = 60.0
    with pytest.raises(BusyError):
        await queue.run(lambda _: "no thread left")
    blocked.released.set()
    await until(lambda: not queue.overdue)
    assert await queue.run(lambda _: "next") == "next"
    queue.close()


async def test_work_learns_when_it_must_end_and_that_its_caller_has_left() -> None:
    queue, seen = WorkQueue(workers=1, seconds=50), threading.Event()
    left = await queue.run(lambda _: (budget.deadline.get() or 0.0) - time.monotonic())
    assert 40 < left <= 45

    def work(report: Any) -> None:
        seen.set()
        try:
            polling(report)
        except StoppedError:
            seen.clear()
            raise

    asking = asked(queue, work)
    await until(seen.is_set)
    asking.cancel()
    await until(lambda: not queue.active)
    assert not seen.is_set()
    await queue.run(lambda _: budget.refuse_if_stopped())
    queue.close()


async def test_a_caller_that_leaves_while_it_waits_takes_no_place() -> None:
    queue, blocked = WorkQueue(workers=1, waiting=1), Blocked()
    first = asked(queue, blocked)
    await until(blocked.began.is_set)
    second = asked(queue, polling)
    await until(lambda: queue.active == 2)
    second.cancel()
    await until(lambda: queue.active == 1)
    blocked.released.set()
    assert await first == "late"
    queue.close()


async def test_one_client_that_fills_the_queue_makes_room_for_another() -> None:
    queue, blocked = WorkQueue(workers=1, waiting=4), Blocked()
    order: list[str] = []
    held = [asked(queue, blocked, "a")]
    await until(blocked.began.is_set)
    held += [asked(queue, lambda _: order.append("a"), "a") for _ in range(4)]
    await until(lambda: queue.active == 5)
    with pytest.raises(BusyError):
        await asked(queue, lambda _: None, "a")
    other = asked(queue, lambda _: order.append("b"), "b")
    await until(lambda: any(task.done() for task in held))
    blocked.released.set()
    results = await asyncio.gather(other, *held, return_exceptions=True)
    assert [type(one) for one in results].count(BusyError) == 1
    assert isinstance(results[-1], BusyError)  # the last that came
    assert sorted(order) == ["a", "a", "a", "b"]
    queue.close()


async def test_a_client_with_nothing_running_is_next() -> None:
    queue, first, second = WorkQueue(workers=2, waiting=8), Blocked(), Blocked()
    order: list[str] = []
    held = [asked(queue, first, "a"), asked(queue, second, "a")]
    await until(lambda: first.began.is_set() and second.began.is_set())
    tasks = [asked(queue, partial(_note, order, name), name) for name in "aaab"]
    await until(lambda: queue.active == 6)
    first.released.set()
    await asyncio.gather(*tasks)
    assert order == ["b", "a", "a", "a"]
    second.released.set()
    await asyncio.gather(*held)
    queue.close()


async def test_at_the_end_what_waits_is_refused_and_what_runs_has_a_grace_period() -> None:
    queue, blocked = WorkQueue(workers=1, waiting=2), Blocked()
    running = asked(queue, blocked)
    await until(blocked.began.is_set)
    waiting = asked(queue, polling)
    await until(lambda: queue.active == 2)
    draining = asyncio.create_task(queue.drain(60))
    with pytest.raises(ClosedError, match="shutting down"):
        await waiting
    with pytest.raises(ClosedError):
        await queue.run(polling)
    blocked.released.set()
    assert await running == "late"
    await draining

    queue = WorkQueue(workers=1)
    running = asked(queue, polling)
    await until(queue.unfinished)
    await queue.drain(0)
    with pytest.raises(ClosedError):
        await running
    await until(lambda: not queue.unfinished())
