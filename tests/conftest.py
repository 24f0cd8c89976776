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
from sam3_agent.model.scripted_planner import ScriptedPlanner

SHARED = Path(__file__).parents[2] / "shared"
"""Reference data of the development machines; tests that read it skip where it is absent."""


@pytest.fixture(scope="session", autouse=True)
def no_config() -> Iterator[None]:
    """The configuration file of whoever runs the tests is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAM3_AGENT_CONFIG", os.devnull)
        yield


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
    for name in ("SAM3_AGENT_PLANNER", "SAM3_AGENT_SEGMENTER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"


@pytest.fixture
def image() -> Pixels:
    """A grey picture of 200 x 100 pixels."""
    return np.full((100, 200, 3), 128, np.uint8)


@pytest.fixture
def segmenter() -> FakeSegmenter:
    """Two dogs, the second smaller, and a leash that overlaps the first dog."""
    return FakeSegmenter(
        {"dog": [(10, 20, 60, 70), (120, 40, 150, 70)], "leash": [(50, 40, 90, 50)]},
        {"dog": [0.9, 0.8], "leash": [0.7]},
    )


Ask: TypeAlias = Callable[..., Answer]


@pytest.fixture
def ask(image: Pixels, segmenter: FakeSegmenter) -> Ask:
    """`ask(*replies, **options)`: the answer of an agent whose planner gives these replies."""

    def ask(*replies: Message, query: str = "which dog?", **options: Any) -> Answer:
        return Agent(ScriptedPlanner(replies), segmenter, **options).ask(image, query)

    return ask
