"""Ctrl-C and SIGTERM: nothing more is paid for, what was paid is kept, one line says so."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT
from tests.stub_server import Request, Step, StubServer, call

SECONDS = 120
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


class Gate:
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
    gate = Gate(reply, enough=4, first=5)
    options = ["--planner", "openai:any", "--price", "1,1,1", "--limit", "12", "--workers", "4"]
    run = ["eval", "scenes", "--solver", solver, *options, "--out", str(tmp_path), "--json"]
    with StubServer(gate) as server, started(*run, server=server) as process:
        assert gate.arrived.wait(SECONDS)
        process.send_signal(number)
        assert "4 samples in flight get 30 s" in line_with(process, "stopping: no model is called")
        gate.release.set()
        out, err = process.communicate()
    assert (process.returncode, out) == (code, "")
    assert "stopped with 12 samples left to ask; continue with --out" in err
    assert "Traceback" not in err
    assert len(server.requests) == 8
    kept = [line["cost"] for line in lines(tmp_path) if line["kind"] == "stopped"]
    assert kept == pytest.approx([220e-6] * 4)


def test_a_second_ctrl_c_ends_an_eval_at_once_and_its_file_stays_whole(tmp_path: Path) -> None:
    gate = Gate(LOOK, enough=2, first=1)
    run = ["eval", "scenes", "--planner", "openai:any", "--limit", "4", "--workers", "2"]
    with (
        StubServer(gate) as server,
        started(*run, "--out", str(tmp_path), server=server) as process,
    ):
        assert gate.arrived.wait(SECONDS)
        process.send_signal(signal.SIGINT)
        line_with(process, "again Ctrl-C: end at once")
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130  # while both replies are still held back
        gate.release.set()
    assert [line["kind"] for line in lines(tmp_path)] == ["run"]
