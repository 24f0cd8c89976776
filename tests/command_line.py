"""Runs `sam3-agent` in this process, and Python in one of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from sam3_agent.cli import app

ROOT = Path(__file__).parents[1]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def run_json(*arguments: object) -> dict[str, Any]:
    """The JSON object of a run with --json that exits with 0."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    out = json.loads(done.stdout)
    assert isinstance(out, dict)
    return out


def python(
    *arguments: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs Python with this checkout to import, and `env` added to the environment."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        capture_output=True,
        text=True,
        timeout=240,
    )
