"""The MCP server while its models are loaded: it answers, and its calls wait."""

import threading

import anyio
import pytest
from mcp import Client

from sam3_agent import Agent
from sam3_agent.errors import SegmenterError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.loading import load_beside
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.work_queue import WorkQueue
from tests.mcp_fixtures import HANDSHAKE, NAMES, message, stdio_process, text_of


async def test_a_client_gets_the_tools_before_the_models_are_there_and_its_calls_wait(
    segmenter: FakeSegmenter, image: Pixels
) -> None:
    go = threading.Event()
    texts: list[str] = []

    def load() -> Toolkit:
        assert go.wait(60)
        return Toolkit.of(Agent(ScriptedPlanner([]), segmenter), images={"photo": image})

    server = build(load_beside(load, ImageLoader(max_megapixels=9)), WorkQueue())
    async with Client(server) as client, anyio.create_task_group() as tasks:
        (first, *_) = tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == NAMES
        assert "9 megapixels" in str(first.description)
        assert "scores of at least" not in str(first.description)

        async def call() -> None:
            arguments = {"image": "photo", "phrases": ["dog"]}
            texts.append(text_of(await client.call_tool("segment", arguments)))

        tasks.start_soon(call)
        with anyio.move_on_after(0.1) as given_up:
            await call()
        assert given_up.cancelled_caught
        assert not texts
        go.set()
        await call()
        (again, *_) = (await client.list_tools()).tools
        assert "scores of at least 0.5" in str(again.description)
    assert len(texts) == 2
    assert all('"dog": masks 1' in text for text in texts)


async def test_a_call_says_that_the_models_could_not_be_loaded() -> None:
    def load() -> Toolkit:
        raise SegmenterError("the weights are cut short; download them again")

    async with Client(build(load_beside(load, ImageLoader()), WorkQueue())) as client:
        failed = await client.call_tool("segment", {"image": "photo", "phrases": ["dog"]})
        assert failed.is_error
        assert "the segmenter failed" in text_of(failed)


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--segmenter", "/no/such/folder"), 2), (("--planner", "openai:gpt-test"), 3)],
)
def test_a_server_on_stdio_ends_when_its_models_cannot_be_loaded(
    options: tuple[str, str], code: int
) -> None:
    with stdio_process(*options) as process:
        assert process.stdin is not None
        process.stdin.write(HANDSHAKE + b"\n" + message(1, "tools/list", {}) + b"\n")
        process.stdin.flush()  # and it stays open: the client waits
        assert process.wait(120) == code
