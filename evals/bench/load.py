"""Puts load on one agent and on one server: mixed calls, many at a time, some of them given up.

The calls ask questions about the demo pictures and segment concepts in them, with the planner
`offline` and the segmenter `tiny`. Every result is compared with that of the same call done alone.
"""

import asyncio
import base64
import http.client
import json
import multiprocessing
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import numpy as np

from sam3_agent.agent import Agent
from sam3_agent.evals.bench.measurement import Measurement, resident_memory
from sam3_agent.extras import require
from sam3_agent.images import Pixels, load_image
from sam3_agent.scene import Scene
from sam3_agent.serialization import instance_records

AT_A_TIME = 24
SAMPLES = 40
"""How often memory is read in a run."""

MOST_GROWTH = 10.0
"""MB that memory may grow in 1,000 calls, after the first quarter of them."""

PATIENCE = 120.0
"""Seconds after which a call, or the start of a server, counts as hanging."""


@dataclass(frozen=True)
class Call:
    """A question about a picture, or concepts to segment; given_up: its caller does not wait."""

    picture: str
    question: str = ""
    concepts: tuple[str, ...] = ()
    given_up: bool = False


KINDS = (
    Call("red_cars.png", "all red cars except the smallest"),
    Call("red_cars.png", "how many cars are there?"),
    Call("ducks.png", "the leftmost duck"),
    Call("vehicles.png", "the bus and the bicycle"),
    Call("shirts.png", "are all shirts blue?"),
    Call("trees.png", "which tree is the largest?"),
    Call("balloons.png", concepts=("balloon", "heart")),
    Call("horses.png", concepts=("horse",)),
    Call("books.png", concepts=("book", "red book", "cat")),
)

Answering = Callable[[Call], str | None]
"""Does a call; its result as a text, or None for one that was given up."""


class RefusedError(Exception):
    """The server has refused a call because it is busy, as it says that it may."""


@dataclass
class Outcome:
    """What became of the calls of a run.

    unlike: results that differ from those of the same calls done alone. errors: what was raised
    beside refusals. memory: (calls done, MB), read SAMPLES times. seconds: of each finished call.
    """

    unlike: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: int = 0
    given_up: int = 0
    memory: list[tuple[int, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def growth(self) -> tuple[float, float]:
        """Returns MB of memory for 1,000 calls, and its standard error.

        The slope of a line fitted by least squares, without the first quarter, in which caches of
        a limited size fill.
        """
        done, megabytes = zip(*self.memory[len(self.memory) // 4 :], strict=True)
        (slope, _), covariance = np.polyfit(done, megabytes, 1, cov=True)
        return 1000 * float(slope), 1000 * float(np.sqrt(covariance[0, 0]))


def measurements(number: int) -> Iterator[Measurement]:
    """Measures half of the calls on an agent in this process, half on a server of its own."""
    yield from agent_load(number // 2)
    yield from server_load(number // 2)


def agent_load(number: int) -> Iterator[Measurement]:
    """Measures calls on one agent from threads, from an event loop, and from a forked process."""
    agent = Agent("offline", "tiny")
    alone = {call: str(_answer(agent, call)) for call in KINDS}
    with _event_loop() as loop:
        outcome = run(calls(number), lambda call: _answer(agent, call, loop), alone)
    yield from rows(f"agent, {number} calls", outcome)
    yield from _forked_row(agent, alone)


def server_load(number: int) -> Iterator[Measurement]:
    """Measures calls on a REST server, which runs in a process of its own."""
    require("fastapi", "uvicorn", extra="serve", purpose="the load on a server")
    with _server() as (port, pid):
        alone = {call: str(_post(port, call)) for call in KINDS}
        outcome = run(calls(number), lambda call: _post(port, call), alone, pid)
    yield from rows(f"server, {number} calls", outcome)


def calls(number: int) -> list[Call]:
    """Returns so many mixed calls, one in ten of them given up; always the same ones."""
    mixed = random.Random(0).choices(KINDS, k=number)
    return [replace(call, given_up=index % 10 == 9) for index, call in enumerate(mixed)]


def run(
    todo: list[Call], answer: Answering, alone: dict[Call, str], pid: int | None = None
) -> Outcome:
    """Does the calls, AT_A_TIME at a time.

    alone: the right results. pid: the process whose memory is read; None for this one.
    """
    outcome = Outcome()
    lock = threading.Lock()

    def work(call: Call) -> None:
        began = time.monotonic()
        try:
            result = answer(call)
        except RefusedError:
            outcome.refused += 1
        except Exception as error:  # whatever it is, it is what this run looks for
            outcome.errors.append(f"{call}: {type(error).__name__}: {error}")
        else:
            with lock:
                outcome.given_up += result is None
                if result is not None:
                    outcome.seconds.append(time.monotonic() - began)
                    if result != alone[replace(call, given_up=False)]:
                        outcome.unlike.append(f"{call}: {result[:300]}")

    every = max(1, len(todo) // SAMPLES)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for done, _ in enumerate(as_completed([pool.submit(work, call) for call in todo]), 1):
            if done % every == 0:
                outcome.memory.append((done, resident_memory(pid)))
    return outcome


def rows(what: str, outcome: Outcome) -> Iterator[Measurement]:
    """Returns what a run has shown, each with its target."""
    about = f"{what}, {AT_A_TIME} at a time"
    note = f"{outcome.given_up} given up, {outcome.refused} refused as busy"
    for name, found in (("errors", outcome.errors), ("unlike the same alone", outcome.unlike)):
        first = f"the first: {found[0]}" if found else note
        yield Measurement(f"{about}: {name}", "calls", len(found), None, "0", not found, first)
    growth, error = outcome.growth()
    read = [round(megabytes) for _, megabytes in outcome.memory]
    yield Measurement(
        f"{about}: growth of memory in 1,000 calls",
        "MB",
        growth,
        None,
        f"at most {MOST_GROWTH:g}, beyond two standard errors",
        growth - 2 * error <= MOST_GROWTH,
        f"standard error {error:.1f}; {read[0]} MB at first, {read[-1]} at last",
    )
    p50, p95 = np.percentile(outcome.seconds, [50, 95])
    yield Measurement(f"{about}: 95 % end within", "s", p95, None, "", None, f"half in {p50:.2f} s")


# --- the agent ---


def _picture(name: str) -> bytes:
    return (files("sam3_agent.evals") / "demo" / name).read_bytes()


def _pixels(name: str) -> Pixels:
    return load_image(_picture(name))


def _answer(agent: Agent, call: Call, loop: asyncio.AbstractEventLoop | None = None) -> str | None:
    """Does a call in this process; questions in `loop`, if one is given, every other time.

    One that is given up is cancelled in the loop before it can end.
    """
    image = _pixels(call.picture)
    if call.concepts:
        scene = Scene(image, agent.segmenter)
        scene.segment(call.concepts)
        numbers = range(1, len(scene.masks) + 1)
        return json.dumps(instance_records(scene.masks, numbers))
    if loop is None or not (call.given_up or random.random() < 0.5):
        answer = agent.ask(image, call.question)
    else:
        asked = asyncio.run_coroutine_threadsafe(agent.aask(image, call.question), loop)
        if call.given_up and _gave_up(asked):
            return None
        answer = asked.result(PATIENCE)
    record = answer.to_dict()
    return json.dumps([record["status"], record["text"], record["instances"]])


def _gave_up(asked: "Future[Any]") -> bool:
    """Cancels a question after a few milliseconds; False if it has ended before."""
    try:
        asked.result(random.random() / 10)
    except TimeoutError:
        return asked.cancel()
    except CancelledError:
        return True
    return False


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A running event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _forked_row(agent: Agent, alone: dict[Call, str]) -> Iterator[Measurement]:
    """Measures a process that is forked while threads of this one ask the agent."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return
    context = multiprocessing.get_context("fork")

    def work() -> None:
        wrong = sum(_answer(agent, call) != result for call, result in alone.items())
        sys.exit(wrong)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        busy = [pool.submit(_answer, agent, call) for call in calls(AT_A_TIME * 2)]
        worker = context.Process(target=work)
        worker.start()
        for future in busy:
            future.result()
        worker.join(PATIENCE)
    hangs = worker.exitcode is None
    worker.kill()
    found = len(alone) if worker.exitcode is None or worker.exitcode < 0 else worker.exitcode
    note = f"it hangs after {PATIENCE:g} s" if hangs else f"exit code {worker.exitcode}"
    name = "a worker forked while the agent answers: unlike the same alone"
    yield Measurement(name, "calls", found, None, "0", found == 0, note)


# --- the server ---


@contextmanager
def _server() -> Iterator[tuple[int, int]]:
    """A REST server on loopback with its port and process id."""
    command = [sys.executable, "-m", "sam3_agent", "serve", "--http", "127.0.0.1:0"]
    command += ["--planner", "offline", "--segmenter", "tiny"]
    command += ["--max-memory", "100"]  # open images fill it in the first quarter of 400 calls
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            lines = iter(process.stderr)
            line = next(line for line in lines if line.startswith("listening on "))
            drain = threading.Thread(target=lambda: [None for _ in lines], daemon=True)
            drain.start()
            yield int(line.split("/docs")[0].rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def _post(port: int, call: Call) -> str | None:
    """Does a call by the server; one that is given up disconnects before the reply."""
    picture = base64.b64encode(_picture(call.picture)).decode()
    body: dict[str, Any] = {"image": f"data:image/png;base64,{picture}"}
    body |= {"phrases": list(call.concepts)} if call.concepts else {"query": call.question}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(
            "POST",
            "/segment" if call.concepts else "/ask",
            json.dumps(body),
            {"Content-Type": "application/json"},
        )
        if call.given_up:
            return None
        response = connection.getresponse()
        reply = json.loads(response.read())
    finally:
        connection.close()
    if response.status in (429, 503):
        raise RefusedError(reply)
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {reply}")
    shown = json.dumps([reply["status"], reply["text"], reply["masks"]])
    return shown.replace(reply["image"], "HANDLE")
