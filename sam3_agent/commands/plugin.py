"""`sam3-agent mcp` and `sam3-agent serve`: the plugin as a server."""

import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sam3_agent import registry
from sam3_agent.agent import Agent
from sam3_agent.budget import Budget
from sam3_agent.commands.console import (
    AnyImageOption,
    EffortOption,
    MegapixelsOption,
    PlannerOption,
    PriceOption,
    SegmenterOption,
    ToolCallsOption,
    VerifierOption,
    VerifierPriceOption,
    chosen_verifier,
    or_exit,
    planner_options,
    say,
    say_models,
)
from sam3_agent.errors import InputError
from sam3_agent.extras import available, require
from sam3_agent.planner import Planner

if TYPE_CHECKING:
    from sam3_agent.plugin.middleware import AccessMiddleware, AccessRules
    from sam3_agent.plugin.toolkit import Toolkit

RootOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder whose pictures may be read; may be given again; without it no file is read."
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(envvar="SAM3_AGENT_TOKEN", help="The bearer token that callers must show."),
]
UrlsOption = Annotated[bool, typer.Option("--urls/--no-urls", help="Fetch https URLs.")]
StructuredOption = Annotated[
    bool,
    typer.Option(
        "--structured",
        help="Send structured content too, for programs; many assistants then hide the pictures "
        "from their model.",
    ),
]
HostOption = Annotated[
    list[str] | None,
    typer.Option(help="A host name under which the server is reached, besides loopback's."),
]
AskDollarsOption = Annotated[
    float | None, typer.Option(help="An ask sends nothing after so many US dollars.")
]
RunningOption = Annotated[int, typer.Option(min=1, help="Calls that run at once.")]
WaitingOption = Annotated[int, typer.Option(min=0, help="Calls that may wait; more get 429.")]
TimeoutOption = Annotated[float, typer.Option(min=1, help="Seconds that a call may take.")]
MemoryOption = Annotated[
    float,
    typer.Option(min=1, help="Megabytes that open images may take; those used longest ago go."),
]
MegabytesOption = Annotated[float, typer.Option(min=0.001, help="Refuse a larger file.")]


def mcp(
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    effort: EffortOption = "balanced",
    verifier: VerifierOption = None,
    tool_calls: ToolCallsOption = None,
    price: PriceOption = None,
    verifier_price: VerifierPriceOption = None,
    max_usd: AskDollarsOption = None,
    root: RootOption = None,
    urls: UrlsOption = True,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Streamable HTTP at /mcp instead of stdio."),
    ] = None,
    token: TokenOption = None,
    host: HostOption = None,
    structured: StructuredOption = False,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="CLIENT",
            help="Print what to put where: claude-desktop, claude-code, cursor, vscode, windsurf, "
            "gemini-cli, codex.",
        ),
    ] = None,
    running: RunningOption = 2,
    waiting: WaitingOption = 32,
    timeout: TimeoutOption = 300.0,
    max_memory: MemoryOption = 1000.0,
    max_megabytes: MegabytesOption = 32.0,
    max_megapixels: MegapixelsOption = 50.0,
    any_image: AnyImageOption = False,
) -> None:
    """Serve the tools to a chat assistant over MCP."""
    if config is not None:
        given = {
            "--planner": planner,
            "--segmenter": segmenter,
            "--effort": None if effort == "balanced" else effort,
            "--verifier": verifier,
            "--tool-calls": tool_calls,
            "--price": price,
            "--verifier-price": verifier_price,
            "--max-usd": max_usd,
        }
        flags = ["--no-urls"] * (not urls) + ["--structured"] * structured
        flags += ["--any-image"] * any_image
        or_exit(lambda: _print_config(config, given, root or [], flags))
        return
    address = or_exit(lambda: _address(http)) if http else None

    def run() -> None:
        require("mcp", "mcp_types", "uvicorn", extra="mcp", purpose="sam3-agent mcp")
        import anyio

        from sam3_agent.plugin import mcp_server, stdio
        from sam3_agent.plugin.work_queue import WorkQueue

        limits = (max_memory, max_megabytes, max_megapixels)
        brain = registry.planner(planner, **planner_options(tool_calls, price))
        checker = chosen_verifier(verifier, brain, verifier_price)
        budget = _budget(timeout, max_usd)
        agent = _agent(brain, checker, segmenter, effort, budget, max_megapixels, any_image)
        toolkit = _toolkit(agent, root or [], urls, limits)
        server = mcp_server.build(toolkit, WorkQueue(running, waiting, timeout), structured)
        if address is None:
            # the thread that waits for a line of stdin would hold Ctrl-C back until the next one
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            # a message may hold a picture that is too large, and is then told so
            anyio.run(stdio.serve_stdio, server, int(max_megabytes * 4e6) + 1_000_000)
            return
        rules = _rules(address[0], token, host or [], max_megabytes)
        _serve(mcp_server.http_app(server, rules), address, mcp_server.PATH, timeout)

    or_exit(run)


def serve(
    planner: PlannerOption = None,
    segmenter: SegmenterOption = None,
    effort: EffortOption = "balanced",
    verifier: VerifierOption = None,
    tool_calls: ToolCallsOption = None,
    price: PriceOption = None,
    verifier_price: VerifierPriceOption = None,
    max_usd: AskDollarsOption = None,
    address: Annotated[
        str, typer.Option("--http", metavar="HOST:PORT", help="Where to listen.")
    ] = "127.0.0.1:8000",
    root: RootOption = None,
    urls: UrlsOption = True,
    token: TokenOption = None,
    host: HostOption = None,
    running: RunningOption = 2,
    waiting: WaitingOption = 32,
    timeout: TimeoutOption = 300.0,
    max_memory: MemoryOption = 1000.0,
    max_megabytes: MegabytesOption = 32.0,
    max_megapixels: MegapixelsOption = 50.0,
    any_image: AnyImageOption = False,
) -> None:
    """Serve the tools over HTTP: /ask, /segment, /docs and their kin."""
    place = or_exit(lambda: _address(address))

    def run() -> None:
        require("fastapi", "uvicorn", "python_multipart", purpose="sam3-agent serve")
        from sam3_agent.plugin import rest
        from sam3_agent.plugin.work_queue import WorkQueue

        limits = (max_memory, max_megabytes, max_megapixels)
        brain = registry.planner(planner, **planner_options(tool_calls, price))
        checker = chosen_verifier(verifier, brain, verifier_price)
        budget = _budget(timeout, max_usd)
        agent = _agent(brain, checker, segmenter, effort, budget, max_megapixels, any_image)
        toolkit = _toolkit(agent, root or [], urls, limits)
        rules = _rules(place[0], token, host or [], max_megabytes)
        app = rest.app(toolkit, WorkQueue(running, waiting, timeout), rules)
        _serve(app, place, "/docs", timeout)

    or_exit(run)


def _budget(seconds: float, usd: float | None) -> Budget:
    """An ask ends by itself, with the best so far, before its caller is told that it is late."""
    return Budget(seconds=0.9 * seconds, usd=usd)


def _agent(
    planner: Planner,
    verifier: Planner | str | None,
    segmenter: str | None,
    effort: str,
    budget: Budget,
    megapixels: float,
    any_image: bool,
) -> Agent:
    agent = Agent(
        planner,
        segmenter,
        verifier=verifier,
        effort=effort,
        budget=budget,
        max_megapixels=megapixels,
        check_domain=not any_image,
    )
    say_models(agent.planner.name, agent.segmenter.name)
    return agent


def _toolkit(
    agent: Agent, root: list[Path], urls: bool, limits: tuple[float, float, float]
) -> "Toolkit":
    """The tools; limits: megabytes of all open images and of one file, megapixels of a picture."""
    from sam3_agent.plugin.download import Downloader
    from sam3_agent.plugin.image_loader import ImageLoader
    from sam3_agent.plugin.toolkit import Toolkit

    root = [folder.expanduser() for folder in root]  # clients start servers without a shell
    for folder in root:
        if not folder.is_dir():
            raise InputError(f"--root {folder} is no folder")
    memory, size, megapixels = limits[0] * 1e6, int(limits[1] * 1e6), limits[2]
    downloads = Downloader(max_bytes=size) if urls else None
    return Toolkit.of(agent, memory, loader=ImageLoader(tuple(root), downloads, size, megapixels))


def _rules(listen: str, token: str | None, hosts: list[str], megabytes: float) -> "AccessRules":
    from sam3_agent.plugin.middleware import LOOPBACK, AccessRules

    known = None if listen not in LOOPBACK and not hosts else LOOPBACK | set(hosts)
    if listen not in LOOPBACK and token is None:
        say(
            f"warning: {listen} is open to the network and no token is asked for: whoever reaches "
            "it can use your models; give --token or set SAM3_AGENT_TOKEN"
        )
    # a file takes a third more as a data URI
    return AccessRules(token=token, hosts=known, max_bytes=int(megabytes * 1.4e6) + 100_000)


def _serve(app: "AccessMiddleware", address: tuple[str, int], path: str, seconds: float) -> None:
    """Serve until SIGINT or SIGTERM, then finish what runs."""
    import uvicorn

    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server(address, family=family, backlog=256)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    shown = f"[{host}]" if ":" in host else host
    say(f"listening on http://{shown}:{listening.getsockname()[1]}{path}")
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=round(seconds) + 5,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"--http {text!r} is not HOST:PORT, such as 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def _print_config(
    client: str, given: Mapping[str, object], root: list[Path], flags: list[str]
) -> None:
    """The snippet for a client; given: options with their values, None where not given."""
    from sam3_agent.plugin.mcp_client_config import snippet

    command = [sys.executable, "-m", "sam3_agent", "mcp"]
    for option, value in given.items():
        command += [] if value is None else [option, str(value)]
    for folder in root:
        command += ["--root", str(folder.expanduser().resolve())]
    command += flags
    made = snippet(client, command)
    if not available("mcp", "uvicorn"):
        say("the server needs an extra first: pip install 'sam3-agent[mcp]'")
    if not root:
        say("the server will read no file of this machine: give --root FOLDER too to let it")
    say(f"{client}: {made.where}")
    typer.echo(made.text)
