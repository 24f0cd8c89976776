"""A Gemini planner on a gemini: it talks to a mock transport that plays steps."""

import base64
import copy
import io
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import httpx2
from PIL import Image

from sam3_agent import Message, registry
from sam3_agent.images import Pixels
from sam3_agent.model.providers.gemini import GeminiPlanner
from sam3_agent.model.providers.retries import Retrier

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
SYSTEM = {"parts": [{"text": registry.system_prompt()}]}
DECLARED = [
    {
        "functionDeclarations": [
            {
                "name": tool.name,
                "description": tool.description,
                "parametersJsonSchema": tool.parameters,
            }
            for tool in registry.tools()
        ]
    }
]


def call(name: str, _id: str | None = None, **args: Any) -> dict[str, Any]:
    """A function call part, signed."""
    own = {"id": _id} if _id else {}
    return {"functionCall": {**own, "name": name, "args": args}, "thoughtSignature": SIGNATURE}


def candidate_body(*parts: Any, reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """The body of an answer."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": MODEL}


ANSWER = candidate_body(call("answer", text="Two dogs.", numbers=[1, 2]))
NOTHING = candidate_body(call("answer", text="No dogs.", numbers=[]))


def refusal(status: int, message: str, **more: Any) -> httpx2.Response:
    """An HTTP error as Google words it."""
    headers = more.pop("headers", {})
    error = {"code": status, "message": message, "status": "STATUS", **more}
    return httpx2.Response(status, json={"error": error}, headers=headers)


Step: TypeAlias = dict[str, Any] | httpx2.Response | Exception


class MockGemini:
    """A planner, its mock server, which plays steps, and the seconds that it has waited."""

    def __init__(self, *steps: Step, model: str = MODEL, **options: Any) -> None:
        self.steps: Iterator[Step] = iter(steps)
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []
        self.planner = GeminiPlanner(
            model,
            **{"api_key": KEY, **options},
            retrier=Retrier("gemini", model, sleep=self.waits.append),
            http_client=httpx2.Client(transport=httpx2.MockTransport(self._play)),
        )

    def _play(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        body = json.dumps(step).encode() if isinstance(step, dict) else b""
        return httpx2.Response(200, content=body) if isinstance(step, dict) else step

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def reply(self, *messages: Message) -> Message:
        return self.planner.reply(messages or [Message("user", "dogs")], registry.tools())


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


def conversation(image: Pixels, reply: Message) -> list[Message]:
    """A question, a reply, a text and two pictures for each of its calls."""
    results = [
        Message("tool", f"Result {i}.", (image, image), tool_call_id=one.id)
        for i, one in enumerate(reply.tool_calls, 1)
    ]
    return [Message("system", "Be good."), Message("user", "What?"), reply, *results]


TWO_CALLS = candidate_body(call("segment", phrases=["dog"]), call("segment", phrases=["leash"]))
