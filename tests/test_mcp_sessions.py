"""Sessions of MCP clients over HTTP: bounded in number, closed when unused; shared handles."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import numpy as np
import pytest
from mcp import Client

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_server import build, http_app
from sam3_agent.plugin.mcp_sessions import SessionLimiter
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.work_queue import WorkQueue
from tests.mcp_fixtures import (
    HANDSHAKE,
    INITIALIZED,
    called,
    message,
    ping,
    raw_client,
    text_of,
    values_of,
)
from tests.plugin_fixtures import data_uri, png, running

LIMIT = 4


@pytest.fixture
def toolkit(segmenter: FakeSegmenter) -> Toolkit:
    return Toolkit.of(Agent(ScriptedPlanner([]), segmenter))


@pytest.fixture
async def http(toolkit: Toolkit) -> AsyncIterator[httpx2.AsyncClient]:
    """A server for at most LIMIT sessions, in this process."""
    app = http_app(build(toolkit, WorkQueue()), AccessRules(), toolkit.sessions, LIMIT)
    async with raw_client(app) as client:
        yield client


async def opened(http: httpx2.AsyncClient) -> str:
    """A new session's id."""
    answer = await http.post("/mcp", content=HANDSHAKE)
    assert answer.status_code == 200
    return str(answer.headers["mcp-session-id"])


async def segmented(http: httpx2.AsyncClient, session: str) -> None:
    """The session opens an image."""
    arguments = {"image": data_uri(png()), "phrases": ["dog"]}
    answer = await http.post(
        "/mcp",
        content=message(2, "tools/call", {"name": "segment", "arguments": arguments}),
        headers={"mcp-session-id": session},
    )
    assert "dog" in answer.text


async def test_many_that_only_open_sessions_do_not_end_one_that_is_used(
    http: httpx2.AsyncClient,
) -> None:
    mine = await opened(http)
    await http.post("/mcp", content=INITIALIZED, headers={"mcp-session-id": mine})
    others = [await opened(http) for _ in range(5 * LIMIT)]
    assert await ping(http, mine) == 200
    alive = [await ping(http, session) for session in others]
    assert alive == [404] * (len(others) - LIMIT + 1) + [200] * (LIMIT - 1)


async def test_of_sessions_that_are_used_the_one_longest_unused_is_closed(
    http: httpx2.AsyncClient,
) -> None:
    sessions = [await opened(http) for _ in range(LIMIT)]
    for session in [*sessions, sessions[0]]:
        assert await ping(http, session) == 200
    await opened(http)
    assert await ping(http, sessions[1]) == 404
    assert await ping(http, sessions[0]) == 200


async def test_a_session_that_ends_drops_its_images(
    http: httpx2.AsyncClient, toolkit: Toolkit
) -> None:
    first, second = await opened(http), await opened(http)
    for session in (first, second):
        await segmented(http, session)
    assert len(toolkit.sessions) == 2
    assert (await http.delete("/mcp", headers={"mcp-session-id": first})).status_code == 200
    assert len(toolkit.sessions) == 1
    for _ in range(LIMIT):
        await ping(http, await opened(http))
    assert len(toolkit.sessions) == 0
    assert await ping(http, second) == 404


async def test_no_stream_is_opened_that_would_only_wait(http: httpx2.AsyncClient) -> None:
    session = await opened(http)
    headers = {"mcp-session-id": session, "Accept": "text/event-stream"}
    answer = await http.get("/mcp", headers=headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, DELETE")
    assert await ping(http, session) == 200


async def test_a_session_that_the_library_has_closed_is_forgotten() -> None:
    now, closed = [0.0], list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"mcp-session-id", f"{now[0]:g}".encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    limiter = SessionLimiter(app, "/mcp", closed.append, idle_seconds=60, clock=lambda: now[0])
    for now[0] in (0.0, 50.0, 100.0):
        scope = {"type": "http", "path": "/mcp", "method": "POST", "headers": []}
        await limiter(scope, receive, send)
    assert (closed, len(limiter)) == (["0"], 2)


async def test_shared_handles_outlive_their_session_over_http() -> None:
    ducks = {"image": "ducks.png", "phrases": ["duck"]}
    with running("mcp", "--root", "evals/demo", "--handles", "shared") as server:
        url = f"{server.url}/mcp"
        async with Client(url, mode="legacy") as first:
            found = values_of(await called(first, "segment", **ducks))
        for mode in ("legacy", "auto"):
            async with Client(url, mode=mode) as later:
                numbers = [mask["number"] for mask in found["masks"]]
                more = await called(later, "measure", image=found["image"], numbers=numbers)
                assert f"{len(numbers)} masks" in text_of(more)
                made_up = {"image": "img_" + "0" * 24, "numbers": [1]}
                assert (await later.call_tool("measure", made_up)).is_error
    assert "handles: shared" in "".join(server.stderr)
    assert "at most 1,000 sessions" in "".join(server.stderr)


def test_small_images_are_bounded_in_number(toolkit: Toolkit) -> None:
    for shade in range(1_100):
        toolkit.sessions.open(None, np.full((1, 1, 3), shade % 256, np.uint8))
    assert len(toolkit.sessions) == 1_000
