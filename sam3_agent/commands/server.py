"""What `sam3-agent mcp` and `sam3-agent serve` share: their options, and listening on HTTP."""

import logging
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sam3_agent.budget import Budget
from sam3_agent.commands.options import AnyImageOption, MegapixelsOption, ModelOptions
from sam3_agent.commands.output import print_models, print_stderr
from sam3_agent.errors import InputError
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.limits import ServerLimits, is_loopback
from sam3_agent.plugin.log_rate import LogRateFilter
from sam3_agent.plugin.middleware import AccessMiddleware, AccessRules
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.plugin.work_queue import WorkQueue
from sam3_agent.sanitize import shorten


@dataclass(frozen=True)
class ServerOptions:
    """What a server may read, and its limits; raises InputError for a limit that is too small."""

    root: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder whose images may be read; may be given several times. Default: no file "
            "is read."
        ),
    ] = None
    urls: Annotated[bool, typer.Option("--urls/--no-urls", help="Fetch https URLs.")] = True
    max_usd: Annotated[
        float | None, typer.Option(help="Most US dollars that one question may cost.")
    ] = None
    running: Annotated[int, typer.Option(min=1, help="Calls that run at once.")] = (
        ServerLimits.workers
    )
    waiting: Annotated[
        int,
        typer.Option(
            min=0,
            help="Calls that may wait; more get 429, of the client that has most of them first.",
        ),
    ] = ServerLimits.waiting
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a call may take.")] = (
        ServerLimits.seconds
    )
    grace: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds in which running calls may end after SIGTERM or Ctrl-C; the server ends "
            "at most 2 seconds later, whatever still runs. A second signal ends it at once.",
        ),
    ] = ServerLimits.grace
    max_memory: Annotated[
        float,
        typer.Option(
            min=1, help="Megabytes of all open images; the least recently used are closed."
        ),
    ] = ServerLimits.memory_megabytes
    max_megabytes: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of the largest image file.")
    ] = ServerLimits.megabytes
    max_megapixels: MegapixelsOption = ServerLimits.megapixels
    any_image: AnyImageOption = False

    def __post_init__(self) -> None:
        self.limits()
        Budget(usd=self.max_usd)

    def limits(self) -> ServerLimits:
        """The limits as a value."""
        return ServerLimits(
            workers=self.running,
            waiting=self.waiting,
            seconds=self.timeout,
            grace=self.grace,
            memory_megabytes=self.max_memory,
            megabytes=self.max_megabytes,
            megapixels=self.max_megapixels,
        )

    def loader(self) -> ImageLoader:
        """The loader of images; raises InputError for a root that is not a folder."""
        return self.limits().image_loader(self.root or [], self.urls)

    def new_toolkit(self, models: ModelOptions) -> Toolkit:
        """The tools of the server; loads the models."""
        limits = self.limits()
        agent = models.new_agent(
            budget=Budget(seconds=limits.ask_seconds, usd=self.max_usd),
            max_megapixels=limits.megapixels,
            check_domain=not self.any_image,
        )
        print_models(agent.planner.name, agent.segmenter.name)
        return Toolkit.of(agent, limits.memory_bytes, loader=self.loader())


@dataclass(frozen=True)
class AccessOptions:
    """The access rules of a server on HTTP."""

    token: Annotated[
        str | None,
        typer.Option(envvar="SAM3_AGENT_TOKEN", help="The bearer token that callers must send."),
    ] = None
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="A host name of this server besides localhost; may be given several times."
        ),
    ] = None
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="A web page that may call this server from a browser, such as "
            "https://example.com; may be given several times. Default: none.",
        ),
    ] = None

    def rules(self, limits: ServerLimits, address: tuple[str, int]) -> AccessRules:
        """The access rules; warns of a server in the network that asks for no token.

        Raises InputError for an address that cannot be used, which so is noticed before models are
        loaded, or not without a token or hosts.
        """
        with listen(address) as listening:
            ip = listening.getsockname()[0]
        rules = limits.rules(ip, self.token, self.host or [], self.cors or [])
        if not is_loopback(ip) and self.token is None:
            print_stderr(
                f"warning: {ip} can be reached from the network, and no token is required: "
                "everyone there can use your models; give --token or set SAM3_AGENT_TOKEN"
            )
        return rules


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; raises InputError."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise InputError(f"--http {shorten(text, 80)!r} is not HOST:PORT, such as 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def listen(address: tuple[str, int]) -> socket.socket:
    """A listening socket; raises InputError when the address cannot be used."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot listen on {host}:{port}: {reason}") from error


def run_http(
    app: AccessMiddleware,
    queue: WorkQueue,
    listening: socket.socket,
    path: str,
    limits: ServerLimits,
) -> None:
    """Serves until SIGINT or SIGTERM, see `http_server.run`."""
    from starlette.middleware.cors import CORSMiddleware

    from sam3_agent.plugin import http_server
    from sam3_agent.plugin.connections import ConnectionLimits

    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    most = http_server.open_file_limit(ConnectionLimits.connections)
    connections = ConnectionLimits(connections=most, grace=limits.grace)
    print_stderr(
        f"at most {limits.workers} calls run and {limits.waiting} wait; {most} connections, "
        f"{app.rules.requests} requests, of one client {app.rules.client_requests}"
    )
    print_stderr(f"listening on http://{shown}:{port}{path}")
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogRateFilter())
    # outside of the access rules: a preflight request has no token, and pages may read errors
    with_cors = CORSMiddleware(
        app,
        allow_origins=sorted(app.rules.origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Mcp-Session-Id", "Mcp-Protocol-Version", "Retry-After"],
    )
    served = with_cors if app.rules.origins else app
    http_server.run(served, queue, listening, connections)
