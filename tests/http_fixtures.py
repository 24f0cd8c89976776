"""For tests of the HTTP servers: an app on a loopback port in a thread, and raw requests."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sam3_agent.plugin.connections import ConnectionLimits
from sam3_agent.plugin.http_server import new_server
from sam3_agent.plugin.work_queue import WorkQueue


@contextlib.contextmanager
def serving(
    made: Any,
    queue: WorkQueue | None = None,
    **limits: Any,
) -> Iterator[int]:
    """The port of a server with these limits, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    all_limits = ConnectionLimits(**{"grace": 0.0, **limits})
    server = new_server(made, queue or WorkQueue(), all_limits)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


def connect(port: int, data: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
    made.sendall(data)
    return made


def everything(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    received = b""
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    return received


def answer(port: int, data: bytes) -> tuple[int, bytes]:
    """Status and rest of what a request is answered; 0 when the connection is closed instead."""
    connection = connect(port)
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)
    received = everything(connection)
    found = re.match(rb"HTTP/1.1 (\d{3})", received)
    return (int(found[1]) if found else 0), received


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)
