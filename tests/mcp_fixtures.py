"""For tests of the MCP server: calls through the official client, and raw lines on stdio."""

import asyncio
import base64
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, ImageContent, TextContent
from PIL import Image

from sam3_agent import Agent, Planner
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_content import ContentOptions
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.work_queue import WorkQueue
from tests.plugin_fixtures import ROOT, environment, read_report

NAMES = {"ask_image", "segment", "refine", "look", "measure", "get_masks"}

MODES = ("legacy", "auto")
"""The handshake of the older protocols, and the protocol of 2026-07-28 without sessions."""

COMMAND = [sys.executable, "-m", "sam3_agent", "mcp"]


def server_of(planner: Planner, segmenter: FakeSegmenter, **more: Any) -> Any:
    """A server in this process."""
    return build(Toolkit.of(Agent(planner, segmenter)), WorkQueue(), ContentOptions(**more))


def stdio_parameters(*options: str) -> StdioServerParameters:
    """A server on stdio, for the official client."""
    return StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], *options], cwd=ROOT, env=environment()
    )


def stdio_process(*options: str) -> subprocess.Popen[bytes]:
    """A server on stdio that is sent raw lines."""
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen(
        [*COMMAND, *options], cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, stderr=null
    )


def message(id_: Any, method: str, params: Any) -> bytes:
    """A request as a line without its end."""
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()


HANDSHAKE = message(
    0,
    "initialize",
    {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "lines", "version": "1"},
    },
)


INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


async def called(client: Client, name: str, **arguments: Any) -> CallToolResult:
    """The result of a call that is no error."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result


def text_of(result: CallToolResult) -> str:
    (text,) = (part.text for part in result.content if isinstance(part, TextContent))
    return text


def values_of(result: CallToolResult) -> dict[str, Any]:
    """The values in the text of a result; that is all that most models get."""
    assert result.structured_content is None
    return read_report(text_of(result))


def pictures_of(result: CallToolResult) -> list[Image.Image]:
    parts = [part for part in result.content if isinstance(part, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(part.data))) for part in parts]


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Starts and stops an ASGI app, as a server does."""
    sent, received = asyncio.Queue[Any](), asyncio.Queue[Any]()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    serving = asyncio.create_task(app(scope, sent.get, received.put))
    await sent.put({"type": "lifespan.startup"})
    assert (await received.get())["type"] == "lifespan.startup.complete"
    yield
    await sent.put({"type": "lifespan.shutdown"})
    await serving


@contextlib.asynccontextmanager
async def raw_client(app: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """Sends raw messages to an app that speaks MCP over HTTP, in this process."""
    head = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    made = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost", headers=head
    )
    async with _lifespan(app), made as client:
        yield client


async def ping(http: httpx2.AsyncClient, session: str) -> int:
    """The status of a ping in a session."""
    answer = await http.post(
        "/mcp", content=message(1, "ping", {}), headers={"mcp-session-id": session}
    )
    return answer.status_code
