"""`sam3-agent serve`: the tools as a REST server."""

from typing import Annotated

import typer

from sam3_agent.commands.options import ModelOptions, command
from sam3_agent.commands.server import (
    AccessOptions,
    ServerOptions,
    listen,
    parse_address,
    run_http,
)
from sam3_agent.extras import require


@command
def serve(
    models: ModelOptions,
    server: ServerOptions,
    access: AccessOptions,
    http: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen.")
    ] = "127.0.0.1:8000",
) -> None:
    """Serve the tools over HTTP; /docs describes the paths."""
    address, limits = parse_address(http), server.limits()
    server.loader()  # raises for a wrong --root
    rules = access.rules(limits, address)
    packages = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
    require(*packages, purpose="sam3-agent serve")
    from sam3_agent.plugin import rest

    queue = limits.work_queue()
    app = rest.app(server.new_toolkit(models), queue, rules)
    run_http(app, queue, listen(address), "/docs", limits)
