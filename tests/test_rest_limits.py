"""Limits of the REST server: token, queue, slow and endless bodies, signals."""

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from tests.plugin_fixtures import (
    Server,
    data_uri,
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
        for wrong in (TOKEN, f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer é"):
            headers = [(b"Authorization", wrong.encode("latin-1"))]
            assert client.post("/segment", json=body, headers=headers).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/segment", json=body, headers=right).status_code == 200
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
        assert [answer["status"] for answer in answers].count(429) == 12
        assert [answer["status"] for answer in answers].count(408) == 8
        busy = next(answer for answer in answers if answer["status"] == 429)
        assert dict(busy["headers"])[b"retry-after"] == b"5"


def test_sigterm_finishes_what_runs_and_a_kill_leaves_no_file(tmp_path: Path) -> None:
    """The planner takes a second a turn; in the middle of it the server is ended."""
    port, body = free_port(), {"image": data_uri(png()), "query": "the dog"}
    script = [call(("answer", {"text": "No dog.", "numbers": []}), delay=1.0)] * 3
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

        done, _ = ask_then(signal.SIGTERM)
        assert (done["status"], done["text"]) == ("no_target", "No dog.")
        lost, code = ask_then(signal.SIGKILL)
        assert (isinstance(lost, httpx2.TransportError), code) == (True, -signal.SIGKILL)
        done, _ = ask_then(signal.SIGTERM)  # on the same port
        assert done["text"] == "No dog."
