"""ASGI middleware for untrusted callers: host, origin, token, size and pace of bodies."""

import asyncio
import contextlib
import hmac
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sam3_agent.plugin.clients import client_name
from sam3_agent.plugin.error_responses import error_response
from sam3_agent.plugin.work_queue import BusyError, ClosedError, caller

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_HELD_BODIES = 8
"""So many bodies of the largest size may be in memory at once, or more that are smaller."""

MAX_CLIENT_BODIES = 6
"""So many of them of one client: bodies that stop before their end leave room for others."""

RETRY_SECONDS = 5

BUSY = str(BusyError(RETRY_SECONDS))

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

FIRST_SECONDS = 20.0
"""A body may take so long to begin; after that its bytes must come at BYTES_PER_SECOND."""

BYTES_PER_SECOND = 20_000

PART = 65_536
"""Bytes of a response that are handed on at once: a client that does not read holds no more."""

CLIENT_LEFT = 499
"""The status of a request whose client has left before it was complete; nobody gets it."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::\d{0,5})?")


@dataclass(frozen=True)
class AccessRules:
    """Which requests are served.

    token: the bearer token that a caller must send; None for no token. hosts: the names in the
        Host header that are answered, None for all: a server on loopback answers to loopback names
        only, so that no web page can reach it under a name of its own (DNS rebinding).
    origins: web pages of other servers that may send requests, such as https://example.com.
    max_bytes: the size of a body. body_seconds: how long it may take to arrive. requests: how many
        may be in progress, client_requests: of one client. free: paths that need no token and are
        not counted.
    """

    token: str | None = None
    hosts: frozenset[str] | None = LOOPBACK
    origins: frozenset[str] = frozenset()
    max_bytes: int = 70_000_000
    body_seconds: float = 60.0
    requests: int = 256
    client_requests: int = 128
    free: tuple[str, ...] = ("/health",)


class Requests:
    """Counts the requests in progress, of each client and of all."""

    def __init__(self, most: int, most_of_client: int) -> None:
        self._most = most
        self._most_of_client = most_of_client
        self._counts: Counter[str] = Counter()

    def full(self, client: str) -> bool:
        """Whether this client may not begin another one."""
        return self._counts.total() >= self._most or self._counts[client] >= self._most_of_client

    @contextlib.contextmanager
    def counted(self, client: str) -> Iterator[None]:
        """Count a request while it is in progress."""
        self._counts[client] += 1
        try:
            yield
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]


class HeldBytes:
    """Counts the bytes of bodies in memory, of each client and of all."""

    def __init__(self, most: int, most_of_client: int) -> None:
        self._most = most
        self._most_of_client = most_of_client
        self._counts: Counter[str] = Counter()

    def full(self, client: str) -> bool:
        """Whether too much is held, by this client or by all."""
        return self._counts.total() > self._most or self._counts[client] > self._most_of_client

    def add(self, client: str, size: int) -> None:
        """Note that a client has so many bytes more, or less."""
        self._counts[client] += size
        if not self._counts[client]:
            del self._counts[client]


class AccessMiddleware:
    """Rejects requests that break the rules, before their body is read where possible.

    Starlette's TrustedHostMiddleware and RequestBodyLimitMiddleware answer in plain text, and
    neither limits the time of a body nor the memory of all bodies together.
    """

    def __init__(self, app: "ASGIApp", rules: AccessRules) -> None:
        self.rules = rules
        self._app = app
        self._requests = Requests(rules.requests, rules.client_requests)
        self._held = HeldBytes(
            MAX_HELD_BODIES * rules.max_bytes, MAX_CLIENT_BODIES * rules.max_bytes
        )

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        rejection = self._rejection(scope, headers)
        if rejection is not None:
            await _reject(*rejection)(scope, receive, send)
            return
        client = client_name(scope.get("client"))
        if scope["path"] in self.rules.free:
            await self._serve(scope, receive, send, client)
            return
        if self._held.full(client) or self._requests.full(client):
            await _reject(429, "busy", BUSY)(scope, receive, send)
            return
        caller.set(client)
        with self._requests.counted(client):
            await self._serve(scope, receive, send, client)

    async def _serve(self, scope: "Scope", receive: "Receive", send: "Send", client: str) -> None:
        """Serve a request with the limits of bodies."""
        from starlette.exceptions import HTTPException

        started = False

        async def sent(message: "Message") -> None:
            nonlocal started
            started = True
            await send(message)

        with self._limited(receive, client) as limited, self._in_parts(sent, client) as in_parts:
            try:
                await self._app(scope, limited, in_parts)
            except asyncio.CancelledError:  # the grace period of a shutdown is over
                if not started:
                    await _reject(503, "closing", str(ClosedError()))(scope, receive, send)
            except HTTPException as error:  # of a body that is read outside of the app's handlers
                if started:
                    raise
                response = error_response(error.status_code, "http", error.detail, error.headers)
                await response(scope, receive, send)

    def _rejection(
        self, scope: "Scope", headers: dict[bytes, bytes]
    ) -> tuple[int, str, str] | None:
        """Status, kind and message for a request that is not served."""
        rules = self.rules
        # two readers may see the end of such a body at two places (request smuggling)
        if b"transfer-encoding" in headers and (
            b"content-length" in headers or scope["http_version"] == "1.0"
        ):
            return 400, "input", "the length of the body is not clear: give a Content-Length alone"
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if rules.hosts is not None and host_name(host) not in rules.hosts:
            return 421, "host", "this server does not answer to this host name"
        origin = headers.get(b"origin")
        if origin is not None and not self._may_send(origin.decode("latin-1").lower(), host):
            return 403, "origin", "requests from other web pages are not answered"
        if scope["path"] in rules.free:
            return None
        if rules.token is not None:
            scheme, _, sent = headers.get(b"authorization", b"").partition(b" ")
            # compare_digest takes the same time wherever the difference is
            same = hmac.compare_digest(sent.strip(), rules.token.encode())
            if scheme.lower() != b"bearer" or not same:
                return 401, "token", "a bearer token is needed: Authorization: Bearer TOKEN"
        length = headers.get(b"content-length", b"0").decode("latin-1")
        if not length.isdecimal():
            return 400, "input", "the Content-Length is no number"
        if int(length[:20]) > rules.max_bytes:
            return 413, "too_large", self._too_large()
        return None

    def _may_send(self, origin: str, host: str) -> bool:
        """Whether a web page of this origin may send requests: our own pages, and those listed.

        Nothing encrypts on loopback, but a proxy may do it for a host with a name.
        """
        own = {f"http://{host}"}
        if host_name(host) not in LOOPBACK:
            own.add(f"https://{host}")
        return origin in own | self.rules.origins

    def _too_large(self) -> str:
        return f"the body is larger than {self.rules.max_bytes / 1e6:g} MB"

    @contextlib.contextmanager
    def _limited(self, receive: "Receive", client: str) -> Iterator["Receive"]:
        """`receive` that ends a body which is too large or too slow, with the proper status.

        The body counts as held until the request is answered.
        """
        size, complete = 0, False
        began = time.monotonic()

        async def limited() -> "Message":
            from starlette.exceptions import HTTPException

            nonlocal size, complete
            if complete:  # what still comes is the notice that the caller has disconnected
                return await receive()
            seconds = min(self.rules.body_seconds, FIRST_SECONDS + size / BYTES_PER_SECOND)
            try:
                left = began + seconds - time.monotonic()
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError:
                raise HTTPException(
                    408, f"the body took longer than {seconds:g} seconds to arrive"
                ) from None
            if message["type"] == "http.disconnect":
                raise HTTPException(
                    CLIENT_LEFT, "the client has left before its request was complete"
                )
            more = len(message.get("body", b""))
            size += more
            self._held.add(client, more)
            complete = not message.get("more_body", False)
            if size > self.rules.max_bytes:
                raise HTTPException(413, self._too_large())
            if self._held.full(client):
                raise HTTPException(429, BUSY, {"Retry-After": str(RETRY_SECONDS)})
            return message

        try:
            yield limited
        finally:
            self._held.add(client, -size)

    @contextlib.contextmanager
    def _in_parts(self, send: "Send", client: str) -> Iterator["Send"]:
        """`send` that waits for a client to read each part of a body, which counts as held."""
        size = 0

        async def in_parts(message: "Message") -> None:
            nonlocal size
            body = message.get("body", b"")
            if len(body) <= PART:
                await send(message)
                return
            size += len(body)
            self._held.add(client, len(body))
            for start in range(0, len(body), PART):
                last = start + PART >= len(body)
                more = not last or message.get("more_body", False)
                part = body[start : start + PART]
                await send({"type": message["type"], "body": part, "more_body": more})

        try:
            yield in_parts
        finally:
            self._held.add(client, -size)


def _headers(scope: "Scope") -> dict[bytes, bytes]:
    """The headers by name in small letters; what comes twice is joined, as HTTP has it."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        name = name.lower()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def host_name(header: str) -> str:
    """The host in a Host header of small letters, without its port; empty if it is none."""
    found = _HOST.fullmatch(header)
    return found[1].strip("[]") if found else ""


def _reject(status: int, kind: str, message: str) -> "ASGIApp":
    """The response to a request that is not served."""
    headers = {}
    if status in (400, 421):
        headers["Connection"] = "close"  # where the next request begins may not be clear
    if status == 429:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return error_response(status, kind, message, headers)
