"""The stdio transport: answers a line that is no MCP message with an error, and goes on.

The MCP library's own reader logs such a line and stays silent, so that a client waits until its
timeout; an escaped half of a surrogate pair ("\\ud800") in a question is enough for that.
"""

import io
import json
import logging
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, BinaryIO

from sam3_agent.sanitize import replace_surrogates

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from pydantic import ValidationError

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 256_000_000

CANCELLED = "notifications/cancelled"

MAX_UNANSWERED = 256
"""Requests in progress; further lines are read when one of them is answered."""

_PEEK = 1_000
"""Bytes at the head and at the tail of an unreadable line where its id is looked for."""

# An id before any nested value, or right before the brace that ends the line, is the message's own.
_ID = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{0,100}")'
_ID_IN_HEAD = re.compile(rb'\s*\{(?:[^{}\[\]"]|"[^"\\]{0,100}")*?' + _ID)
_ID_IN_TAIL = re.compile(rb"," + _ID + rb"\s*\}\s*$")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


async def serve_stdio(server: "Server[Any]", max_line_bytes: int = MAX_LINE_BYTES) -> None:
    """Serve one client on stdin and stdout until it closes them.

    max_line_bytes: a longer line is answered with an error and not kept in memory.
    """
    import anyio
    from mcp.server.stdio import stdio_server
    from mcp.shared.message import SessionMessage

    # the library's reader gets nothing to read; its writer keeps stray prints off the wire
    no_input = anyio.wrap_file(io.StringIO())
    unanswered = _Unanswered(MAX_UNANSWERED)
    async with (
        stdio_server(stdin=no_input) as (unused, outgoing),
        unused,
        anyio.create_task_group() as tasks,
    ):
        messages, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        answers, answered = anyio.create_memory_object_stream[SessionMessage](0)
        tasks.start_soon(_read, sys.stdin.buffer, max_line_bytes, messages, outgoing, unanswered)
        tasks.start_soon(_write, answered, outgoing, unanswered)
        async with answers:
            await server.run(incoming, answers, server.create_initialization_options())


class _Unanswered:
    """Counts the requests that were passed on and have no answer yet, at most `limit`.

    Who sends requests and reads no answers has to wait: each would take some 20 kB for ever.
    """

    def __init__(self, limit: int) -> None:
        import anyio

        self._limit = limit
        self._ids: Counter[str | int] = Counter()
        self._changed = anyio.Event()

    async def add(self, message: Any) -> None:
        """Wait for a free place for a request; a cancelled one gets no answer and has none."""
        import anyio
        import mcp_types as types

        if isinstance(message, types.JSONRPCRequest):
            while self._ids.total() >= self._limit:
                self._changed = anyio.Event()
                await self._changed.wait()
            self._ids[message.id] += 1
        elif isinstance(message, types.JSONRPCNotification) and message.method == CANCELLED:
            self._remove((message.params or {}).get("requestId"))

    def answer(self, message: Any) -> None:
        """Free the place of the request that a message answers."""
        import mcp_types as types

        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self._remove(message.id)

    def _remove(self, id_: Any) -> None:
        if isinstance(id_, str | int) and self._ids[id_] > 0:
            self._ids[id_] -= 1
            if not self._ids[id_]:
                del self._ids[id_]
            self._changed.set()


async def _write(answered: Any, outgoing: Any, unanswered: _Unanswered) -> None:
    """Pass on what the server sends, until it ends."""
    async with answered, outgoing:
        async for message in answered:
            await outgoing.send(message)
            unanswered.answer(message.message)


async def _read(
    lines: BinaryIO, limit: int, messages: Any, outgoing: Any, unanswered: _Unanswered
) -> None:
    """Pass messages on, one a line, and answer what is none, until the input ends."""
    import anyio
    from mcp.shared.message import SessionMessage

    async with messages:
        while line := await anyio.to_thread.run_sync(_next_line, lines, limit):
            message, error = _parsed(line, limit)
            if message is not None:
                await unanswered.add(message)
                await messages.send(SessionMessage(message))
            if error is not None:
                logger.warning("a line is no MCP message: %r", line[:200])
                await outgoing.send(SessionMessage(error))


def _next_line(lines: BinaryIO, limit: int) -> bytes:
    """The next line; of one over `limit` bytes the head and tail, which together are longer."""
    line = lines.readline(limit + 1)
    if len(line) <= limit:
        return line
    tail = line
    while not tail.endswith(b"\n") and (more := lines.readline(limit + 1)):
        tail = tail[-_PEEK:] + more
    return line if tail is line else line + tail[-_PEEK:]


def _parsed(line: bytes, limit: int) -> "tuple[Any, types.JSONRPCError | None]":
    """The message in a line, or the error to answer; neither where the protocol wants no answer."""
    import mcp_types as types
    from pydantic import ValidationError

    if not line.strip():
        return None, None
    if len(line) > limit:
        reason = f"a message has at most {limit / 1e6:g} MB"
        return None, _error(types.INVALID_REQUEST, reason, _id_in(line))
    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError as error:
        return None, _reply(line, error)
    # what has a method and no usable id passes for a notification
    if isinstance(message, types.JSONRPCNotification) and "id" in json.loads(line):
        reason = "an id is a string or a whole number"
        return None, _error(types.INVALID_REQUEST, reason, None)
    return message, None


def _reply(line: bytes, error: "ValidationError") -> "types.JSONRPCError | None":
    """The answer to a line that is no message; None where the protocol wants none."""
    import mcp_types as types

    problem = error.errors(include_input=False, include_url=False)[0]
    reason = problem["msg"]
    try:
        value = json.loads(str(line, "utf-8"))
    except (ValueError, RecursionError):
        return _error(types.PARSE_ERROR, reason, _id_in(line))
    if not isinstance(value, dict):
        reason = "send one JSON object a line; lists of messages (batches) are not taken"
        return _error(types.INVALID_REQUEST, reason, None)
    if ("method" in value and "id" not in value) or value.keys() & {"result", "error"}:
        return None  # notifications and responses are not answered
    if field := ".".join(map(str, problem["loc"][1:])):
        reason = f"{field}: {reason}"
    elif _SURROGATE.search(line):
        reason = f"half of a surrogate pair, such as \\ud800, is no text ({reason})"
    sent = value.get("id")
    usable = isinstance(sent, str | int) and not isinstance(sent, bool)
    usable = usable and replace_surrogates(str(sent)) == str(sent)
    return _error(types.INVALID_REQUEST, reason, sent if usable else None)


def _error(code: int, reason: str, id_: str | int | None) -> "types.JSONRPCError":
    import mcp_types as types

    return types.JSONRPCError(
        jsonrpc="2.0", id=id_, error=types.ErrorData(code=code, message=reason)
    )


def _id_in(line: bytes) -> str | int | None:
    """The id of a message that cannot be read as JSON, where it stands out all the same."""
    found = _ID_IN_HEAD.match(line[:_PEEK]) or _ID_IN_TAIL.search(line[-_PEEK:])
    id_: str | int | None = json.loads(found[1]) if found else None
    return id_
