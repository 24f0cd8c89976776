"""The Gemini planner against a mock transport: what it sends, and what it makes of answers."""

import base64
import copy
import io
import json
import logging
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from sam3_agent import Agent, Budget, Message, PlannerError, Spent, ToolCall, load
from sam3_agent.agent import LAST_TURN, NO_CALL
from sam3_agent.errors import InputError
from sam3_agent.images import Pixels
from sam3_agent.model.faults import Line
from sam3_agent.model.gemini import GeminiPlanner
from sam3_agent.model.placed import PlacedSegmenter
from sam3_agent.model.prices import PRICES, Price, known_price
from sam3_agent.usage import deadline

MODEL = "gemini-3.8-flash"
KEY = "AIzaSyThisIsTheSecretKey0123456789"
SIGNATURE = "EpwCCpkCAXLI2nyc/+a8=="
USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 400,
    "candidatesTokenCount": 20,
    "thoughtsTokenCount": 50,
    "totalTokenCount": 1070,
}
SYSTEM = {"parts": [{"text": load.system_prompt()}]}
DECLARED = [
    {
        "functionDeclarations": [
            {
                "name": tool.name,
                "description": tool.description,
                "parametersJsonSchema": tool.parameters,
            }
            for tool in load.tools()
        ]
    }
]


def call(name: str, _id: str | None = None, **args: Any) -> dict[str, Any]:
    """A function call part, signed."""
    own = {"id": _id} if _id else {}
    return {"functionCall": {**own, "name": name, "args": args}, "thoughtSignature": SIGNATURE}


def said(*parts: Any, reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """The body of an answer."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": MODEL}


ANSWER = said(call("answer", text="Two dogs.", numbers=[1, 2]))


def refusal(status: int, message: str, **more: Any) -> httpx2.Response:
    """An HTTP error as Google words it."""
    headers = more.pop("headers", {})
    error = {"code": status, "message": message, "status": "STATUS", **more}
    return httpx2.Response(status, json={"error": error}, headers=headers)


Step = dict[str, Any] | httpx2.Response | Exception


class Stage:
    """A planner, the server it talks to, which plays steps, and the seconds it has waited."""

    def __init__(self, *steps: Step, model: str = MODEL, **options: Any) -> None:
        self.steps: Iterator[Step] = iter(steps)
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []
        self.planner = GeminiPlanner(
            model,
            **{"api_key": KEY, **options},
            line=Line("gemini", model, sleep=self.waits.append),
            http_client=httpx2.Client(transport=httpx2.MockTransport(self._play)),
        )

    def _play(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        return httpx2.Response(200, json=step) if isinstance(step, dict) else step

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def reply(self, *messages: Message) -> Message:
        return self.planner.reply(messages or [Message("user", "dogs")], load.tools())


def without_pictures(value: Any, found: list[Image.Image]) -> Any:
    """The JSON with every picture decoded into `found`, and its number in its place."""
    value = copy.deepcopy(value)
    for part in _dicts(value):
        if "inlineData" in part:
            data = base64.b64decode(part["inlineData"]["data"], validate=True)
            found.append(Image.open(io.BytesIO(data)))
            assert part["inlineData"] == {
                "mimeType": f"image/{str(found[-1].format).lower()}",
                "data": part["inlineData"]["data"],
            }
            part["inlineData"] = len(found)
    return value


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value:
        if isinstance(one, (dict, list)):
            yield from _dicts(one)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_question_is_answered_and_replies_go_back_as_they_came(
    image: Pixels, eye: PlacedSegmenter
) -> None:
    content = {
        "role": "model",
        "parts": [
            {"text": "I should look for dogs.", "thought": True, "futureField": {"a_b": [1]}},
            call("segment", "xk3f", phrases=["dog"]),
        ],
    }
    stage = Stage({"candidates": [{"content": content}], "usageMetadata": USAGE}, ANSWER)
    answer = Agent(stage.planner, eye).ask(image, "How many dogs?")

    assert (answer.text, answer.status, answer.numbers) == ("Two dogs.", "answered", (1, 2))
    assert answer.planner == f"gemini:{MODEL}"
    pictures: list[Image.Image] = []
    first, second = (without_pictures(body, pictures) for body in stage.bodies)
    question = {"role": "user", "parts": [{"inlineData": 1}, {"text": "How many dogs?"}]}
    assert first == {
        "contents": [question],
        "systemInstruction": SYSTEM,
        "tools": DECLARED,
    }
    (result,) = (message for message in answer.messages if message.role == "tool")[:1] if False else [
        message for message in answer.messages if message.role == "tool"
    ][:1]
    assert second == {
        "contents": [
            {**question, "parts": [{"inlineData": 2}, {"text": "How many dogs?"}]},
            content,
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "xk3f",
                            "name": "segment",
                            "response": {"output": result.text},
                            "parts": [{"inlineData": 3}],
                        }
                    }
                ],
            },
        ],
        "systemInstruction": SYSTEM,
        "tools": DECLARED,
    }
    assert [picture.size for picture in pictures] == [(200, 100)] * 3
    assert np.array_equal(np.asarray(pictures[0].convert("RGB")), image)
    assert not np.array_equal(np.asarray(pictures[2].convert("RGB")), image)
