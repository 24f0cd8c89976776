"""ASGI middleware for untrusted callers: host, origin, token, size and pace of bodies."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sam3_agent.plugin.error_responses import error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_HELD_BODIES = 8
"""So many bodies of the largest size may be in memory at once, or more that are smaller."""

RETRY_SECONDS = 5

BUSY = f"the server is busy; try again in {RETRY_SECONDS} seconds"

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class AccessRules:
    """Which requests are served.

    token: the bearer token that a caller must send; None for no token. hosts: the names in the
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
    """Rejects requests that break the rules, before their body is read where possible.

    Starlette's TrustedHostMiddleware and RequestBodyLimitMiddleware answer in plain text, and
    neither limits the time of a body nor the memory of all bodies together.
    """

    def __init__(self, app: "ASGIApp", rules: AccessRules) -> None:
        self._app = app
        self._rules = rules
        self._requests = 0
        self._held_bytes = 0

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rejection = self._rejection(scope)
        if rejection is not None:
            status, kind, message = rejection
            headers = {"Connection": "close"}
            if status == 429:
                headers["Retry-After"] = str(RETRY_SECONDS)
            if status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            await error_response(status, kind, message, headers)(scope, receive, send)
            return
        counted = scope["path"] not in self._rules.free
        self._requests += counted
        try:
            with self._limited(receive) as limited:
                await self._app(scope, limited, send)
        finally:
            self._requests -= counted

    def _rejection(self, scope: "Scope") -> tuple[int, str, str] | None:
        """Status, kind and message for a request that is not served."""
        rules = self._rules
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if rules.hosts is not None and _host_name(host) not in rules.hosts:
            return 421, "host", "this server does not answer to this host name"
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return 403, "origin", "requests from other web pages are not answered"
        if scope["path"] in rules.free:
            return None
        if rules.token is not None:
            sent = headers.get(b"authorization", "").encode("latin-1")
            # compare_digest takes the same time wherever the difference is
            if not hmac.compare_digest(sent, f"Bearer {rules.token}".encode()):
                return 401, "token", "a bearer token is needed: Authorization: Bearer TOKEN"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal():
            return 400, "input", "the Content-Length is no number"
        if int(length[:20]) > rules.max_bytes:
            return 413, "too_large", self._too_large()
        if self._requests >= rules.requests:
            return 429, "busy", BUSY
        return None

    def _too_large(self) -> str:
        return f"the body is larger than {self._rules.max_bytes / 1e6:g} MB"

    @contextlib.contextmanager
    def _limited(self, receive: "Receive") -> Iterator["Receive"]:
        """`receive` that ends a body which is too large or too slow, with the proper status.

        The body counts as held until the request is answered.
        """
        size, complete = 0, False
        deadline = time.monotonic() + self._rules.body_seconds

        async def limited() -> "Message":
            from starlette.exceptions import HTTPException

            nonlocal size, complete
            if complete:  # what still comes is the notice that the caller has disconnected
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                seconds = self._rules.body_seconds
                raise HTTPException(
                    408, f"the body took longer than {seconds:g} seconds to arrive"
                ) from None
            more = len(message.get("body", b""))
            size, self._held_bytes = size + more, self._held_bytes + more
            complete = not message.get("more_body", False)
            if size > self._rules.max_bytes:
                raise HTTPException(413, self._too_large())
            if self._held_bytes > MAX_HELD_BODIES * self._rules.max_bytes:
                raise HTTPException(429, BUSY, {"Retry-After": str(RETRY_SECONDS)})
            return message

        try:
            yield limited
        finally:
            self._held_bytes -= size


def _host_name(header: str) -> str:
    """The host in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
