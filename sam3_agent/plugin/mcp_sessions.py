"""Bounds the sessions of MCP clients over HTTP, and keeps no idle stream open."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sam3_agent.plugin.error_responses import error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"mcp-session-id"

MAX_SESSIONS = 1000
"""Sessions that are open at once: one takes about 40 kB, beside the images that it opens."""

IDLE_SECONDS = 1800.0
"""After so long without a request a session is closed."""


def owner_of(session: str) -> str:
    """The owner of the images of a session, see `Sessions`."""
    return f"mcp {session}"


@dataclass
class _McpSession:
    """An open session.

    last: when its last request ended. requests: in progress. used: whether there was a request
    after the one that opened it.
    """

    last: float
    requests: int = 0
    used: bool = False


class SessionLimiter:
    """ASGI middleware around the MCP library's app.

    A session over the limit closes another, without a request in progress, that was used the
    longest ago: one that was opened and never used where these are more than half, else one that
    was used, so that opening sessions alone closes none that is used. The library itself would
    refuse whoever comes next, until sessions expire. GET is answered with 405, as the
    protocol allows: this server sends nothing but answers, and a stream without any would only
    hold a connection and keep its session from expiring.
    """

    def __init__(
        self,
        app: "ASGIApp",
        path: str,
        closed: Callable[[str], None],
        limit: int = MAX_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._path, self._closed = app, path, closed
        self._limit, self._idle_seconds, self._clock = limit, idle_seconds, clock
        # in order of use
        self._open: dict[str, _McpSession] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("POST", "DELETE"):
            message = "send a POST; this server opens no stream of its own"
            answer = error_response(405, "method", message, {"Allow": "POST, DELETE"})
            await answer(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == HEADER), None)
        if given is None:
            await self._opening(scope, receive, send)
        else:
            await self._continued(given.decode("latin-1"), scope, receive, send)

    async def _opening(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve a request that may open a session."""

        async def watched(message: "Message") -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                for name, value in message["headers"]:
                    if name.lower() == HEADER:
                        self._open[value.decode("latin-1")] = _McpSession(self._clock())
            await send(message)

        await self._app(scope, receive, watched)
        await self._shrink()

    async def _continued(
        self, session: str, scope: "Scope", receive: "Receive", send: "Send"
    ) -> None:
        """Serve a request of a session, and forget a session that is no more."""
        known = self._open.get(session)
        if known is not None:
            known.requests += 1

        async def watched(message: "Message") -> None:
            if message["type"] == "http.response.start":
                status, ends = message["status"], scope["method"] == "DELETE"
                if status == 404 or (ends and status < 400):
                    self._forget(session)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if known is not None:
                known.requests -= 1
                known.used, known.last = True, self._clock()
                if session in self._open:
                    self._open[session] = self._open.pop(session)

    async def _shrink(self) -> None:
        """Close sessions until the limit holds."""
        oldest = self._clock() - self._idle_seconds
        for session, one in list(self._open.items()):
            if one.last < oldest and not one.requests:  # the library has closed it
                self._forget(session)
        while len(self._open) > self._limit:
            free = [session for session, one in self._open.items() if not one.requests]
            unused = [session for session in free if not self._open[session].used]
            used = [session for session in free if self._open[session].used]
            if not free:
                return
            await self._end((unused if len(unused) > self._limit / 2 or not used else used)[0])

    async def _end(self, session: str) -> None:
        """Close a session as its client would."""
        self._forget(session)
        headers = [(HEADER, session.encode("latin-1"))]
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "DELETE",
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": headers,
        }

        async def receive() -> "Message":
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: "Message") -> None:
            pass

        await self._app(scope, receive, send)

    def _forget(self, session: str) -> None:
        """Drop what is known of a closed session, and its images."""
        if self._open.pop(session, None) is not None:
            self._closed(session)
