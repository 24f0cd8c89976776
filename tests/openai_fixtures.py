"""An OpenAI planner on a mock transport, and the replies that its server gives."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from sam3_agent import Agent, Answer, Message
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.providers.openai_chat import OpenAIPlanner
from sam3_agent.model.providers.retries import Retrier
from sam3_agent.registry import tools

KEY = "sk-proj-abcdef1234567890"
QUESTION = [Message("system", "You ground."), Message("user", "which dog?")]

Answering = Callable[[httpx2.Request], httpx2.Response]


class Server:
    """A mock transport: each request gets the next answer; an exception is raised."""

    def __init__(self, *answers: httpx2.Response | Exception | Answering) -> None:
        self._answers = iter(answers)
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)


def planner(server: Server, *, model: str = "gpt-test", **options: Any) -> OpenAIPlanner:
    """The planner whose requests go to `server`; it never sleeps, but notes the waits there."""
    retrier = Retrier("openai", model, sleep=server.waits.append)
    options = {"api_key": KEY, "base_url": "http://stub/v1", "retrier": retrier, **options}
    client = httpx2.Client(transport=httpx2.MockTransport(server))
    return OpenAIPlanner(model, http_client=client, **options)


def model_reply(
    text: str | None = None, *calls: tuple[str, str, Any], **usage: Any
) -> httpx2.Response:
    """A reply of the model; a call is (id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(args)},
            }
            for call_id, name, args in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx2.Response(200, json={"id": "x", "choices": [choice], "usage": usage})


def fails(
    status: int, words: str = "no", headers: dict[str, str] | None = None, **more: Any
) -> httpx2.Response:
    body = {"error": {"message": words, "type": "stub", "code": None, "param": None, **more}}
    return httpx2.Response(status, json=body, headers=headers)


SEGMENT = model_reply(None, ("c1", "segment", {"phrases": ["dog", "leash"]}))
ANSWER = model_reply(None, ("c2", "answer", {"text": "The first dog.", "numbers": [1]}))


def ask(server: Server, image: Pixels, segmenter: FakeSegmenter, **options: Any) -> Answer:
    return Agent(planner(server, **options), segmenter, verifier="none").ask(image, "which dog?")


def picture_of(part: dict[str, Any]) -> Pixels:
    """The (H, W, 3) picture in an image part of a message."""
    assert part["type"] == "image_url"
    head, data = part["image_url"]["url"].split(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


IMAGE, MARKED = "picture 200x100", "picture 768x384"
"""The image and the one with masks, which is enlarged so that its numbers can be read."""


def shapes_for_pictures(value: Any) -> Any:
    """A body with every picture replaced by its size."""
    if isinstance(value, dict):
        if value.get("type") == "image_url":
            height, width, _ = picture_of(value).shape
            return f"picture {width}x{height}"
        return {name: shapes_for_pictures(one) for name, one in value.items()}
    return [shapes_for_pictures(one) for one in value] if isinstance(value, list) else value


def declared() -> list[dict[str, Any]]:
    """The tools as chat.completions wants them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools()
    ]


def wire_call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


USAGE: dict[str, Any] = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 150},
}
