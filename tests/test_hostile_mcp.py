"""Hostile messages to the MCP server are answered with a reason, and it goes on.

`pytest -s` prints the table.
"""

import logging
import time

import numpy as np
import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_server import build, http_app
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.work_queue import WorkQueue
from tests.hostile_mcp import MESSAGES
from tests.mcp_fixtures import HANDSHAKE, INITIALIZED, message, ping, raw_client


async def test_every_hostile_message_is_answered_and_the_session_goes_on(
    segmenter: FakeSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    photo = np.zeros((480, 640, 3), np.uint8)
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), segmenter), images={"red_cars.png": photo})
    app = http_app(build(toolkit, WorkQueue()), AccessRules(), toolkit.sessions)
    async with raw_client(app) as client:
        opened = await client.post("/mcp", content=HANDSHAKE)
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        await client.post("/mcp", content=INITIALIZED, headers=session)
        for one in MESSAGES:
            began = time.monotonic()
            answer = await client.request(
                one.method, "/mcp", content=one.body, headers={**session, **one.headers}
            )
            text = answer.text.replace('\\"', '"')
            print(
                f"{one.name:42} {answer.status_code} {time.monotonic() - began:5.2f} s {text:.90}"
            )
            assert answer.status_code < 500, one.name
            if isinstance(one.answer, int):
                assert answer.status_code == one.answer, (one.name, text)
            else:
                assert one.answer in text, (one.name, text)
            assert "Traceback" not in text
            assert len(text) < 1_100_000
            assert await ping(client, session["mcp-session-id"]) == 200, one.name
        again = await client.post("/mcp", content=message(9, "tools/list", {}), headers=session)
        assert "get_masks" in again.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
