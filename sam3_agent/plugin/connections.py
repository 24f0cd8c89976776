"""Connections of an HTTP server with limits on the time of heads, bodies and responses.

uvicorn has no deadline for the head of a request and none for a client that does not read, and
above its limit of connections it rejects the new ones, so that idle connections keep everybody
else out. The protocol here adds these to uvicorn's own; hypercorn has no cap and extends its
timeout at every byte, granian is no pure Python and runs the app in processes of its own.

A connection goes through these states, each with a limit that `check` looks at:

1. A head is awaited, since the connection was made or the head's first byte came (`_head_since`).
   Between two requests uvicorn's keep-alive timeout holds. In both cases the connection is idle.
2. The app answers. The pace of the body is `AccessMiddleware`'s; here only chunks that are too
   small are refused, for their parsing would hold up the event loop.
3. The response is sent, and the client does not read it (`_blocked_since`): reset.
4. The response is complete, and the client still sends its body (`_ending_since`), or the
   connection is closed, and what was sent last is not read: closed, then reset.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sam3_agent.plugin.clients import client_name

LINGER_SECONDS = 2.0
"""How long a client may go on to send the body of a request that is answered already."""

RECEIVED_AT_ONCE = 16_384
"""Bytes that are parsed for one connection before the others have their turn."""

MAX_OVERHEAD = 1.1
"""Bytes received for each byte of a body in chunks; tiny chunks take seconds to parse."""

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
        # of the present body: bytes on the network, and bytes that they stand for
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
        """Take bytes of a head or a body, and note what the connection waits for now."""
        lingered = self._lingers()
        if self._head_since is None and self._waits() and not lingered:
            self._head_since = time.monotonic()
        cycle, held = self.cycle, 0 if self.cycle is None else len(self.cycle.body)
        super().data_received(data)
        if not self._waits():
            self._head_since = None
            self._idle.discard(self)
            same = self.cycle is cycle and self.conn.their_state is h11.SEND_BODY
            self._check_overhead(len(data), len(self.cycle.body) - held, same)
        elif lingered and not self._lingers():  # the rest of a body that nobody wanted has come
            self._head_since = time.monotonic()
            self._idle.add(self)

    def _check_overhead(self, received: int, body: int, same: bool) -> None:
        """Close the connection if its body comes in tiny chunks.

        received, body: bytes that came now, and how many the body has grown by. same: whether they
        belong to the body of which bytes came before.
        """
        if not same:
            self._received = self._body = 0
            return
        self._received += received
        self._body += body
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


def _older(since: float | None, now: float, seconds: float) -> bool:
    """Whether something began, longer ago than that."""
    return since is not None and now - since > seconds
