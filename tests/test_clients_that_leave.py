"""Clients of the REST server that leave before their answer: nothing is done for them any more."""

import json

import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue
from tests.hostile_planners import Stoppable
from tests.http_fixtures import answer, connect, serving, until
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
