"""A stub of model servers: real HTTP on loopback that plays a scripted MLLM.

It speaks `POST .../chat/completions` (OpenAI, vLLM, Ollama and their kin), `POST .../responses`
(OpenAI), `POST .../messages` (Anthropic) and `POST /v1*/models/MODEL:generateContent` (Gemini). The
script is provider-neutral::

    script = [
        fault(429, {"Retry-After": "0"}),
        call(("segment", {"phrases": ["dog"]})),
        call(("answer", {"text": "A dog.", "numbers": [1]}), input_tokens=900),
    ]
    with StubServer(script, latency=0.2) as server:
        ...  # OPENAI_BASE_URL=server.openai_url, or GOOGLE_GEMINI_BASE_URL=server.gemini_url

Each request takes the next step; when there is none left it is answered 400, which no client tries
again. A step may be a function of the request, to read a tool's result; for many conversations at
once the whole script is such a function. `limited` makes one of a server with limits::

    StubServer(limited(script, at_most_pictures(1), no_role("system")))
"""

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self, TypeAlias

from tests.loopback import address, serving

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """A request: header names in small letters; `body` is None when it was no JSON."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Step:
    """What the server does with one request: a reply, or a fault.

    text, calls: what the model says; a call is (name, arguments), as a dict or raw text.
    input_tokens, cached_tokens, output_tokens: the usage it tells.
    status, headers, body: with a body, an answer that is no reply of a model.
    delay: seconds before it answers. cut: bytes after which the body is cut off; 0 drops the
        connection before anything is sent.
    """

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any] | str], ...] = ()
    input_tokens: int = 100
    cached_tokens: int = 0
    output_tokens: int = 10
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    body: bytes | None = None
    delay: float = 0.0
    cut: int | None = None


StepFunction: TypeAlias = Callable[[Request], Step]
AnyStep: TypeAlias = Step | StepFunction


def call(*calls: tuple[str, Mapping[str, Any] | str], **more: Any) -> Step:
    """A reply with tool calls; `more` are further fields of Step."""
    return Step(calls=calls, **more)


def fault(status: int, headers: Mapping[str, str] | None = None, words: str = "stub") -> Step:
    """An HTTP error in the form that both providers use."""
    body = json.dumps({"error": {"message": words, "code": status, "status": "STUB"}})
    return Step(status=status, headers={**JSON, **(headers or {})}, body=body.encode())


Rule: TypeAlias = Callable[[Any], Step | None]
"""Reads a chat request's body: the fault that it is answered with, or None when it is fine."""


def limited(script: Iterable[AnyStep], *rules: Rule) -> StepFunction:
    """A script whose steps only requests get that break no rule; the others take none."""
    step = _one_after_another(script)

    def answer(request: Request) -> Step:
        broken = (fault for rule in rules if (fault := rule(request.body)) is not None)
        return next(broken, None) or step(request)

    return answer


def at_most_pictures(
    limit: int,
    words: str = "At most {} image(s) may be provided in one request.",
    status: int = 400,
) -> Rule:
    """Refuses a request with more pictures."""

    def rule(body: Any) -> Step | None:
        if json.dumps(body["messages"]).count('"image_url":') > limit:
            return fault(status, words=words.format(limit))
        return None

    return rule


def no_role(role: str, words: str = "Unknown role: {}", status: int = 400) -> Rule:
    """Refuses a message of this role."""

    def rule(body: Any) -> Step | None:
        if role in [message["role"] for message in body["messages"]]:
            return fault(status, words=words.format(role))
        return None

    return rule


def alternating(
    words: str = "Conversation roles must alternate user/assistant/user/assistant/...",
) -> Rule:
    """Refuses any order of roles but user, assistant, user, ..."""

    def rule(body: Any) -> Step | None:
        roles = [message["role"] for message in body["messages"]]
        wanted = [("user", "assistant")[i % 2] for i in range(len(roles))]
        return None if roles == wanted else fault(400, words=words)

    return rule


def no_field(name: str, words: str = "Unrecognized request argument supplied: {}") -> Rule:
    """Refuses a request with this field."""

    def rule(body: Any) -> Step | None:
        return fault(400, words=words.format(name)) if name in body else None

    return rule


class StubServer:
    """Serves while it is used as a context manager.

    script: the steps in order, or a function of a Request that gives the step; it may be called
        from several threads at once.
    latency: seconds that every answer takes, besides its own delay.

    requests: what was asked so far, in order of arrival.
    """

    def __init__(self, script: Iterable[AnyStep] | StepFunction, *, latency: float = 0.0) -> None:
        self.requests: list[Request] = []
        self._step = script if callable(script) else _one_after_another(script)
        self._latency = latency
        self._lock = threading.Lock()
        self._serving = serving(_handler(self._play))

    @property
    def gemini_url(self) -> str:
        """The base URL for google-genai."""
        return self._address

    @property
    def openai_url(self) -> str:
        """The base URL for openai."""
        return f"{self.gemini_url}/v1"

    def __enter__(self) -> Self:
        self._address = address(self._serving.__enter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._serving.__exit__(*error)

    def _play(self, request: Request) -> Step:
        with self._lock:
            self.requests.append(request)
        step = self._step(request)
        time.sleep(self._latency + step.delay)
        return step


def _one_after_another(script: Iterable[AnyStep]) -> StepFunction:
    steps, lock = iter(script), threading.Lock()

    def step(request: Request) -> Step:
        with lock:
            found = next(steps, fault(400, words="the script has no further step"))
        return found(request) if callable(found) else found

    return step


def _handler(play: Callable[[Request], Step]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request to a connection, so that no thread is left waiting for another."""

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(raw)
            except ValueError:
                body = None
            headers = {name.lower(): value for name, value in self.headers.items()}
            step = play(Request(self.path, headers, body))
            if step.cut == 0:
                self._reset()
                return
            status, content = _answer(self.path, body, step)
            # a client that has gone away is none of our business
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in step.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: step.cut])

        def _reset(self) -> None:
            """Close so that the client gets a connection reset, and no tidy end."""
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return Handler


def _answer(path: str, body: Any, step: Step) -> tuple[int, bytes]:
    """The status and body of the answer."""
    if step.body is not None:
        return step.status, step.body
    gemini = re.search(r"/models/([^/:]+):generateContent$", path.split("?")[0])
    if gemini:
        return step.status, json.dumps(_gemini_answer(gemini[1], step)).encode()
    if path.endswith("/chat/completions") and isinstance(body, dict):
        return step.status, json.dumps(_openai_answer(str(body.get("model")), step)).encode()
    if path.endswith("/responses") and isinstance(body, dict):
        return step.status, json.dumps(_response(str(body.get("model")), step)).encode()
    if path.endswith("/messages") and isinstance(body, dict):
        return step.status, json.dumps(_anthropic_message(str(body.get("model")), step)).encode()
    return 404, b'{"error": {"message": "the stub does not know this path", "code": 404}}'


def _openai_answer(model: str, step: Step) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": step.text or None}
    if step.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}_{time.monotonic_ns()}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": raw if isinstance(raw, str) else json.dumps(raw),
                },
            }
            for number, (name, raw) in enumerate(step.calls)
        ]
    finish = "tool_calls" if step.calls else "stop"
    return {
        "id": f"chatcmpl-{time.monotonic_ns()}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": step.input_tokens,
            "completion_tokens": step.output_tokens,
            "total_tokens": step.input_tokens + step.output_tokens,
            "prompt_tokens_details": {"cached_tokens": step.cached_tokens},
        },
    }


def _response(model: str, step: Step) -> dict[str, Any]:
    """An answer of OpenAI's Responses API."""
    output: list[dict[str, Any]] = [
        {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": f"call_{number}_{time.monotonic_ns()}",
            "name": name,
            "arguments": raw if isinstance(raw, str) else json.dumps(raw),
            "status": "completed",
        }
        for number, (name, raw) in enumerate(step.calls)
    ]
    if step.text:
        said = {"type": "output_text", "text": step.text, "annotations": []}
        message = {"type": "message", "id": "msg_stub", "role": "assistant", "status": "completed"}
        output.append({**message, "content": [said]})
    return {
        "id": f"resp_{time.monotonic_ns()}",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _anthropic_message(model: str, step: Step) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": step.text}] if step.text else []
    for number, (name, arguments) in enumerate(step.calls):
        identity = f"toolu_{number}_{time.monotonic_ns()}"
        content.append({"type": "tool_use", "id": identity, "name": name, "input": arguments})
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if step.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": step.input_tokens, "output_tokens": step.output_tokens},
    }


def _gemini_answer(model: str, step: Step) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": step.text}] if step.text else []
    for name, arguments in step.calls:
        parts.append({"functionCall": {"name": name, "args": arguments}})
    if step.calls:
        parts[-1]["thoughtSignature"] = "c3R1Yg=="
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": step.input_tokens,
            "cachedContentTokenCount": step.cached_tokens,
            "candidatesTokenCount": step.output_tokens,
            "totalTokenCount": step.input_tokens + step.output_tokens,
        },
        "modelVersion": model,
    }
