"""The benchmarks as tasks of inspect-ai, with a mock model."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import python

ROOT = Path(__file__).parents[1]

BY_NAME = """
import inspect_ai
from inspect_ai.model import ModelOutput, ModelUsage, get_model

output = ModelOutput.for_tool_call("mockllm/model", "answer", {"text": "None.", "numbers": []})
output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
(log,) = inspect_ai.eval(
    "sam3_agent/grounding",
    model=get_model("mockllm/model", custom_outputs=[output]),
    task_args={"limit": 1},
    log_dir="logs",
    display="none",
)
print(log.status, log.eval.task, log.samples[0].metadata["row"]["text"])
"""

METADATA = "import setuptools.build_meta as b; print(b.prepare_metadata_for_build_wheel('..'))"

needs_inspect = pytest.mark.skipif(
    importlib.util.find_spec("inspect_ai") is None, reason="needs inspect-ai"
)


@needs_inspect
def test_inspect_finds_the_task_by_its_name_once_the_package_is_installed(tmp_path: Path) -> None:
    site, source = tmp_path / "site-packages", tmp_path / "site-packages" / "source"
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for name in ("sam3_agent", "tools", "prompts", "model", "evals"):
        (source / name).symlink_to(ROOT / name)
    made = subprocess.run([sys.executable, "-c", METADATA], cwd=source, capture_output=True)
    assert made.returncode == 0, made.stderr.decode()
    (site / "sam3_agent").symlink_to(ROOT / "sam3_agent")
    done = python("-c", BY_NAME, cwd=tmp_path, env={"PYTHONPATH": str(site)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["success", "sam3-agent-scenes", "None."]


@needs_inspect
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
