"""The HTTP client of the SDKs: a call ends in time, and its reply has a bounded size.

It reads each response before the SDK does: decoded, as UTF-8, with the few headers that are of
use. So no header of a model server reaches code that trusts it, and redirects are not followed:
they would carry the key and the picture to another host.
"""

import os
import time
from typing import Any

import httpx2

from sam3_agent.budget import refuse_if_abandoned
from sam3_agent.model.providers.network import LimitedBackend, TooMuchReadError, calling
from sam3_agent.model.providers.wire import ReplyTooLargeError

MAX_REPLY = 8_000_000
"""Decoded bytes of a reply. The longest texts of models, 128,000 tokens, have less than 1 MB; what
JSON becomes in memory can be twenty times its size.
"""

MAX_ERROR = 64_000
"""Decoded bytes of an error that are read; the rest is left."""

MAX_READ = MAX_REPLY + 2_000_000
"""Bytes of one call on the network, with headers and the frames of chunks."""

DEFAULT_SECONDS = 600.0
"""Seconds of a call whose request has no timeout."""

KEPT_HEADERS = ("retry-after", "retry-after-ms", "location")


def bounded_client(client: httpx2.Client | None) -> httpx2.Client:
    """A client whose calls end in time and whose replies have a bounded size.

    client: what sends the requests; None for one with the proxies of the environment. Closing the
    bounded client closes it too.
    """
    return httpx2.Client(transport=_BoundedTransport(client), trust_env=False)


def _sending_client() -> httpx2.Client:
    """A client with the proxies of the environment, on sockets that keep the limits of a call."""
    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
    client = httpx2.Client(limits=limits)
    # httpx2 has no parameter for the network backend, which httpcore2 has
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx2.HTTPTransport):
            transport._pool._network_backend = LimitedBackend()
    return client


class _BoundedTransport(httpx2.BaseTransport):
    """Sends by a client, and gives responses that have been read.

    client: None for one of its own.
    """

    def __init__(self, client: httpx2.Client | None) -> None:
        self._renewed = client is None
        self._client = client or _sending_client()
        self._process = os.getpid()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._renewed and self._process != os.getpid():
            # open connections of the process that this one was forked from: both would read the
            # same replies
            self._client, self._process = _sending_client(), os.getpid()
        seconds = _seconds(request)
        with calling(seconds, MAX_READ) as call:
            try:
                response = self._client.send(request, stream=True, follow_redirects=False)
                try:
                    content = _content(response, call.end)
                finally:
                    response.close()
            except TooMuchReadError as error:
                raise ReplyTooLargeError(str(error)) from error
            except httpx2.RemoteProtocolError as error:
                if "buffer too long" not in str(error):
                    raise
                raise ReplyTooLargeError("it has headers without end") from error
        headers = [
            (name.encode(), response.headers[name].encode("ascii", "replace"))
            for name in KEPT_HEADERS
            if name in response.headers
        ]
        return httpx2.Response(response.status_code, headers=headers, content=content)

    def close(self) -> None:
        self._client.close()


def _seconds(request: httpx2.Request) -> float:
    """The seconds that a request may take in all: the longest of its timeouts."""
    timeouts: dict[str, Any] = request.extensions.get("timeout", {})
    return max((value for value in timeouts.values() if value is not None), default=DEFAULT_SECONDS)


def _content(response: httpx2.Response, end: float) -> bytes:
    """The decoded body, of an error only its beginning; raises ReplyTooLargeError."""
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if response.is_error and len(content) > MAX_ERROR:
            return bytes(content[:MAX_ERROR])
        if len(content) > MAX_REPLY:
            raise ReplyTooLargeError(f"it has more than {MAX_REPLY // 10**6} MB")
        refuse_if_abandoned()
        if time.monotonic() > end:
            raise httpx2.ReadTimeout("the time of the call is over", request=response.request)
    return bytes(content)
