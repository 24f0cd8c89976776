"""A picture that is downloaded for a question takes no longer than the question may."""

import time

import pytest

from sam3_agent import Agent, Budget, ImageError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from tests.command_line import run
from tests.raw_server import OK, Connection, raw_server


def drip(connection: Connection) -> None:
    connection.read_head()
    connection.send(OK + b"\r\n")
    connection.drip(bytes(100_000), seconds=0.05)


def test_a_download_ends_with_the_seconds_of_the_question(segmenter: FakeSegmenter) -> None:
    agent = Agent(ScriptedPlanner([]), segmenter, budget=Budget(seconds=0.3))
    began = time.monotonic()
    with raw_server(drip) as server, pytest.raises(ImageError, match="took too long"):
        agent.ask(f"{server.url}/dog.png", "which dog?")
    assert time.monotonic() - began < 30


def test_max_seconds_of_the_command_line_counts_for_the_download() -> None:
    began = time.monotonic()
    with raw_server(drip) as server:
        done = run("ask", f"{server.url}/dog.png", "which dog?", "--max-seconds", "0.3")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "took too long" in done.stderr
    assert time.monotonic() - began < 30
