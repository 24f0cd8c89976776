"""A server on loopback that writes whatever bytes a test wants, when it wants."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


@dataclass
class Connection:
    """One accepted connection; `over` is set when the test ends."""

    socket: socket.socket
    over: threading.Event

    def read_head(self) -> bytes:
        """The head of a request, and what of its body came with it."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65_536)
            if not piece:
                raise ConnectionError("the client has left")
            data += piece
        return data

    def read_request(self) -> bytes:
        """A whole request."""
        data = self.read_head()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(one[15:]) for one in lines if one.startswith(b"content-length:"))
        while len(body) < length:
            body += self.socket.recv(65_536)
        return head + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes, seconds: float = 0.1, piece: int = 1) -> None:
        """Send a byte at a time until the client leaves or the test ends."""
        for start in range(0, len(data), piece):
            self.send(data[start : start + piece])
            if self.over.wait(seconds):
                return


Handler: TypeAlias = Callable[[Connection], None]


@dataclass
class RawServer:
    """A running server."""

    port: int
    connections: list[Connection] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def raw_server(handler: Handler) -> Iterator[RawServer]:
    """Run `handler` for each connection in a thread, and close it after that."""
    over = threading.Event()

    def serve(connection: Connection) -> None:
        # a client that has left is what most of these tests want
        with contextlib.suppress(OSError), connection.socket:
            handler(connection)

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            connection = Connection(accepted, over)
            server.connections.append(connection)
            thread = threading.Thread(target=serve, args=(connection,))
            threads.append(thread)
            thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server, threads = RawServer(listener.getsockname()[1]), [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield server
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for one in server.connections:
                with contextlib.suppress(OSError):
                    one.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(20)


def reply(body: bytes, *headers: str, status: str = "200 OK", connection: str = "close") -> bytes:
    """A whole response."""
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Connection: {connection}",
        *headers,
    ]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode("latin-1") + body
