"""A question to a stub server over real HTTP that refuses what its rules forbid."""

import json
from collections.abc import Sequence
from typing import Any

from sam3_agent import Agent, Answer
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from tests.openai_fixtures import KEY
from tests.stub_server import Rule, Step, StubServer, call, limited

Wire = dict[str, Any]

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("segment", {"phrases": ["dog", "leash"]}),
    ("look", {"numbers": [1, 2]}),
    ("answer", {"text": "The first dog.", "numbers": [1]}),
]
STEPS = [call(one) for one in CALLS]
IN_TEXT = [Step(json.dumps({"tool": name, "arguments": given})) for name, given in CALLS]


def asked(
    image: Pixels, segmenter: FakeSegmenter, script: Sequence[Step], *rules: Rule
) -> tuple[Answer, list[Wire], OpenAIPlanner]:
    """The answer over real HTTP, the bodies of the requests, and the planner."""
    with StubServer(limited(script, *rules)) as server:
        retrier = Retrier("openai", "m", sleep=no_wait)
        model = OpenAIPlanner("m", base_url=server.openai_url, api_key=KEY, retrier=retrier)
        answer = Agent(model, segmenter, verifier="none").ask(image, "which dog?")
        return answer, [request.body for request in server.requests], model


def no_wait(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


def pictures_in(body: Wire) -> list[Wire]:
    contents = [m["content"] for m in body["messages"] if isinstance(m["content"], list)]
    return [part for content in contents for part in content if part["type"] == "image_url"]
