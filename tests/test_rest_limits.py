"""Limits of the REST server: token, queue, slow and endless bodies, signals."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.middleware import AccessMiddleware, AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue
from tests.hostile_planners import Waiting
from tests.http_fixtures import serving
from tests.plugin_fixtures import (
    ROOT,
    Server,
    data_uri,
    environment,
    free_port,
    png,
    running,
)
from tests.stub_server import StubServer, call

TOKEN = "token-8c1f"


@pytest.fixture(scope="module")
def small_server() -> Iterator[Server]:
    """A server with a token that runs one call at a time, while one waits."""
    options = ("--running", "1", "--waiting", "1")
    with running("serve", *options, env={"SAM3_AGENT_TOKEN": TOKEN}) as started:
        yield started


def test_a_token_is_needed_everywhere_but_at_health(small_server: Server) -> None:
    with httpx2.Client(base_url=small_server.url, trust_env=False, timeout=60) as client:
        assert client.get("/health").status_code == 200
        for path in ("/metrics", "/openapi.json", "/images/img_0/overlay.jpg"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        body = {"image": data_uri(png()), "phrases": ["dog"]}
        for wrong in (TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer é", "Bearer"):
            headers = [(b"Authorization", wrong.encode("latin-1"))]
            assert client.post("/segment", json=body, headers=headers).status_code == 401
        for right in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}"):
            headers = [(b"Authorization", right.encode())]
            assert client.post("/segment", json=body, headers=headers).status_code == 200
        assert TOKEN not in "".join(small_server.stderr)


def test_a_full_queue_answers_429_and_when_to_retry(small_server: Server) -> None:
    phrases = ["dog", "red car", "bus", "horse"]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        httpx2.Client(
            base_url=small_server.url, trust_env=False, timeout=60, headers=headers
        ) as client,
        ThreadPoolExecutor(12) as pool,
    ):

        def ask(shade: int) -> httpx2.Response:
            image = data_uri(png(300, 300, shade))
            return client.post("/segment", json={"image": image, "phrases": phrases})

        answers = list(pool.map(ask, range(24)))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        busy = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(busy.headers["retry-after"]) <= 300
        assert busy.json()["error"]["kind"] == "busy"


async def first_response(made: AccessMiddleware, *parts: dict[str, Any]) -> Any:
    """The head of the response to a request whose body stops after these parts."""
    sent: list[Any] = []
    left = iter(parts)

    async def receive() -> Any:
        for message in left:
            return message
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/segment",
        "raw_path": b"/segment",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
    }
    await made(scope, receive, send)
    return sent[0]


def limited_app(segmenter: FakeSegmenter, **limits: Any) -> AccessMiddleware:
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), segmenter))
    return app(toolkit, WorkQueue(), AccessRules(**limits))


async def test_a_slow_body_is_cut_off(segmenter: FakeSegmenter) -> None:
    made = limited_app(segmenter, body_seconds=0.1)
    assert (await first_response(made))["status"] == 408


async def test_many_bodies_that_never_end_do_not_fill_the_memory(segmenter: FakeSegmenter) -> None:
    made = limited_app(segmenter, max_bytes=1_000, body_seconds=0.5)
    part = {"type": "http.request", "body": bytes(900), "more_body": True}
    for _ in range(2):  # the memory of refused bodies is free again
        answers = await asyncio.gather(*(first_response(made, part) for _ in range(20)))
        # six of one client may stay
        assert [answer["status"] for answer in answers].count(429) == 14
        assert [answer["status"] for answer in answers].count(408) == 6
        busy = next(answer for answer in answers if answer["status"] == 429)
        assert dict(busy["headers"])[b"retry-after"] == b"5"


def test_sigterm_finishes_what_runs_and_a_kill_leaves_no_file(tmp_path: Path) -> None:
    """The planner takes a second a turn; in the middle of it the server is ended."""
    port, body = free_port(), {"image": data_uri(png()), "query": "the dog"}
    script = [call(("answer", {"text": "No dog.", "numbers": []}), delay=1.0)] * 2
    with StubServer(script) as model:
        env = {
            "OPENAI_BASE_URL": model.openai_url,
            "OPENAI_API_KEY": "stub-key",
            "TMPDIR": str(tmp_path),
            "HOME": str(tmp_path),
        }

        def ask_then(with_signal: int) -> tuple[Any, int]:
            asked = len(model.requests)
            with (
                running("serve", "--planner", "openai:any", port=port, env=env) as server,
                ThreadPoolExecutor(1) as pool,
            ):
                before = sorted(tmp_path.rglob("*"))
                url = f"{server.url}/ask"
                asking = pool.submit(httpx2.post, url, json=body, timeout=60, trust_env=False)
                while len(model.requests) == asked:
                    time.sleep(0.01)
                code = server.stop(with_signal)
                assert sorted(tmp_path.rglob("*")) == before
                try:
                    return asking.result().json(), code
                except httpx2.TransportError as error:
                    return error, code

        lost, code = ask_then(signal.SIGKILL)
        assert (isinstance(lost, httpx2.TransportError), code) == (True, -signal.SIGKILL)
        done, _ = ask_then(signal.SIGTERM)  # on the same port
        assert (done["status"], done["text"]) == ("no_target", "No dog.")


def test_a_call_that_cannot_be_stopped_holds_neither_a_worker_nor_the_shutdown() -> None:
    """The planner blocks for ever; --grace and 2 seconds is how long the shutdown takes at most."""
    limits = ("--timeout", "1", "--running", "1", "--grace", "0.2")
    with (
        running("serve", "--planner", "tests.hostile_planners:Blocks", *limits) as server,
        httpx2.Client(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        image = data_uri(png())
        late = client.post("/ask", json={"image": image, "query": "the dog"})
        assert late.status_code == 504
        found = client.post("/segment", json={"image": image, "phrases": ["dog"]})
        assert found.status_code == 200
        assert b"sam3_agent_overdue 1.0" in client.get("/metrics").content
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == -signal.SIGTERM
    assert "abandoned 1 calls" in "".join(server.stderr)


@contextlib.contextmanager
def blocked_ask(grace: str) -> Iterator[tuple[Server, "Future[httpx2.Response]"]]:
    """A server that runs an ask without an end, and the response to it."""
    body = {"image": data_uri(png()), "query": "the dog"}
    options = ("--planner", "tests.hostile_planners:Blocks", "--grace", grace)
    with running("serve", *options) as server, ThreadPoolExecutor(1) as pool:
        url, metrics = f"{server.url}/ask", f"{server.url}/metrics"
        asking = pool.submit(httpx2.post, url, json=body, timeout=60, trust_env=False)
        while b"sam3_agent_running 1.0" not in httpx2.get(metrics, trust_env=False).content:
            assert not asking.done()
        yield server, asking


def test_at_a_signal_a_running_call_is_answered_503_when_the_grace_period_is_over() -> None:
    with blocked_ask(grace="0.2") as (server, asking):
        server.process.send_signal(signal.SIGINT)
        assert asking.result().status_code == 503
        assert asking.result().json()["error"]["kind"] == "closing"
        assert server.process.wait(60) in (-signal.SIGINT, 130)


def test_a_second_signal_ends_the_server_at_once() -> None:
    with blocked_ask(grace="3000") as (server, asking):
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            while True:  # until it listens no longer
                socket.create_connection(("127.0.0.1", server.port), 60).close()
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == -signal.SIGTERM
        assert isinstance(asking.exception(), httpx2.TransportError)


def test_a_web_page_may_call_the_server_only_if_it_is_listed() -> None:
    page, headers = "https://photos.example", "authorization,content-type,mcp-protocol-version"
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    env = {"SAM3_AGENT_TOKEN": TOKEN}
    with (
        running("serve", "--cors", page, env=env) as server,
        httpx2.Client(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        body = {"image": data_uri(png()), "phrases": ["dog"]}
        preflight = client.options("/segment", headers={"Origin": page, **ask})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == page
        assert preflight.headers["access-control-allow-headers"] == headers
        allowed = {"Origin": page, "Authorization": f"Bearer {TOKEN}"}
        answer = client.post("/segment", json=body, headers=allowed)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == page
        assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]
        refused = client.post("/segment", json=body, headers={"Origin": page})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page)
        for other in ("https://evil.example", "http://photos.example", "null", f"{page}:444"):
            preflight = client.options("/segment", headers={"Origin": other, **ask})
            assert preflight.status_code == 400
            assert "access-control-allow-origin" not in preflight.headers
            refused = client.post("/segment", json=body, headers={**allowed, "Origin": other})
            assert refused.status_code == 403


def test_a_server_in_the_network_needs_a_token_or_host_names() -> None:
    for command, address in (("serve", "0.0.0.0:0"), ("mcp", "0:0")):
        arguments = ["-m", "sam3_agent", command, "--http", address]
        ended = subprocess.run(
            [sys.executable, *arguments],
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert ended.returncode == 2
        assert "--token TOKEN" in ended.stderr
        assert "--host NAME" in ended.stderr


HOSTS = [
    ("localhost", True),
    ("LOCALHOST:8000", True),
    ("localhost.", True),
    ("127.0.0.1:", True),
    ("[::1]:8000", True),
    ("[::ffff:127.0.0.1]", False),
    ("localhost.evil.example", False),
    ("evil.example:localhost", False),
    ("evil@localhost", False),
    ("localhost#evil", False),
    ("localhost, evil.example", False),
    ("", False),
]

ORIGINS = [
    ("http://localhost:8000", True),
    ("HTTP://LOCALHOST:8000", True),
    ("https://localhost:8000", False),
    ("http://localhost:8001", False),
    ("http://localhost", False),
    ("ftp://localhost:8000", False),
    ("localhost:8000", False),
    ("http://evil@localhost:8000", False),
    ("null", False),
    ("", False),
    ("http://localhost:8000, http://localhost:8000", False),
]


async def test_other_hosts_and_origins_are_refused_in_every_spelling(
    segmenter: FakeSegmenter,
) -> None:
    transport = httpx2.ASGITransport(limited_app(segmenter))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for host, served in HOSTS:
            answer = await client.get("/health", headers={"Host": host})
            assert (answer.status_code == 200) == served, host
        for origin, served in ORIGINS:
            headers = {"Host": "localhost:8000", "Origin": origin}
            answer = await client.get("/health", headers=headers)
            assert (answer.status_code == 200) == served, origin
        named = httpx2.ASGITransport(limited_app(segmenter, hosts=frozenset({"photos.lan"})))
        async with httpx2.AsyncClient(transport=named, base_url="http://photos.lan") as behind:
            page = {"Origin": "https://photos.lan"}  # a proxy that encrypts
            assert (await behind.get("/health", headers=page)).status_code == 200


async def test_events_have_headers_for_proxies_and_comments_while_nothing_comes(
    segmenter: FakeSegmenter,
) -> None:
    planner = Waiting()
    toolkit = Toolkit.of(Agent(planner, segmenter))
    made = app(toolkit, WorkQueue(), AccessRules(), heartbeat_seconds=0.05)
    body = {"image": data_uri(png()), "query": "the dog"}
    with serving(made) as port:
        lines: list[str] = []
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=60) as client,
            client.stream(
                "POST",
                f"http://127.0.0.1:{port}/ask",
                json=body,
                headers={"Accept": "text/event-stream"},
            ) as answer,
        ):
            assert answer.headers["cache-control"] == "no-cache, no-transform"
            assert answer.headers["x-accel-buffering"] == "no"
            async for line in answer.aiter_lines():
                lines.append(line)
                if lines.count(": waiting") == 3:
                    planner.released.set()
    assert "event: result" in lines
