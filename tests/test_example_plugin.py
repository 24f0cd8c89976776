"""The example package: installed by pip into a folder, and used from the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command_line import python

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package was installed into."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(ROOT / "tests" / "example_plugin", folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([*pip, *options, str(folder / "source")], check=True, timeout=120)
    return folder / "site"


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """A picture whose left half is red."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40, 0] = 255
    path = tmp_path / "stripes.png"
    Image.fromarray(pixels).save(path)
    return path


def run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sam3-agent` in an environment with the package."""
    env = {"PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"}
    return python("-m", "sam3_agent.cli", *arguments, cwd=folder, env=env)


def result(installed: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    done = run(installed, folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


@pytest.mark.parametrize(
    ("planner", "segmenter"),
    [
        ("keyword", "color"),
        ("keyword:1", "color"),
        (
            "sam3_agent_example.planner:KeywordPlanner",
            "sam3_agent_example.segmenter:ColorSegmenter",
        ),
    ],
)
def test_its_planner_segmenter_and_tool_answer_a_question(
    installed: Path, tmp_path: Path, stripes: Path, planner: str, segmenter: str
) -> None:
    models = ["--planner", planner, "--segmenter", segmenter]
    answer = result(installed, tmp_path, "ask", str(stripes), "where is red?", *models)
    assert (answer["planner"], answer["segmenter"]) == ("keyword:1", "color")
    assert answer["status"] == "answered"
    assert answer["text"] == "1: 1600 pixels. (1)"
    (instance,) = answer["instances"]
    assert (instance["phrase"], instance["area"]) == ("red", 1600)


def test_its_benchmark_is_run_reported_and_its_version_recorded(
    installed: Path, tmp_path: Path
) -> None:
    models = ["--planner", "keyword", "--segmenter", "color", "--out", str(tmp_path / "run")]
    report = result(installed, tmp_path, "eval", "stripes", *models)
    assert report["metrics"]["n"] == 3
    assert report["metrics"]["ciou"] == 1.0
    header = json.loads((tmp_path / "run" / "run.jsonl").read_text().splitlines()[0])
    assert header["versions"]["sam3-agent-example"] == "0.1.0"
    page = run(installed, tmp_path, "report", str(tmp_path / "run"))
    assert page.returncode == 0, page.stderr


def test_its_names_are_suggested_and_checked(
    installed: Path, tmp_path: Path, stripes: Path
) -> None:
    wrong = run(installed, tmp_path, "ask", str(stripes), "red", "--planner", "keywort")
    assert wrong.returncode == 2
    assert "did you mean 'keyword'?" in wrong.stderr
    wrong = run(installed, tmp_path, "ask", str(stripes), "red", "--planner", "keyword:x")
    assert wrong.returncode == 2
    assert "'keyword:x' cannot be made: ValueError" in wrong.stderr
    wrong = run(installed, tmp_path, "eval", "stripe")
    assert "did you mean 'stripes'?" in wrong.stderr
    checks = result(installed, tmp_path, "doctor", "--planner", "keyword", "--segmenter", "color")
    assert {"what": "sam3-agent-example", "said": "0.1.0", "ok": None} in checks["checks"]


def test_its_parts_keep_the_contracts(installed: Path, tmp_path: Path) -> None:
    contracts = ROOT / "tests" / "example_plugin" / "contracts.py"
    options = ("-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull)
    env = {"PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"}
    done = python("-m", "pytest", contracts, *options, env=env)
    assert done.returncode == 0, done.stdout
