"""The door of an HTTP server: who may come in, with how much, and how slowly."""

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Any, Receive, Send], Awaitable[None]]

BODIES = 8
"""So many bodies of the largest size may be held at once, or more that are smaller."""

BUSY = "the server is busy; try again in 5 seconds"

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Rules:
    """Who may come in.

    token: the bearer token that a caller must show; None for no token. hosts: the names in the
        Host header that are answered, None for all: a server on loopback answers to loopback names
        only, so that no web page can reach it under a name of its own (DNS rebinding).
    max_bytes: the size of a body. body_seconds: how long it may take to arrive. requests: how many
        may be in progress. free: paths that need no token and are not counted.
    """

    token: str | None = None
    hosts: frozenset[str] | None = LOOPBACK
    max_bytes: int = 70_000_000
    body_seconds: float = 60.0
    requests: int = 256
    free: tuple[str, ...] = ("/health",)


class AccessMiddleware:
    """ASGI middleware that turns away what breaks the rules, before anything is read."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app = app
        self._rules = rules
        self._inside = 0
        self._held = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        counted = scope["path"] not in self._rules.free
        self._inside += counted
        try:
            with self._limited(receive) as limited:
                await self._app(scope, limited, send)
        finally:
            self._inside -= counted

    def _refusal(self, scope: Any) -> tuple[int, str, str] | None:
        """Status, kind and message for a request that may not come in."""
        rules = self._rules
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if rules.hosts is not None and _host(host) not in rules.hosts:
            return 421, "host", "this server does not answer to this host name"
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return 403, "origin", "requests from other web pages are not answered"
        if scope["path"] in rules.free:
            return None
        if rules.token is not None:
            shown = headers.get(b"authorization", "")
            wanted = f"Bearer {rules.token}"
            # compare_digest takes the same time wherever the difference is
            if not hmac.compare_digest(shown.encode("latin-1"), wanted.encode()):
                return 401, "token", "a bearer token is needed: Authorization: Bearer TOKEN"
        length = headers.get(b"content-length", "0")
        if not length.isdigit():
            return 400, "input", "the Content-Length is no number"
        if int(length[:20]) > rules.max_bytes:
            return 413, "too_large", self._too_large()
        if self._inside >= rules.requests:
            return 429, "busy", BUSY
        return None

    def _too_large(self) -> str:
        return f"the body is larger than {self._rules.max_bytes / 1e6:g} MB"

    @contextlib.contextmanager
    def _limited(self, receive: Receive) -> Iterator[Receive]:
        """`receive` that ends a body which is too large or too slow, with the proper status.

        The body counts as held until the request is answered.
        """
        size, complete = 0, False
        deadline = time.monotonic() + self._rules.body_seconds

        async def limited() -> Message:
            from starlette.exceptions import HTTPException

            nonlocal size, complete
            if complete:  # what follows is the news that the caller has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                seconds = self._rules.body_seconds
                raise HTTPException(
                    408, f"the body took longer than {seconds:g} seconds to arrive"
                ) from None
            more = len(message.get("body", b""))
            size, self._held = size + more, self._held + more
            complete = not message.get("more_body", False)
            if size > self._rules.max_bytes:
                raise HTTPException(413, self._too_large())
            if self._held > BODIES * self._rules.max_bytes:
                raise HTTPException(429, BUSY, {"Retry-After": "5"})
            return message

        try:
            yield limited
        finally:
            self._held -= size


def _host(value: str) -> str:
    """The host in a Host header, without its port."""
    try:
        return urlsplit(f"//{value}").hostname or ""
    except ValueError:
        return ""


def failure(kind: str, message: str) -> dict[str, dict[str, str]]:
    """The body of every refusal."""
    return {"error": {"kind": kind, "message": message}}


async def _refuse(send: Send, status: int, kind: str, message: str) -> None:
    body = json.dumps(failure(kind, message)).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 429:
        headers.append((b"retry-after", b"5"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
