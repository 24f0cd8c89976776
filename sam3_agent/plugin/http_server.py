"""Runs an ASGI app on uvicorn, and ends within a stated time."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from sam3_agent.plugin.connections import ConnectionLimits, IdleConnections, LimitedProtocol
from sam3_agent.plugin.work_queue import WorkQueue

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 2.0
"""How long responses may take after the grace period of a shutdown is over."""

ACCEPTED_AT_ONCE = 32
"""Connections that asyncio accepts in one round, before any is counted."""

RESERVED_FILES = 128
"""Open files that are left for models, images and downloads."""

BACKLOG = 1024
"""Connections that the system holds until they are accepted."""


class LimitedServer(uvicorn.Server):
    """uvicorn that checks its connections, and ends within the grace period of a signal."""

    def __init__(
        self,
        config: uvicorn.Config,
        limits: ConnectionLimits,
        queue: WorkQueue,
    ) -> None:
        super().__init__(config)
        self._limits = limits
        self._queue = queue

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; asyncio takes one number for the system's backlog and for its own rounds."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Check all connections every second."""
        if counter % 10 == 0:
            self._check()
        return await super().on_tick(counter)

    def _check(self) -> None:
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                connection.check(now)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the shutdown; a second signal ends the process at once."""
        if self.should_exit:
            _end_by(sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running calls end within the grace period, answer the others 503, and end."""
        draining = asyncio.create_task(self._queue.drain(self._limits.grace))
        await super().shutdown(sockets)
        await draining
        left = self._queue.unfinished()
        if left and self._captured_signals:
            seconds = ", ".join(f"{one:.0f}" for one in left)
            logger.warning("abandoned %d calls that ran for %s seconds", len(left), seconds)
            _end_by(self._captured_signals[-1])


def run(
    app: Any,
    queue: WorkQueue,
    listening: socket.socket,
    limits: ConnectionLimits,
) -> None:
    """Serves until SIGINT or SIGTERM.

    Then waiting calls are answered 503 and running ones may end for `limits.grace` seconds; the
    process ends at most CLOSING_SECONDS later, whatever still runs.
    """
    events = sys.modules.get("sse_starlette.sse")
    if events is not None:  # it would cut off running MCP calls, without the grace period
        events.AppStatus.enable_automatic_graceful_drain = False
    new_server(app, queue, limits).run(sockets=[listening])


def new_server(
    app: Any,
    queue: WorkQueue,
    limits: ConnectionLimits,
) -> LimitedServer:
    """The server of an app, and of the queue in which its calls run."""
    idle = IdleConnections()
    config = uvicorn.Config(
        app,
        http=cast(Any, partial(LimitedProtocol, limits, idle)),
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # a caller on this machine may name any address of origin, unless the operator trusts it
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=round(limits.idle_seconds),
        timeout_graceful_shutdown=round(limits.grace + CLOSING_SECONDS),
    )
    return LimitedServer(config, limits, queue)


def open_file_limit(connections: int) -> int:
    """How many of so many connections the limit of open files allows, raised where possible."""
    needed = connections + RESERVED_FILES + 4 * ACCEPTED_AT_ONCE
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return connections
    return max(1, (soft - 4 * ACCEPTED_AT_ONCE) // 2)


def _end_by(sig: int) -> None:
    """End this process by a signal, without waiting for threads."""
    logging.shutdown()
    signal.signal(sig, signal.SIG_DFL)
    os.kill(os.getpid(), sig)
