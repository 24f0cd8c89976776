"""Runs `sam3-agent` in this process."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from sam3_agent.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def run_json(*arguments: object) -> dict[str, Any]:
    """The JSON object of a run with --json that exits with 0."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    out = json.loads(done.stdout)
    assert isinstance(out, dict)
    return out
