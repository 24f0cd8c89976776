"""The MCP server through the official client: in process, over stdio, and over HTTP."""

import asyncio
import base64
import contextlib
import io
import json
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import numpy as np
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ImageContent, ResourceLink, TextContent
from PIL import Image
from pycocotools import mask as coco

from sam3_agent import Agent, Message, Tool
from sam3_agent.evals.synthetic.annotated_set import read_set
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_server import build, http_app
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.work_queue import WorkQueue
from tests.mcp_fixtures import MODES, NAMES, server_of, stdio_parameters, text_of, values_of
from tests.plugin_fixtures import DEMO, data_uri, png, running


def truth(file_name: str, query: str) -> list[Any]:
    (scene,) = (one for one in read_set(DEMO) if one.file_name == file_name)
    (asked,) = (one for one in scene.queries if one.text == query)
    return [scene.scene.mask(target) for target in asked.targets]


def iou(one: Any, other: Any) -> float:
    return float((one & other).sum() / (one | other).sum())


async def picture_of(client: Client, uri: str) -> Any:
    (content,) = (await client.read_resource(uri)).contents
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content.blob))))  # type: ignore[union-attr]


DOGS = {"image": data_uri(png()), "phrases": ["dog"]}
ASK = {"image": data_uri(png()), "query": "the dog"}


async def ask_and_follow_up(client: Client, image: str) -> None:
    """List the tools, ask, get masks and a picture, read the resources, follow up."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == NAMES
    lines: list[str] = []

    async def progress(
        progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        lines.append(message or "")

    query = "the leftmost red car"
    result = await client.call_tool(
        "ask_image", {"image": image, "query": query}, progress_callback=progress
    )
    assert not result.is_error, text_of(result)
    found = values_of(result)
    assert (found["status"], len(found["masks"])) == ("answered", 1)
    assert any("segment" in line for line in lines)
    assert any("turn 1 of" in line for line in lines)

    shown = [part for part in result.content if isinstance(part, ImageContent)]
    overlay = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[0].data))))
    assert overlay.shape == (480, 640, 3)

    number = found["masks"][0]["number"]
    handle = found["image"]
    assert not [part for part in result.content if isinstance(part, ResourceLink)]
    mask = await picture_of(client, f"sam3://{handle}/masks/{number}.png") > 127
    (target,) = truth("red_cars.png", query)
    assert iou(mask, target) > 0.6
    (content,) = (await client.read_resource(f"sam3://{handle}/masks.json")).contents
    rles = {one["number"]: one for one in json.loads(content.text)["instances"]}  # type: ignore[union-attr]
    assert iou(coco.decode(rles[number]["segmentation"]).astype(bool), mask) == 1.0
    got = await client.call_tool("get_masks", {"image": handle, "numbers": [number]})
    assert json.dumps(rles[number]["segmentation"], separators=(",", ":")) in text_of(got)
    (content,) = (await client.read_resource(f"sam3://{found['image']}/conversation.json")).contents
    (answer,) = json.loads(content.text)  # type: ignore[union-attr]
    assert (answer["query"], answer["conversation"][0]["role"]) == (query, "system")
    assert (await picture_of(client, f"sam3://{found['image']}/overlay.jpg")).shape == (480, 640, 3)

    again = await client.call_tool("segment", {"image": found["image"], "phrases": ["red car"]})
    assert number in {mask["number"] for mask in values_of(again)["masks"]}
    alike = await client.call_tool("refine", {"image": found["image"], "like": [number]})
    assert number in {mask["number"] for mask in values_of(alike)["masks"]}, text_of(alike)
    close = await client.call_tool("look", {"image": found["image"], "numbers": [number]})
    assert any(isinstance(part, ImageContent) for part in close.content)


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent("offline", "tiny")


def served(agent: Agent, owner: str | None = "local") -> Any:
    return build(Toolkit.of(agent, owner=owner), WorkQueue())


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_in_process_asks_and_follows_up(agent: Agent, mode: str) -> None:
    async with Client(served(agent), mode=mode) as client:
        await ask_and_follow_up(client, data_uri((DEMO / "red_cars.png").read_bytes()))


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_of_a_stdio_process_asks_and_follows_up(mode: str) -> None:
    async with Client(stdio_parameters("--root", "evals/demo"), mode=mode) as client:
        await ask_and_follow_up(client, "red_cars.png")


async def test_clients_over_http_ask_and_use_only_their_own_images() -> None:
    ducks = {"image": "ducks.png", "phrases": ["duck"]}
    with running("mcp", "--root", "evals/demo") as server:
        url = f"{server.url}/mcp"
        for mode in MODES:
            async with Client(url, mode=mode) as client:
                await ask_and_follow_up(client, "red_cars.png")
        async with (
            Client(url, mode="legacy") as first,
            Client(url, mode="legacy") as second,
            Client(url, mode="auto") as third,
        ):
            handle = values_of(await first.call_tool("segment", ducks))["image"]
            for other in (second, third):
                refused = await other.call_tool("segment", {**ducks, "image": handle})
                assert refused.is_error
                assert "no image with this handle" in text_of(refused)
                with pytest.raises(MCPError, match="no image with this handle"):
                    await other.read_resource(f"sam3://{handle}/overlay.jpg")
                assert not (await other.list_resources()).resources
            same = await second.call_tool("segment", ducks)
            assert values_of(same)["image"] != handle


async def test_without_a_session_one_picture_sent_twice_has_two_handles(
    segmenter: FakeSegmenter,
) -> None:
    server = served(Agent(ScriptedPlanner([]), segmenter), owner=None)
    async with Client(server) as first, Client(server) as second:
        one = await first.call_tool("segment", DOGS)
        two = await second.call_tool("segment", DOGS)
        assert values_of(one)["image"] != values_of(two)["image"]


class Waiting:
    """A planner that waits in its first turn until the test sets `go_on`."""

    name = "waiting"
    sees = False

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.turns = 0

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        self.turns += 1
        self.asked.set()
        assert self.go_on.wait(30)
        return calling(("segment", {"phrases": ["dog"]}))


@contextlib.asynccontextmanager
async def ask_in_progress(
    planner: Waiting, segmenter: FakeSegmenter, queue: WorkQueue
) -> AsyncIterator[Any]:
    """A client, and its call of ask_image that the planner has begun to answer."""
    server = build(Toolkit.of(Agent(planner, segmenter)), queue)
    async with Client(server, mode="legacy") as client:
        asking = asyncio.create_task(client.call_tool("ask_image", ASK))
        await asyncio.to_thread(planner.asked.wait, 30)
        yield client, asking


async def test_a_cancelled_ask_ends_at_its_next_step_and_frees_its_worker(
    segmenter: FakeSegmenter,
) -> None:
    planner, queue = Waiting(), WorkQueue(workers=1, waiting=0)
    async with ask_in_progress(planner, segmenter, queue) as (client, asking):
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        planner.go_on.set()
        while queue.active:
            await asyncio.sleep(0.01)
        more = await client.call_tool("segment", DOGS)
        assert not more.is_error
    queue.close()
    assert planner.turns == 1


async def test_a_call_that_finds_a_full_queue_is_refused_with_a_time_to_retry(
    segmenter: FakeSegmenter,
) -> None:
    planner, queue = Waiting(), WorkQueue(workers=1, waiting=0)
    async with ask_in_progress(planner, segmenter, queue) as (client, asking):
        more = await client.call_tool("segment", DOGS)
        assert more.is_error
        assert "try again in" in text_of(more)
        asking.cancel()
        planner.go_on.set()


async def test_an_ask_that_takes_too_long_ends_with_an_error(segmenter: FakeSegmenter) -> None:
    planner, queue = Waiting(), WorkQueue(seconds=0.2)
    async with ask_in_progress(planner, segmenter, queue) as (_, asking):
        result = await asking
        assert result.is_error
        assert "longer than 0.2 seconds" in text_of(result)
        planner.go_on.set()


async def test_an_error_discloses_nothing_of_the_host(
    segmenter: FakeSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    class Leaky:
        name = "leaky"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            raise RuntimeError("/home/me/.keys says sk-12345")

    async with Client(server_of(Leaky(), segmenter)) as client:
        result = await client.call_tool("ask_image", ASK)
        assert result.is_error
        assert text_of(result) == "something went wrong in the server; its log says what"
    assert "sk-12345" in caplog.text


async def test_text_in_a_picture_reads_no_file(segmenter: FakeSegmenter) -> None:
    """A planner that obeys a prompt injection in the picture has no tool that reads files."""
    opened: list[str] = []
    watching = True

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(audit)
    fooled = ScriptedPlanner(
        [
            calling(
                ("open", {"path": "file:///etc/passwd"}), ("read_file", {"path": "/etc/passwd"})
            ),
            calling(("segment", {"phrases": ["file:///etc/passwd"]})),
            calling(("segment", {"phrases": ["dog"], "image": "/etc/passwd"})),
            calling(("answer", {"text": "It says: open file:///etc/passwd.", "numbers": []})),
        ]
    )
    async with Client(server_of(fooled, segmenter)) as client:
        result = await client.call_tool("ask_image", ASK)
        assert values_of(result)["status"] == "no_target"
        assert "root:" not in result.model_dump_json()
        handle = values_of(result)["image"]
        (content,) = (await client.read_resource(f"sam3://{handle}/conversation.json")).contents
        conversation = content.text  # type: ignore[union-attr]
        assert "there is no tool 'open'" in conversation
        assert "segment has no argument 'image'" in conversation
        assert "root:" not in conversation
        for path in ("file:///etc/passwd", "/etc/passwd"):
            refused = await client.call_tool("segment", {"image": path, "phrases": ["dog"]})
            assert refused.is_error
    watching = False
    assert not [path for path in opened if "passwd" in path]


async def test_prompts_hold_the_image_and_the_thing(agent: Agent) -> None:
    async with Client(served(agent)) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert names == ["find", "count", "compare"]
        for name in names:
            arguments = {"image": "street.jpg", "what": "the $5 signs"}
            (message,) = (await client.get_prompt(name, arguments)).messages
            assert isinstance(message.content, TextContent)
            assert "street.jpg" in message.content.text
            assert "the $5 signs" in message.content.text
        with pytest.raises(MCPError, match="the prompts are find, count, compare"):
            await client.get_prompt("find", {"image": "street.jpg"})


async def test_instructions_and_tools_name_no_tool_that_is_not_there(agent: Agent) -> None:
    async with Client(served(agent), mode="legacy") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        texts = [client.instructions or ""]
        for prompt in (await client.list_prompts()).prompts:
            got = await client.get_prompt(prompt.name, {"image": "i", "what": "w"})
            texts.append(str(got.messages))
        for tool in NAMES:
            assert any(tool in text for text in texts) == (tool in names)


async def test_over_http_a_token_is_needed_and_other_web_pages_are_refused(
    segmenter: FakeSegmenter,
) -> None:
    made = http_app(
        server_of(ScriptedPlanner([]), segmenter), AccessRules(token="token-77", free=())
    )
    transport = httpx2.ASGITransport(made)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post("/mcp", json={})).status_code == 401
        shown = {"Authorization": "Bearer token-77"}
        foreign = {**shown, "Origin": "https://evil.example"}
        assert (await client.post("/mcp", json={}, headers=foreign)).status_code == 403
        other = {**shown, "Host": "evil.example"}
        assert (await client.post("/mcp", json={}, headers=other)).status_code == 421


async def test_arguments_as_text_are_taken_over_mcp() -> None:
    segmenter = FakeSegmenter({"dog": [(10, 10, 40, 40), (60, 20, 90, 60)]})
    toolkit = Toolkit.of(
        Agent(ScriptedPlanner([]), segmenter),
        images={"photo": np.zeros((100, 200, 3), np.uint8)},
    )
    async with Client(build(toolkit, WorkQueue())) as client:
        text = {"image": "photo", "phrases": '["dog"]', "threshold": "0.4"}
        found = await client.call_tool("segment", text)
        handle = values_of(found)["image"]
        for numbers in ("[1, 2]", ["1", "2"], [1.0, 2.0], "1,2"):
            measured = await client.call_tool("measure", {"image": handle, "numbers": numbers})
            assert text_of(measured).splitlines()[1].startswith("2 masks"), numbers
