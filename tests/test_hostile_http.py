"""Bytes that no well-behaved model server sends, through the real client: a reply or one line."""

import time

import pytest

from sam3_agent import Message, PlannerError
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.registry import tools
from tests.hostile_http import CALLS, REPLIES
from tests.raw_server import Connection, raw_server

KEY = "sk-proj-0123456789abcdef"


@pytest.mark.parametrize(("sent", "outcome"), REPLIES.values(), ids=REPLIES.keys())
def test_what_a_server_sends_is_a_reply_or_an_error_of_one_line(sent: bytes, outcome: str) -> None:
    def handler(connection: Connection) -> None:
        connection.read_request()
        connection.send(sent)

    retrier = Retrier("openai", "m", sleep=lambda seconds: None, attempts=2)
    began = time.monotonic()
    with raw_server(handler) as server:
        model = OpenAIPlanner("m", base_url=f"{server.url}/v1", api_key=KEY, retrier=retrier)
        try:
            reply = model.reply([Message("user", "which dog?")], tools())
            found = CALLS if reply.tool_calls else f"text {reply.text[:20]}"
        except PlannerError as error:
            found = str(error)
    assert outcome in found
    assert len(found) < 800
    assert "\n" not in found
    assert KEY not in found
    assert time.monotonic() - began < 60
