"""Runs an ASGI app on uvicorn, with limits on connections and an end within a stated time.

uvicorn has no deadline for the head of a request and none for a client that does not read, and
above its limit of connections it rejects the new ones, so that idle connections keep everybody
else out. The subclasses here add these; hypercorn has no cap and extends its timeout at every
byte, granian is no pure Python and runs the app in processes of its own.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sam3_agent.plugin.clients import client_name
from sam3_agent.plugin.work_queue import WorkQueue

logger = logging.getLogger(__name__)

LINGER_SECONDS = 2.0
"""How long a client may go on to send the body of a request that is answered already."""

CLOSING_SECONDS = 2.0
"""How long responses may take after the grace period of a shutdown is over."""

ACCEPTED_AT_ONCE = 32
"""Connections that asyncio accepts in one round, before any is counted."""

RESERVED_FILES = 128
"""Open files that are left for models, images and downloads."""

RECEIVED_AT_ONCE = 16_384
"""Bytes that are parsed for one connection before the others have their turn."""

MAX_OVERHEAD = 1.1
"""Bytes received for each byte of a body in chunks; tiny chunks take seconds to parse."""

BACKLOG = 1024
"""Connections that the system holds until they are accepted."""

TIMEOUT_RESPONSE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

FULL_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n"
)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of all connections of a server.

    connections: open at once. Above it the one that has waited longest for a request is closed, of
        the client that has most of them. head_seconds: until the head of a request has arrived.
    idle_seconds: between two requests. write_seconds: in which a client must read 48 kB of what is
        sent, or the rest. grace: after a signal, in which running calls may end.
    """

    connections: int = 1000
    head_seconds: float = 10.0
    idle_seconds: float = 15.0
    write_seconds: float = 30.0
    grace: float = 10.0


class IdleConnections:
    """The connections that wait for a request, by client, the longest waiting first."""

    def __init__(self) -> None:
        self._clients: dict[str, dict[LimitedProtocol, None]] = {}

    def add(self, connection: "LimitedProtocol") -> None:
        """Add one at the end."""
        self._clients.setdefault(connection.client_name, {})[connection] = None

    def discard(self, connection: "LimitedProtocol") -> None:
        """Remove one, if it is there."""
        own = self._clients.get(connection.client_name, {})
        own.pop(connection, None)
        if not own:
            self._clients.pop(connection.client_name, None)

    def longest(self) -> "LimitedProtocol | None":
        """The first of the client that has most, or None."""
        most = max(self._clients.values(), key=len, default={})
        return next(iter(most), None)


class LimitedProtocol(H11Protocol):
    """A connection that is closed when its request or its response takes too long."""

    def __init__(self, limits: ConnectionLimits, idle: IdleConnections, **more: Any) -> None:
        super().__init__(**more)
        self._limits = limits
        self._idle = idle
        self._head_since: float | None = None
        self._blocked_since: float | None = None
        self._ending_since: float | None = None
        self._received = self._body = 0
        self.client_name = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; above the limit close the one that is idle for longest."""
        super().connection_made(transport)
        transport.max_size = RECEIVED_AT_ONCE  # type: ignore[attr-defined]
        self.client_name = client_name(self.client)
        self._head_since = time.monotonic()
        self._idle.add(self)
        if len(self.connections) > self._limits.connections:
            longest = self._idle.longest()
            assert longest is not None  # this one is idle
            longest.close(FULL_RESPONSE if longest is self else b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._idle.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        lingered = self._lingers()
        if self._head_since is None and self._waits() and not lingered:
            self._head_since = time.monotonic()
        cycle, held = self.cycle, 0 if self.cycle is None else len(self.cycle.body)
        super().data_received(data)
        if self._waits():
            if lingered and not self._lingers():  # the rest of a body that nobody wanted
                self._head_since = time.monotonic()
                self._idle.add(self)
            return
        self._head_since = None
        self._idle.discard(self)
        if self.cycle is not cycle or self.conn.their_state is not h11.SEND_BODY:
            self._received = self._body = 0
        else:
            self._received += len(data)
            self._body += len(self.cycle.body) - held
        if self._received > RECEIVED_AT_ONCE + MAX_OVERHEAD * self._body:
            self.logger.warning("A body in chunks that are too small.")
            self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self._waits() and not self._lingers() and not self.transport.is_closing():
            self._idle.add(self)

    def _lingers(self) -> bool:
        """Whether the response is sent, but not all of the request is received.

        What still comes is ignored: to close at once could take the response from the client.
        """
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self.conn.their_state is h11.SEND_BODY

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        super().pause_writing()
        self._blocked_since = time.monotonic()

    def resume_writing(self) -> None:
        """Note that the client has read."""
        super().resume_writing()
        self._blocked_since = None

    def close(self, response: bytes = b"") -> None:
        """Close an idle connection, with a last response."""
        self._idle.discard(self)
        if response:
            self.transport.write(response)
        self.transport.close()

    def check(self, now: float) -> None:
        """Close the connection if its client takes too long; called every second."""
        if self.transport.is_closing() or self._lingers():
            self._ending_since = self._ending_since or now
        else:
            self._ending_since = None
        limits = self._limits
        if _older(self._blocked_since, now, limits.write_seconds):
            self._reset()
        elif _older(self._ending_since, now, LINGER_SECONDS) and not self.transport.is_closing():
            self.transport.close()
        elif _older(self._ending_since, now, LINGER_SECONDS + limits.write_seconds):
            self._reset()  # what was sent last is not read
        elif _older(self._head_since, now, limits.head_seconds):
            begun, _ = self.conn.trailing_data
            self.close(TIMEOUT_RESPONSE if begun else b"")

    def _reset(self) -> None:
        """End the connection, and what the system still holds for its client."""
        used = self.transport.get_extra_info("socket")
        if used is not None and os.name == "posix":
            with contextlib.suppress(OSError):  # closed already
                used.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _waits(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete


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


def _older(since: float | None, now: float, seconds: float) -> bool:
    """Whether something began, longer ago than that."""
    return since is not None and now - since > seconds


def _end_by(sig: int) -> None:
    """End this process by a signal, without waiting for threads."""
    logging.shutdown()
    signal.signal(sig, signal.SIG_DFL)
    os.kill(os.getpid(), sig)
