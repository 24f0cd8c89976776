"""Limits the time of a whole call on the network: connecting, sending and reading.

HTTP clients count their timeouts from byte to byte, so a server that sends a byte a second is read
for ever. Here every operation on a socket gets the time that is left of the call, in slices short
enough to notice that nobody waits for the reply any more (`budget.abandoned`). An operation whose
slice is over is tried again, with the same bytes. Three cannot be cut into slices: the look-up of a
name runs in a thread that is left; a TLS handshake, and writing through two layers of TLS, get all
the time that is left at once.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, TypeVar

import httpcore2

from sam3_agent.budget import refuse_if_abandoned

T = TypeVar("T")

SLICE = 0.25
"""Seconds that one operation blocks at most, before it is checked whether the call goes on."""

PIECE = 16_384
"""Bytes that are sent at once: TLS reports a larger piece only when all of it has been sent."""


class TooMuchReadError(Exception):
    """A server has sent more bytes than one call may read."""


@dataclass
class Call:
    """One request and its response.

    end: `time.monotonic()` when it must be over. readable: bytes that may still be read from the
    network, with all headers and what is dropped, such as 1xx responses.
    """

    end: float
    readable: int

    def seconds_left(self, timeout: float | None) -> float:
        """The seconds that an operation may take; 0 or less when the call is over."""
        left = self.end - time.monotonic()
        return left if timeout is None else min(left, timeout)


_current: ContextVar[Call | None] = ContextVar("current_call", default=None)


@contextmanager
def calling(seconds: float, readable: int) -> Iterator[Call]:
    """Limit all that `LimitedBackend` does inside to so many seconds and bytes read."""
    call = Call(time.monotonic() + seconds, readable)
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


class LimitedBackend(httpcore2.NetworkBackend):
    """Connects as httpcore2 does, to streams that keep the limits of the call."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        call = _current.get()
        if call is None:
            return httpcore2.SyncBackend().connect_tcp(
                host, port, timeout, local_address, socket_options
            )
        left = call.seconds_left(timeout)

        def connect() -> httpcore2.NetworkStream:
            return httpcore2.SyncBackend().connect_tcp(
                host, port, max(left, 0.001), local_address, socket_options
            )

        return LimitedStream(_in_thread(connect, left))


class LimitedStream(httpcore2.NetworkStream):
    """A stream of httpcore2 that keeps the limits of the call that uses it.

    stream: of httpcore2. layers: of TLS in it; 2 with an https:// proxy.
    """

    def __init__(self, stream: httpcore2.NetworkStream, layers: int = 0) -> None:
        self._stream = stream
        self._layers = layers

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = _sliced(
            lambda seconds: self._stream.read(max_bytes, seconds), timeout, httpcore2.ReadTimeout
        )
        if (call := _current.get()) is not None:
            call.readable -= len(data)
            if call.readable < 0:
                raise TooMuchReadError("it sends more than a reply may have")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._layers > 1:  # the socket is not what has to be written to
            self._stream.write(buffer, timeout)
            return
        socket, rest = self._stream.get_extra_info("socket"), memoryview(buffer)

        def send(seconds: float | None) -> int:
            socket.settimeout(seconds)
            try:
                return int(socket.send(rest[:PIECE]))
            except TimeoutError as error:
                raise httpcore2.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from error

        while rest:
            rest = rest[_sliced(send, timeout, httpcore2.WriteTimeout) :]

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        call = _current.get()
        left = timeout if call is None else max(call.seconds_left(timeout), 0.001)
        # the limit of a handshake counts for all of it
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return LimitedStream(stream, self._layers + 1)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _sliced(
    operation: Callable[[float | None], T], timeout: float | None, over: type[Exception]
) -> T:
    """The result of an operation, tried in slices until its own timeout or the call is over.

    operation: takes a timeout in seconds and raises `over` after it, and can be tried again then.
    Raises `over` at the end, and StoppedError.
    """
    call = _current.get()
    if call is None:
        return operation(timeout)
    limit = time.monotonic() + call.seconds_left(timeout)
    while (left := limit - time.monotonic()) > 0:
        refuse_if_abandoned()
        try:
            return operation(min(left, SLICE))
        except over:
            pass
    raise over("the time of the call is over")


def _in_thread(
    connect: Callable[[], httpcore2.NetworkStream], seconds: float
) -> httpcore2.NetworkStream:
    """The connection that `connect` makes in a thread, since the look-up of a name has no timeout.

    Raises what it raises, ConnectTimeout after so many seconds, and StoppedError; a connection that
    is made later is closed.
    """
    found: queue.Queue[httpcore2.NetworkStream | Exception] = queue.Queue()
    left_alone = threading.Event()

    def work() -> None:
        try:
            found.put(connect())
        except Exception as error:
            found.put(error)
        if left_alone.is_set():
            _close_unused(found)

    def wait(timeout: float | None) -> httpcore2.NetworkStream | Exception:
        try:
            return found.get(timeout=timeout)
        except queue.Empty:
            raise httpcore2.ConnectTimeout("no connection in time") from None

    threading.Thread(target=work, daemon=True, name="connect").start()
    try:
        result = _sliced(wait, seconds, httpcore2.ConnectTimeout)
    except BaseException:
        left_alone.set()
        _close_unused(found)
        raise
    if isinstance(result, Exception):
        raise result
    return result


def _close_unused(found: "queue.Queue[httpcore2.NetworkStream | Exception]") -> None:
    """Close a connection that was made too late; called by both threads, for either may be last."""
    try:
        late = found.get_nowait()
    except queue.Empty:
        return
    if isinstance(late, httpcore2.NetworkStream):
        late.close()
