"""Clients of the REST server that leave or stall: nothing is done for them, and others go on."""

import json
import select

import numpy as np
import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue
from tests.hostile_planners import Stoppable
from tests.http_fixtures import answer, connect, everything, serving, until
from tests.plugin_fixtures import data_uri, png

METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LEFT = b'sam3_agent_requests_total{route="/ask",status="499"} 1.0'


@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream"])
async def test_a_question_whose_client_leaves_is_stopped_at_once(
    segmenter: FakeSegmenter, accept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    planner, queue = Stoppable(), WorkQueue(workers=1)
    made = app(Toolkit.of(Agent(planner, segmenter)), queue, AccessRules())
    body = json.dumps({"image": data_uri(png()), "query": "the dog"}).encode()
    head = b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    length = b"Accept: %b\r\nContent-Length: %d\r\n\r\n" % (accept, len(body))
    with serving(made, queue) as port:
        asking = connect(port, head + length + body)
        await until(planner.asked.is_set)
        asking.close()
        await until(planner.stopped.is_set)
        await until(lambda: not queue.active)
        if accept == b"application/json":
            await until(lambda: LEFT in answer(port, METRICS)[1])
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_call_that_waits_for_a_busy_image_ends_when_its_client_leaves(
    segmenter: FakeSegmenter,
) -> None:
    toolkit, queue = Toolkit.of(Agent(Stoppable(), segmenter)), WorkQueue(workers=1)
    made = app(toolkit, queue, AccessRules())
    session = toolkit.sessions.open(None, np.zeros((20, 20, 3), np.uint8))
    body = json.dumps({"image": session.handle, "phrases": ["dog"]}).encode()
    head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(made, queue) as port, session.lock:
        waiting = connect(port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await until(queue.unfinished)  # a worker has taken it
        waiting.close()
        await until(lambda: not queue.active)


def test_bodies_that_stop_before_their_end_leave_room_for_other_clients(
    segmenter: FakeSegmenter,
) -> None:
    toolkit = Toolkit.of(Agent(Stoppable(), segmenter))
    made = app(toolkit, WorkQueue(), AccessRules(max_bytes=100_000))
    head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    begun = head + b"Content-Length: 99999\r\n\r\n" + b" " * 99_990
    whole = json.dumps({"image": data_uri(png()), "phrases": ["dog"]})
    padded = whole.encode().ljust(90_000)
    with serving(made) as port:
        held = [connect(port, begun) for _ in range(12)]
        while len(refused := select.select(held, [], [], 0.02)[0]) < 6:
            pass  # six may stay
        assert {one.recv(12) for one in refused} == {b"HTTP/1.1 429"}
        length = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(padded)
        other = connect(port, head + length + padded, source="127.0.0.2")
        assert everything(other).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()
