"""The MCP server through the official client: in process, over stdio, and over HTTP."""

import asyncio
import base64
import contextlib
import io
import json
import os
import shlex
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx2
import numpy as np
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image
from pycocotools import mask as coco
from typer.testing import CliRunner

from sam3_agent import Agent, Message, Tool
from sam3_agent.cli import app
from sam3_agent.evals.synthetic.annotated_set import read_set
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin import Toolkit
from sam3_agent.plugin.mcp_server import build, http_app
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.work_queue import WorkQueue
from tests.plugin_fixtures import DEMO, ROOT, data_uri, environment, png, read_report, running

MODES = ("legacy", "auto")
"""The handshake of the older protocols, and the protocol of 2026-07-28 without sessions."""


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def said(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def values(result: CallToolResult) -> dict[str, Any]:
    """The numbers of a result, from its text: that is all that most models get."""
    assert result.structured_content is None
    return read_report(said(result))


def truth(file_name: str, query: str) -> list[Any]:
    (scene,) = (one for one in read_set(DEMO) if one.file_name == file_name)
    (asked,) = (one for one in scene.queries if one.text == query)
    return [scene.scene.mask(target) for target in asked.targets]


def iou(one: Any, other: Any) -> float:
    return float((one & other).sum() / (one | other).sum())


async def picture_of(client: Client, uri: str) -> Any:
    (content,) = (await client.read_resource(uri)).contents
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content.blob))))  # type: ignore[union-attr]


async def ask_and_follow_up(client: Client, image: str) -> None:
    """List the tools, ask, get masks and a picture, look into the resources, go on."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"ask_image", "segment", "refine", "look", "measure"}
    told: list[str] = []

    async def progress(
        progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        told.append(message or "")

    query = "the leftmost red car"
    result = await client.call_tool(
        "ask_image", {"image": image, "query": query}, progress_callback=progress
    )
    assert not result.is_error, said(result)
    found = values(result)
    assert (found["status"], len(found["masks"])) == ("answered", 1)
    assert any("segment" in line for line in told)
    assert any("turn 1 of" in line for line in told)

    shown = [part for part in result.content if isinstance(part, ImageContent)]
    overlay = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[0].data))))
    assert overlay.shape == (480, 640, 3)

    number = found["masks"][0]["number"]
    links = {part.name: part.uri for part in result.content if isinstance(part, ResourceLink)}
    mask = await picture_of(client, links[f"mask {number}"]) > 127
    (target,) = truth("red_cars.png", query)
    assert iou(mask, target) > 0.6
    (content,) = (await client.read_resource(links["masks.json"])).contents
    rles = {one["number"]: one for one in json.loads(content.text)["instances"]}  # type: ignore[union-attr]
    assert iou(coco.decode(rles[number]["segmentation"]).astype(bool), mask) == 1.0
    (content,) = (await client.read_resource(f"sam3://{found['image']}/conversation.json")).contents
    (answer,) = json.loads(content.text)  # type: ignore[union-attr]
    assert (answer["query"], answer["conversation"][0]["role"]) == (query, "system")
    assert (await picture_of(client, f"sam3://{found['image']}/overlay.jpg")).shape == (480, 640, 3)

    again = await client.call_tool("segment", {"image": found["image"], "phrases": ["red car"]})
    assert number in {mask["number"] for mask in values(again)["masks"]}
    alike = await client.call_tool("refine", {"image": found["image"], "like": [number]})
    assert number in {mask["number"] for mask in values(alike)["masks"]}, said(alike)
    close = await client.call_tool("look", {"image": found["image"], "numbers": [number]})
    assert any(isinstance(part, ImageContent) for part in close.content)


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent("offline", "tiny")


def served(agent: Agent, owner: str | None = "local") -> Any:
    return build(Toolkit.of(agent, owner=owner), WorkQueue())


@pytest.mark.parametrize("mode", MODES)
def test_a_client_in_process_asks_and_goes_on(agent: Agent, mode: str) -> None:
    async def work() -> None:
        async with Client(served(agent), mode=mode) as client:
            await ask_and_follow_up(client, data_uri((DEMO / "red_cars.png").read_bytes()))

    run(work)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_of_a_stdio_process_asks_and_goes_on(mode: str) -> None:
    async def work() -> None:
        command = StdioServerParameters(
            command=sys.executable,
            args=["-m", "sam3_agent", "mcp", "--root", "evals/demo"],
            cwd=ROOT,
            env=environment(),
        )
        async with Client(command, mode=mode) as client:
            await ask_and_follow_up(client, "red_cars.png")

    run(work)


def test_clients_over_http_ask_and_see_only_their_own_images() -> None:
    async def work(url: str) -> None:
        for mode in MODES:
            async with Client(f"{url}/mcp", mode=mode) as client:
                await ask_and_follow_up(client, "red_cars.png")
        async with (
            Client(f"{url}/mcp", mode="legacy") as first,
            Client(f"{url}/mcp", mode="legacy") as second,
            Client(f"{url}/mcp", mode="auto") as third,
        ):
            mine = await first.call_tool("segment", {"image": "ducks.png", "phrases": ["duck"]})
            handle = values(mine)["image"]
            for other in (second, third):
                stolen = await other.call_tool("segment", {"image": handle, "phrases": ["duck"]})
                assert stolen.is_error
                assert "no image with this handle" in said(stolen)
                with pytest.raises(MCPError, match="no image with this handle"):
                    await other.read_resource(f"sam3://{handle}/overlay.jpg")
                assert not (await other.list_resources()).resources
            same = await second.call_tool("segment", {"image": "ducks.png", "phrases": ["duck"]})
            assert values(same)["image"] != handle

    with running("mcp", "--root", "evals/demo") as server:
        run(lambda: work(server.url))


def test_without_a_session_a_handle_is_all_and_one_picture_sent_twice_is_two(
    segmenter: FakeSegmenter,
) -> None:
    async def work() -> None:
        server = served(Agent(ScriptedPlanner([]), segmenter), owner=None)
        async with Client(server) as first, Client(server) as second:
            arguments = {"image": data_uri(png()), "phrases": ["dog"]}
            one = await first.call_tool("segment", arguments)
            two = await second.call_tool("segment", arguments)
            assert values(one)["image"] != values(two)["image"]

    run(work)


class Waiting:
    """A planner that waits in its first turn until it is told to go on."""

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
    """A client whose question the planner has begun to think about."""
    server = build(Toolkit.of(Agent(planner, segmenter)), queue)
    async with Client(server, mode="legacy") as client:
        arguments = {"image": data_uri(png()), "query": "the dog"}
        asking = asyncio.create_task(client.call_tool("ask_image", arguments))
        await asyncio.to_thread(planner.asked.wait, 30)
        yield client, asking


def test_a_cancelled_ask_ends_at_its_next_step_and_frees_its_place(
    segmenter: FakeSegmenter,
) -> None:
    planner, queue = Waiting(), WorkQueue(workers=1, waiting=0)

    async def work() -> None:
        async with ask_in_progress(planner, segmenter, queue) as (client, asking):
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            planner.go_on.set()
            while queue.active:
                await asyncio.sleep(0.01)
            more = await client.call_tool("segment", {"image": data_uri(png()), "phrases": ["dog"]})
            assert not more.is_error

    run(work)
    queue.close()
    assert planner.turns == 1


def test_when_too_much_waits_a_call_is_told_to_come_back(segmenter: FakeSegmenter) -> None:
    planner, queue = Waiting(), WorkQueue(workers=1, waiting=0)

    async def work() -> None:
        async with ask_in_progress(planner, segmenter, queue) as (client, asking):
            more = await client.call_tool("segment", {"image": data_uri(png()), "phrases": ["dog"]})
            assert more.is_error
            assert "try again in" in said(more)
            asking.cancel()
            planner.go_on.set()

    run(work)


def test_an_ask_that_takes_too_long_is_given_up(segmenter: FakeSegmenter) -> None:
    planner, queue = Waiting(), WorkQueue(seconds=0.2)

    async def work() -> None:
        async with ask_in_progress(planner, segmenter, queue) as (_, asking):
            result = await asking
            assert result.is_error
            assert "longer than 0.2 seconds" in said(result)
            planner.go_on.set()

    run(work)


def test_a_failing_planner_is_named_and_nothing_else_of_the_host_is(
    segmenter: FakeSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    class Leaky:
        name = "leaky"

        def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
            raise RuntimeError("/home/me/.keys says sk-12345")

    async def work() -> None:
        server = build(Toolkit.of(Agent(Leaky(), segmenter)), WorkQueue())
        async with Client(server) as client:
            arguments = {"image": data_uri(png()), "query": "the dog"}
            result = await client.call_tool("ask_image", arguments)
            assert result.is_error
            assert said(result) == "something went wrong in the server; its log says what"

    run(work)
    assert "sk-12345" in caplog.text


def test_what_a_picture_says_reads_no_file(segmenter: FakeSegmenter) -> None:
    """A planner that falls for words in the picture finds no tool that would obey them."""
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

    async def work() -> None:
        server = build(Toolkit.of(Agent(fooled, segmenter)), WorkQueue())
        async with Client(server) as client:
            arguments = {"image": data_uri(png()), "query": "what does the sign say?"}
            result = await client.call_tool("ask_image", arguments)
            assert values(result)["status"] == "no_target"
            assert "root:" not in result.model_dump_json()
            handle = values(result)["image"]
            (content,) = (await client.read_resource(f"sam3://{handle}/conversation.json")).contents
            conversation = content.text  # type: ignore[union-attr]
            assert "there is no tool 'open'" in conversation
            assert "segment has no argument 'image'" in conversation
            assert "root:" not in conversation
            for path in ("file:///etc/passwd", "/etc/passwd"):
                refused = await client.call_tool("segment", {"image": path, "phrases": ["dog"]})
                assert refused.is_error

    run(work)
    watching = False
    assert not [path for path in opened if "passwd" in path]


def test_prompts_say_what_to_do_with_an_image(agent: Agent) -> None:
    async def work() -> None:
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

    run(work)


def test_instructions_and_tools_name_no_tool_that_is_not_there(agent: Agent) -> None:
    async def work() -> None:
        async with Client(served(agent), mode="legacy") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            texts = [client.instructions or ""]
            for prompt in (await client.list_prompts()).prompts:
                got = await client.get_prompt(prompt.name, {"image": "i", "what": "w"})
                texts.append(str(got.messages))
            for tool in ("ask_image", "segment", "refine", "look", "measure"):
                assert any(tool in text for text in texts) == (tool in names)

    run(work)


def configured(client: str, *options: str) -> str:
    """What `sam3-agent mcp --config CLIENT` prints on stdout."""
    done = CliRunner().invoke(app, ["mcp", "--config", client, *options])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("claude-desktop", "mcpServers"),
        ("cursor", "mcpServers"),
        ("vscode", "servers"),
        ("windsurf", "mcpServers"),
        ("gemini-cli", "mcpServers"),
    ],
)
def test_a_client_with_a_json_file_gets_an_entry_that_starts_the_server(
    client: str, key: str
) -> None:
    options = (
        *("--root", str(DEMO), "--planner", "openai:any", "--effort", "fast"),
        *("--verifier", "none", "--max-usd", "0.5", "--tool-calls", "text"),
    )
    entry = json.loads(configured(client, *options))[key]["sam3-agent"]
    assert entry["command"] == sys.executable
    assert entry["args"][:3] == ["-m", "sam3_agent", "mcp"]
    assert set(options) <= set(entry["args"])


def test_the_other_clients_get_what_they_read() -> None:
    codex = tomllib.loads(configured("codex"))["mcp_servers"]["sam3-agent"]
    assert [codex["command"], *codex["args"]] == [sys.executable, "-m", "sam3_agent", "mcp"]
    words = shlex.split(configured("claude-code", "--root", "evals"))
    assert words[:5] == ["claude", "mcp", "add", "sam3-agent", "--"]
    assert words[-2:] == ["--root", str(ROOT / "evals")]
    home = shlex.split(configured("claude-code", "--root", "~"))
    assert home[-1] == os.path.realpath(os.path.expanduser("~"))
    unknown = CliRunner().invoke(app, ["mcp", "--config", "notepad"])
    assert (unknown.exit_code, "choose claude-desktop" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(("options", "warned"), [((), True), (("--root", "evals"), False)])
def test_who_configures_a_server_without_a_root_learns_that_it_reads_no_file(
    options: tuple[str, ...], warned: bool
) -> None:
    done = CliRunner().invoke(app, ["mcp", "--config", "cursor", *options])
    assert ("give --root FOLDER" in done.stderr) is warned


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mcp", "--http", "8000"), "is not HOST:PORT"),
        (("mcp", "--root", "no/such/folder"), "is no folder"),
        (("serve", "--http", "127.0.0.1:99999"), "is not HOST:PORT"),
        (("serve", "--http", "203.0.113.1:1"), "cannot listen on 203.0.113.1:1"),
        (("serve", "--effort", "heroic"), "choose fast, balanced"),
    ],
)
def test_what_cannot_be_served_ends_in_one_line_and_exit_2(
    arguments: tuple[str, ...], told: str
) -> None:
    done = CliRunner().invoke(app, list(arguments))
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr.splitlines()[-1]


def test_dollars_for_an_ask_need_the_price_of_the_model() -> None:
    options = ["--planner", "openai:own", "--segmenter", "tiny", "--max-usd", "1"]
    for command in ("mcp", "serve"):
        done = CliRunner(env={"OPENAI_API_KEY": "none"}).invoke(app, [command, *options])
        assert done.exit_code == 2
        assert "the price of openai:own is not known" in " ".join(done.stderr.split())


def test_over_http_a_token_is_asked_for_and_foreign_pages_are_turned_away(
    segmenter: FakeSegmenter,
) -> None:
    async def work() -> None:
        server = build(Toolkit.of(Agent(ScriptedPlanner([]), segmenter)), WorkQueue())
        made = http_app(server, AccessRules(token="token-77", free=()))
        transport = httpx2.ASGITransport(made)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.post("/mcp", json={})).status_code == 401
            shown = {"Authorization": "Bearer token-77"}
            foreign = {**shown, "Origin": "https://evil.example"}
            assert (await client.post("/mcp", json={}, headers=foreign)).status_code == 403
            other = {**shown, "Host": "evil.example"}
            assert (await client.post("/mcp", json={}, headers=other)).status_code == 421

    run(work)


def test_arguments_as_text_are_taken_over_mcp() -> None:
    async def work() -> None:
        segmenter = FakeSegmenter({"dog": [(10, 10, 40, 40), (60, 20, 90, 60)]})
        toolkit = Toolkit.of(
            Agent(ScriptedPlanner([]), segmenter),
            images={"photo": np.zeros((100, 200, 3), np.uint8)},
        )
        async with Client(build(toolkit, WorkQueue())) as client:
            text = {"image": "photo", "phrases": '["dog"]', "threshold": "0.4"}
            found = await client.call_tool("segment", text)
            handle = values(found)["image"]
            for numbers in ("[1, 2]", ["1", "2"], [1.0, 2.0], "1,2"):
                measured = await client.call_tool("measure", {"image": handle, "numbers": numbers})
                assert said(measured).splitlines()[1].startswith("2 masks"), numbers

    run(work)
