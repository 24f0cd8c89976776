"""Configuration snippets that put the MCP server into the usual clients."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sam3_agent.entry_points import suggestion
from sam3_agent.errors import InputError

NAME = "sam3-agent"


@dataclass(frozen=True)
class Snippet:
    """Configuration of a client: `text` is the content of a file, or a command to run."""

    where: str
    text: str


def snippet(client: str, command: Sequence[str]) -> Snippet:
    """Makes a client start the server with this command; InputError for an unknown client."""
    if client not in CLIENTS:
        near = suggestion(client, CLIENTS)
        raise InputError(f"there is no client {client!r}{near}; choose {', '.join(CLIENTS)}")
    return CLIENTS[client](list(command))


def _entry(command: list[str]) -> dict[str, Any]:
    return {"command": command[0], "args": command[1:]}


def _in_file(where: str, key: str = "mcpServers", **more: str) -> Callable[[list[str]], Snippet]:
    def made(command: list[str]) -> Snippet:
        content = {key: {NAME: {**more, **_entry(command)}}}
        return Snippet(where, json.dumps(content, indent=2))

    return made


def _codex(command: list[str]) -> Snippet:
    lines = [
        f"[mcp_servers.{NAME}]",
        f"command = {json.dumps(command[0])}",
        f"args = {json.dumps(command[1:])}",
    ]
    return Snippet("~/.codex/config.toml", "\n".join(lines))


def _claude_code(command: list[str]) -> Snippet:
    return Snippet("run in a terminal", f"claude mcp add {NAME} -- {shlex.join(command)}")


CLIENTS: dict[str, Callable[[list[str]], Snippet]] = {
    "claude-desktop": _in_file(
        "claude_desktop_config.json (Settings > Developer > Edit Config), then restart"
    ),
    "claude-code": _claude_code,
    "cursor": _in_file("~/.cursor/mcp.json, or .cursor/mcp.json in a project"),
    "vscode": _in_file(".vscode/mcp.json", key="servers", type="stdio"),
    "windsurf": _in_file("~/.codeium/windsurf/mcp_config.json"),
    "gemini-cli": _in_file("~/.gemini/settings.json"),
    "codex": _codex,
}
