"""Ctrl-C and SIGTERM: nothing more is paid for, what was paid is kept, one line says so."""

import contextlib
import contextvars
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sam3_agent import Message, registry
from sam3_agent.budget import abandoned, stop_requested
from sam3_agent.errors import StoppedError
from tests.command_line import ROOT
from tests.stub_server import Request, Step, StubServer, call

SECONDS = 240
"""More than any of these processes takes on a busy machine."""


@contextlib.contextmanager
def started(*arguments: str, server: StubServer | None = None) -> Iterator[subprocess.Popen[str]]:
    """`sam3-agent` in a process of its own; killed when the test ends first."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "stub", "COLUMNS": "200"}
    if server is not None:
        env["OPENAI_BASE_URL"] = server.openai_url
    command = [sys.executable, "-m", "sam3_agent", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def line_with(process: subprocess.Popen[str], words: str) -> str:
    """The next line on stderr with these words."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            return line
    raise AssertionError(f"no {words!r} in {seen}")


class HeldReplies:
    """A script of a stub server whose replies wait until `release`, from the `first`-th on.

    arrived: set once `enough` requests wait.
    """

    def __init__(self, reply: Step, enough: int, first: int = 1) -> None:
        self.arrived, self.release = threading.Event(), threading.Event()
        self._reply, self._enough, self._first = reply, enough, first
        self._count, self._lock = 0, threading.Lock()

    def __call__(self, request: Request) -> Step:
        with self._lock:
            self._count += 1
            number = self._count
        if number >= self._first + self._enough - 1:
            self.arrived.set()
        if number >= self._first:
            self.release.wait(SECONDS)
        return self._reply


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run.jsonl").read_text("utf-8").splitlines()]


LOOK = call(("segment", {"phrases": ["dog"]}))
PHRASE = call(("segment_phrase", {"text_prompt": "dog"}))


@pytest.mark.parametrize(
    ("number", "code", "solver", "reply"),
    [(signal.SIGINT, 130, "agent", LOOK), (signal.SIGTERM, 143, "reference", PHRASE)],
)
def test_a_stopped_eval_calls_no_model_and_keeps_what_the_calls_in_flight_have_cost(
    number: signal.Signals, code: int, solver: str, reply: Step, tmp_path: Path
) -> None:
    held = HeldReplies(reply, enough=4, first=5)
    options = ["--planner", "openai:any", "--price", "1,1,1", "--limit", "12", "--workers", "4"]
    run = ["eval", "scenes", "--solver", solver, *options, "--out", str(tmp_path), "--json"]
    with StubServer(held) as server, started(*run, server=server) as process:
        assert held.arrived.wait(SECONDS)
        process.send_signal(number)
        assert "4 samples in flight get 30 s" in line_with(process, "stopping: no model is called")
        held.release.set()
        out, err = process.communicate()
    assert (process.returncode, out) == (code, "")
    assert "stopped with 12 samples left to ask; continue with --out" in err
    assert "Traceback" not in err
    assert len(server.requests) == 8
    kept = [line["cost"] for line in lines(tmp_path) if line["kind"] == "stopped"]
    assert kept == pytest.approx([220e-6] * 4)


def test_a_second_ctrl_c_ends_an_eval_at_once_and_its_file_stays_whole(tmp_path: Path) -> None:
    held = HeldReplies(LOOK, enough=2, first=1)
    run = ["eval", "scenes", "--planner", "openai:any", "--limit", "4", "--workers", "2"]
    with (
        StubServer(held) as server,
        started(*run, "--out", str(tmp_path), server=server) as process,
    ):
        assert held.arrived.wait(SECONDS)
        process.send_signal(signal.SIGINT)
        line_with(process, "again Ctrl-C: end at once")
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130  # while both replies are still held back
        held.release.set()
    assert [line["kind"] for line in lines(tmp_path)] == ["run"]


ANSWER = call(("answer", {"text": "A red car.", "numbers": [1, 2]}))
CARS = call(("segment", {"phrases": ["red car"]}))


@pytest.mark.parametrize(("first", "enough"), [(1, 1), (3, 3)], ids=["planner", "checks"])
def test_ctrl_c_in_an_ask_ends_it_at_once_in_one_line(
    first: int, enough: int, tmp_path: Path
) -> None:
    """Neither the planner's reply nor the three votes of a check are waited for."""
    waiting = HeldReplies(ANSWER, enough=enough, first=first)

    def play(request: Request) -> Step:
        step = waiting(request)
        return CARS if len(request.body["messages"]) == 2 and first > 1 else step

    ask = ["ask", "evals/demo/red_cars.png", "the car", "--planner", "openai:any", "--json"]
    more = ["--effort", "thorough", "--out", str(tmp_path / "out"), "--record", str(tmp_path / "r")]
    with StubServer(play) as server, started(*ask, *more, server=server) as process:
        assert waiting.arrived.wait(SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130  # while the replies are still held back
        waiting.release.set()
        out, err = process.communicate()
    assert out == ""
    assert err.splitlines()[-1] == "stopped"
    assert "Traceback" not in err
    assert len(server.requests) == first + enough - 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("library", ["torch.nn", "transformers"])
def test_ctrl_c_while_a_library_is_imported_is_no_traceback(library: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "sam3_agent", "segment"]
    process = subprocess.Popen(
        [*command, "evals/demo/red_cars.png", "dog"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line_with(process, f" {library}")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "stopped"


@pytest.mark.parametrize("given_up", [False, True])
def test_a_reply_on_its_way_is_read_after_a_stop_unless_it_is_given_up(given_up: bool) -> None:
    stop, over = threading.Event(), threading.Event()
    waiting = HeldReplies(LOOK, enough=1)

    def ask(server: StubServer) -> Message:
        stop_requested.set(stop)
        abandoned.set(over)
        planner = registry.planner("openai:any", api_key="stub", base_url=server.openai_url)
        return planner.reply([Message("user", "Is there a dog?")], registry.tools())

    with StubServer(waiting) as server, ThreadPoolExecutor(1) as pool:
        reply = pool.submit(contextvars.copy_context().run, ask, server)
        assert waiting.arrived.wait(SECONDS)
        stop.set()
        if given_up:
            over.set()
            assert isinstance(reply.exception(SECONDS), StoppedError)
        waiting.release.set()
        assert given_up or reply.result(SECONDS).tool_calls[0].name == "segment"
