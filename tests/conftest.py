"""Shared fixtures: no real network, and a small scene whose things are known."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from sam3_agent import Agent, Answer, Message
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling

SHARED = Path(__file__).parents[2] / "shared"
"""Reference data of the development machines; tests that read it skip where it is absent."""


@pytest.fixture(scope="session", autouse=True)
def no_config() -> Iterator[None]:
    """The configuration file of whoever runs the tests is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM3_AGENT_CONFIG", os.devnull)
        yield


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment chooses no models, holds no keys and names no servers."""
    models = ("SAM3_AGENT_PLANNER", "SAM3_AGENT_SEGMENTER", "HF_TOKEN")
    providers = ("OPENAI_", "GEMINI_", "GOOGLE_", "ANTHROPIC_")
    for name in list(os.environ):
        if name.startswith((*models, *providers)) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection that leaves this machine fails at once."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests use no network, and this one wanted {address}")
        connect(self, address)

    def no_lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", "::1", "localhost", None):
            raise socket.gaierror(f"tests use no network, and this one wanted {host}")
        return lookup(host, *args, **kwargs)

    lookup = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket, "getaddrinfo", no_lookup)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture
def image() -> Pixels:
    """A grey picture of 200 x 100 pixels."""
    return np.full((100, 200, 3), 128, np.uint8)


@pytest.fixture(scope="session")
def photo() -> Pixels:
    """A noisy picture of 260 x 150 pixels."""
    return np.random.default_rng(1).integers(0, 256, (150, 260, 3), dtype=np.uint8)


@pytest.fixture
def segmenter() -> FakeSegmenter:
    """Two dogs, the second smaller, and a leash that overlaps the first dog."""
    return FakeSegmenter(
        {"dog": [(10, 20, 60, 70), (120, 40, 150, 70)], "leash": [(50, 40, 90, 50)]},
        {"dog": [0.9, 0.8], "leash": [0.7]},
    )


SEGMENT = calling(("segment", {"phrases": ["dog", "leash"]}))
ANSWER = calling(("answer", {"text": "The first dog and its leash.", "numbers": [1, 3]}))

Ask: TypeAlias = Callable[..., Answer]


@pytest.fixture
def ask(image: Pixels, segmenter: FakeSegmenter) -> Ask:
    """`ask(*replies, **options)`: the answer of an agent whose planner gives these replies."""

    def ask(*replies: Message, query: str = "which dog?", **options: Any) -> Answer:
        return Agent(ScriptedPlanner(replies), segmenter, **options).ask(image, query)

    return ask


def tool_texts(answer: Answer) -> list[str]:
    """What the planner got back from its tools."""
    return [message.text for message in answer.messages if message.role == "tool"]
