"""The benchmarks as tasks of inspect-ai, with a mock model."""

import importlib.util
import json
from pathlib import Path

import pytest

from tests.command_line import python

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(importlib.util.find_spec("inspect_ai") is None, reason="needs inspect-ai")
def test_a_benchmark_runs_as_an_inspect_task_with_its_own_metrics(tmp_path: Path) -> None:
    done = python("-m", "tests.inspect_program", tmp_path)
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout.splitlines()[-1])
    first, second = output["rows"]
    assert (first["text"], first["status"]) == ("Here it is.", "answered")
    assert (first["usage"]["turns"], first["usage"]["tool_calls"]) == (2, 2)
    assert first["usage"]["input_tokens"] == 200
    assert first["pred"]["boxes"] == [[10, 10, 100, 100]]
    assert second["status"] == "failed"
    assert "inspect:mockllm/model: overloaded" in second["error"]
    assert output["metrics"]["n"] == 2
    assert 0 <= output["metrics"]["giou"] < 0.6
