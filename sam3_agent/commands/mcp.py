"""`sam3-agent mcp`: the tools as an MCP server, for chat assistants."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from sam3_agent.commands.options import ModelOptions, command
from sam3_agent.commands.output import errors_as_exit_codes, print_stderr
from sam3_agent.commands.server import (
    AccessOptions,
    ServerOptions,
    listen,
    parse_address,
    run_http,
)
from sam3_agent.extras import available, require
from sam3_agent.plugin.loading import LoadingToolkit, load_beside
from sam3_agent.plugin.mcp_client_config import snippet
from sam3_agent.plugin.mcp_content import ContentOptions
from sam3_agent.plugin.mcp_sessions import IDLE_SECONDS, MAX_SESSIONS
from sam3_agent.plugin.result_size import Pictures
from sam3_agent.plugin.sessions import MAX_IMAGES
from sam3_agent.plugin.toolkit import Toolkit

Handles: TypeAlias = Literal["session", "shared"]


@dataclass(frozen=True)
class ResultOptions:
    """What results hold besides text, see `ContentOptions`."""

    structured: Annotated[
        bool,
        typer.Option(
            "--structured",
            help="Send structured content too, for programs; many assistants then hide the images "
            "from their model.",
        ),
    ] = False
    links: Annotated[
        bool,
        typer.Option(
            "--links",
            help="Send links to masks too; without them, the tool get_masks gives RLE, polygons or "
            "PNG. Many assistants turn links into broken files.",
        ),
    ] = False
    pictures: Annotated[
        Pictures,
        typer.Option(
            help="Pictures in results: full, thumbnail (512 pixels), or off, for assistants that "
            "turn pictures into text (google-adk) or show their model none."
        ),
    ] = "full"

    def content(self) -> ContentOptions:
        """The options of the MCP server."""
        return ContentOptions(self.structured, self.links, self.pictures)


@command
def mcp(
    models: ModelOptions,
    server: ServerOptions,
    access: AccessOptions,
    results: ResultOptions,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Streamable HTTP at /mcp instead of stdio."),
    ] = None,
    handles: Annotated[
        Handles,
        typer.Option(
            help="Over HTTP, whom a handle serves: the session that got it, or with `shared` "
            "whoever has it, for assistants that open a session for each call (langchain). Handles "
            f"cannot be guessed; {IDLE_SECONDS / 60:g} minutes unused, or when {MAX_IMAGES:,} "
            "images or --max-memory are reached, the least recently used are dropped."
        ),
    ] = "session",
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CLIENT",
            help="Print what to put where: claude-desktop, claude-code, cursor, vscode, windsurf, "
            "gemini-cli, codex.",
        ),
    ] = None,
) -> None:
    """Serve the tools to a chat assistant over MCP."""
    if config is not None:
        flags = [*_changed(results), *(["--handles", handles] if handles != "session" else [])]
        _print_config(config, models, server, flags)
        return
    address = None if http is None else parse_address(http)
    limits = server.limits()
    server.loader()  # raises for a wrong --root
    rules = None if address is None else access.rules(limits, address)
    require("mcp", "mcp_types", "uvicorn", extra="mcp", purpose="sam3-agent mcp")
    from sam3_agent.plugin import mcp_server

    queue, content, shared = limits.work_queue(), results.content(), handles == "shared"
    if address is None or rules is None:
        _serve_stdio(models, server, lambda one: mcp_server.build(one, queue, content))
        return
    toolkit = server.new_toolkit(models)
    built = mcp_server.build(toolkit, queue, content, shared)
    app = mcp_server.http_app(built, rules, toolkit.sessions)
    print_stderr(
        f"at most {MAX_SESSIONS:,} sessions, closed after {IDLE_SECONDS / 60:g} minutes unused, "
        f"and {MAX_IMAGES:,} images in {limits.memory_megabytes:,g} MB; handles: {handles}"
    )
    run_http(app, queue, listen(address), mcp_server.PATH, limits)


def _serve_stdio(
    models: ModelOptions, server: ServerOptions, build: Callable[[LoadingToolkit], Any]
) -> None:
    """Serves the client that has started this process; it is answered while the models load."""
    import anyio

    from sam3_agent.plugin import stdio

    # the thread that waits for a line of stdin would hold Ctrl-C back until the next one
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    loading = load_beside(lambda: server.new_toolkit(models), server.loader())
    serving = threading.Event()
    serving.set()
    loading.loaded.add_done_callback(lambda loaded: _end_without_models(loaded, serving))
    anyio.run(stdio.serve_stdio, build(loading), server.limits().line_bytes)
    serving.clear()
    loading.loaded.result()  # Python must not end in the middle of an import


def _end_without_models(loaded: Future[Toolkit], serving: threading.Event) -> None:
    """Ends the process if the models could not be loaded while it waits for its client."""
    try:
        with errors_as_exit_codes():
            if serving.is_set():
                loaded.result()
    except typer.Exit as ended:
        os._exit(ended.exit_code)


def _print_config(
    client: str, models: ModelOptions, server: ServerOptions, flags: list[str]
) -> None:
    """Prints the snippet that makes a client start this server with the options given."""
    command_line = [sys.executable, "-m", "sam3_agent", "mcp"]
    made = snippet(client, [*command_line, *_changed(models), *_changed(server), *flags])
    if not available("mcp", "uvicorn"):
        print_stderr("the server needs an extra first: pip install 'sam3-agent[mcp]'")
    if not server.root:
        print_stderr("the server will read no file of this machine unless you add --root FOLDER")
    print_stderr(f"{client}: {made.where}")
    typer.echo(made.text)


def _changed(options: Any) -> list[str]:
    """The options of a group that differ from their defaults, as on a command line."""
    out = []
    for field in fields(options):
        value, name = getattr(options, field.name), field.name.replace("_", "-")
        if value == field.default:
            continue
        if isinstance(value, bool):
            out.append(f"--{name}" if value else f"--no-{name}")
            continue
        for one in value if isinstance(value, list) else [value]:
            # the client starts the server in a folder of its own
            shown = one.resolve() if isinstance(one, Path) else one
            out += [f"--{name}", str(shown)]
    return out
