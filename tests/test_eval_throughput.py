"""Throughput of a run with many samples in flight against a slow model server."""

import time
from pathlib import Path

import pytest

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.results_file import Run, RunFile
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.runner import run_samples, select_samples
from sam3_agent.evals.solvers.agent import AgentSolver
from tests.stub_server import Request, Step, StubServer, call


def reply(request: Request) -> Step:
    """One concept call, then the answer with its first mask."""
    asked = any(message["role"] == "tool" for message in request.body["messages"])
    if asked:
        return call(("answer", {"text": "Here.", "numbers": []}))
    return call(("segment", {"phrases": ["car"]}))


def samples_per_second(agent: Agent, folder: Path, limit: int, workers: int) -> tuple[float, Run]:
    scenes = read("scenes", seed=21 + workers, limit=limit)
    with RunFile(folder, new_header({}, scenes.samples, limit)) as file:
        began = time.monotonic()
        done = run_samples(
            scenes, AgentSolver(agent), select_samples(scenes.samples), file, workers=workers
        )
        return limit / (time.monotonic() - began), done


def test_sixteen_workers_are_five_times_as_fast_or_reach_the_segmenters_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with StubServer(reply, latency=1.0) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        agent = Agent(registry.planner("openai:stub"), registry.segmenter("tiny"), verifier="none")
        samples_per_second(agent, tmp_path / "warm", 1, 2)
        alone, run_alone = samples_per_second(agent, tmp_path / "1", 3, 1)
        many, run_many = samples_per_second(agent, tmp_path / "16", 48, 16)
    assert all(row.error is None for row in [*run_alone.ordered, *run_many.ordered])
    segmenter = [float(row.usage["segmenter_seconds"]) for row in run_alone.ordered]
    bound = len(segmenter) / sum(segmenter)
    with capsys.disabled():
        print(
            f"\n1 worker {alone:.2f} samples/s, 16 workers {many:.2f} ({many / alone:.1f} x); "
            f"the segmenter alone could do {bound:.2f}"
        )
    assert many >= min(5 * alone, 0.8 * bound)
