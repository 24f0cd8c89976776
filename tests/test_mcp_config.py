"""Options of `sam3-agent mcp` and `serve`: snippets for clients, and what cannot be served."""

import json
import os
import shlex
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from sam3_agent.cli import app
from tests.command_line import run
from tests.plugin_fixtures import DEMO, ROOT


def configured(client: str, *options: str) -> str:
    """What `sam3-agent mcp --config CLIENT` prints on stdout."""
    done = run("mcp", "--config", client, *options)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("claude-desktop", "mcpServers"),
        ("cursor", "mcpServers"),
        ("vscode", "servers"),
        ("windsurf", "mcpServers"),
        ("gemini-cli", "mcpServers"),
    ],
)
def test_a_client_with_a_json_file_gets_an_entry_that_starts_the_server(
    client: str, key: str
) -> None:
    options = (
        *("--root", str(DEMO), "--planner", "openai:any", "--effort", "fast"),
        *("--verifier", "none", "--max-usd", "0.5", "--tool-calls", "text"),
    )
    entry = json.loads(configured(client, *options))[key]["sam3-agent"]
    assert entry["command"] == sys.executable
    assert entry["args"][:3] == ["-m", "sam3_agent", "mcp"]
    assert set(options) <= set(entry["args"])


def test_the_other_clients_get_what_they_read() -> None:
    codex = tomllib.loads(configured("codex"))["mcp_servers"]["sam3-agent"]
    assert [codex["command"], *codex["args"]] == [sys.executable, "-m", "sam3_agent", "mcp"]
    words = shlex.split(configured("claude-code", "--root", "evals"))
    assert words[:5] == ["claude", "mcp", "add", "sam3-agent", "--"]
    assert words[-2:] == ["--root", str(ROOT / "evals")]
    home = shlex.split(configured("claude-code", "--root", "~"))
    assert home[-1] == os.path.realpath(os.path.expanduser("~"))
    unknown = run("mcp", "--config", "notepad")
    assert (unknown.exit_code, "choose claude-desktop" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(("options", "warned"), [((), True), (("--root", "evals"), False)])
def test_a_snippet_without_a_root_comes_with_a_warning_that_no_file_is_read(
    options: tuple[str, ...], warned: bool
) -> None:
    done = run("mcp", "--config", "cursor", *options)
    assert ("--root FOLDER" in done.stderr) is warned


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("mcp", "--http", "8000"), "is not HOST:PORT"),
        (("mcp", "--root", "no/such/folder"), "is no folder"),
        (("serve", "--http", "127.0.0.1:99999"), "is not HOST:PORT"),
        (("serve", "--http", "127.0.0.1:\u00b2"), "is not HOST:PORT"),
        (("serve", "--http", "127.0.0.1:\uff18\uff10"), "is not HOST:PORT"),
        (("mcp", "--http", "127.0.0.1:" + "9" * 5000), "is not HOST:PORT"),
        (("serve", "--http", "203.0.113.1:1"), "cannot listen on 203.0.113.1:1"),
        (("serve", "--effort", "heroic"), "choose fast, balanced"),
    ],
)
def test_what_cannot_be_served_ends_in_one_line_and_exit_2(
    arguments: tuple[str, ...], reason: str
) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert reason in done.stderr.splitlines()[-1]


def test_dollars_for_an_ask_need_the_price_of_the_model() -> None:
    options = ["--planner", "openai:own", "--segmenter", "tiny", "--max-usd", "1"]
    for command in (["mcp"], ["serve", "--http", "127.0.0.1:0"]):  # any free port
        done = CliRunner(env={"OPENAI_API_KEY": "none"}).invoke(app, [*command, *options])
        assert done.exit_code == 2
        assert "the price of openai:own is not known" in " ".join(done.stderr.split())
