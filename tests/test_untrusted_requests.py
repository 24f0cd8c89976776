"""Broken and hostile requests to the servers: each is refused in one sentence.

`pytest -s` prints the table.
"""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import ImageLoader, Toolkit
from sam3_agent.plugin.answer_record import public_name
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.work_queue import WorkQueue
from tests.plugin_fixtures import assert_discloses_nothing, png, rest_client

LONG_JSON = b'{"image": ' + b"[" * 200_000

BODIES: list[tuple[str, bytes, str, int, str]] = [
    ("no JSON", b"{", "application/json", 422, "not valid JSON"),
    ("no bytes", b"", "application/json", 422, "not valid JSON"),
    ("not UTF-8", b'{"image": "\xff"}', "application/json", 422, "not valid JSON"),
    ("a list", b"[]", "application/json", 422, "must be a JSON object"),
    ("null", b"null", "application/json", 422, "must be a JSON object"),
    ("endless nesting", LONG_JSON, "application/json", 422, "not valid JSON"),
    ("a key twice", b'{"image": "a", "image": "b"}', "application/json", 422, "not valid JSON"),
    ("a number without end", b'{"image": ' + b"9" * 9999 + b"}", "application/json", 422, "JSON"),
    ("wrong types", b'{"image": 7, "phrases": {}}', "application/json", 422, "'image'"),
    ("a field too many", b'{"image":"a","phrases":[],"x":1}', "application/json", 422, "'x'"),
    ("nothing to find", b'{"image": "$GOOD", "phrases": []}', "application/json", 422, "1 to 16"),
    ("an empty phrase", b'{"image": "$GOOD", "phrases": [""]}', "application/json", 422, "empty"),
    ("a phrase of 40 words", b'{"image":"$GOOD","phrases":["' + b"big " * 40 + b'"]}',
     "application/json", 422, "words"),
    ("a huge body", b'{"image": "' + b"a" * 1_600_000 + b'"}', "application/json", 413, "larger"),
    ("XML", b"<x/>", "application/xml", 415, "application/json"),
    ("no type", b"{}", "", 415, "application/json"),
    ("a form without an end", b"--x\r\n", "multipart/form-data; boundary=x", 422, "needs"),
    ("a form without a boundary", b"--x\r\n", "multipart/form-data", 400, ""),
]  # fmt: skip

HEADERS: list[tuple[str, dict[str, str], int, str]] = [
    ("the host name of a web page", {"Host": "evil.example"}, 421, "host name"),
    ("no host name", {"Host": ""}, 421, "host name"),
    ("another web page", {"Origin": "https://evil.example"}, 403, "other web pages"),
    ("a page of another port", {"Origin": "http://localhost:3000"}, 403, "other web pages"),
    ("a page from nowhere", {"Origin": "null"}, 403, "other web pages"),
    ("a length that is no number", {"Content-Length": "-1"}, 400, "no number"),
    ("a length of another digit", {"Content-Length": "\xb2"}, 400, "no number"),
    ("a length without end", {"Content-Length": "9" * 30}, 413, "larger"),
]


@pytest.fixture
def toolkit(tmp_path: Path, segmenter: FakeSegmenter) -> Toolkit:
    """Tools that may read good.png."""
    (tmp_path / "good.png").write_bytes(png())
    return Toolkit.of(Agent(ScriptedPlanner([]), segmenter), loader=ImageLoader((tmp_path,)))


async def test_a_broken_body_or_header_is_refused_with_its_status(toolkit: Toolkit) -> None:
    good = b'{"image": "good.png", "phrases": ["dog"]}'
    rows = [
        (name, body.replace(b"$GOOD", b"good.png"), {"Content-Type": kind}, status, reason)
        for name, body, kind, status, reason in BODIES
    ] + [
        (name, good, {"Content-Type": "application/json", **headers}, status, reason)
        for name, headers, status, reason in HEADERS
    ]
    async with rest_client(toolkit, AccessRules(max_bytes=1_500_000)) as client:
        for name, body, headers, status, reason in rows:
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answer = await client.post("/segment", content=body, headers=raw)
            message = answer.json()["error"]["message"]
            print(f"{name:26} {body[:40]!r:44} {answer.status_code} {message[:90]}")
            assert (answer.status_code, reason in message) == (status, True), (name, message)
            assert_discloses_nothing(message)


OPERATORS_OWN = ("planner", "segmenter", "verifier", "effort", "max_usd", "owner", "root", "token")
"""What only the options of a server choose: models, spending, access."""


@pytest.mark.parametrize("name", OPERATORS_OWN)
async def test_a_caller_cannot_choose_models_spending_or_access(
    toolkit: Toolkit, name: str
) -> None:
    value = "package.module:Class"
    async with rest_client(toolkit) as client, Client(build(toolkit, WorkQueue())) as assistant:
        for tool in (await assistant.list_tools()).tools:
            assert name not in tool.input_schema["properties"]
            path = "/ask" if tool.name == "ask_image" else f"/{tool.name}"
            arguments = {"image": "good.png", name: value}
            for refused in (
                await client.post(path, json=arguments),
                await client.post(path, data=arguments, files={"image": png()}),
            ):
                assert refused.status_code == 422
            result = await assistant.call_tool(tool.name, arguments)
            text = result.content[0].text  # type: ignore[union-attr]
            assert (result.is_error, f"no argument {name!r}" in text) == (True, True)
        refused = await client.post("/images", json={"image": "good.png", name: value})
        assert refused.status_code == 422


async def test_a_broken_mcp_call_is_refused_with_the_reason(toolkit: Toolkit) -> None:
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("rm", {"path": "/"}, "there is no tool 'rm'"),
        ("segment", {}, "needs the argument 'image'"),
        ("segment", {"image": None, "phrases": None}, "argument 'image'"),
        ("segment", {"image": ["good.png"], "phrases": ["dog"]}, "argument 'image'"),
        ("segment", {"image": "good.png", "phrases": "dog; cat"}, "argument 'phrases'"),
        ("segment", {"image": "good.png", "phrases": [1]}, "argument 'phrases'"),
        ("segment", {"image": "good.png", "phrases": ["dog"] * 17}, "1 to 16 phrases"),
        ("segment", {"image": "good.png", "phrases": ["dog"], "self": 1}, "no argument 'self'"),
        ("ask_image", {"image": "good.png", "query": "x" * 5000}, "5000 characters"),
        ("ask_image", {"image": "good.png", "query": "a\x1b[2J"}, "U+001B"),
    ]
    uris = [
        "file:///etc/passwd",
        "sam3://img_0/overlay.jpg",
        "sam3://img_0/../../etc/passwd",
        "sam3://$GOOD/masks/0.png",
        "sam3://$GOOD/masks/99.png",
        "sam3://$GOOD/masks/-1.png",
        "sam3://$GOOD/secrets.json",
    ]
    good = toolkit.session("good.png").handle
    async with Client(build(toolkit, WorkQueue())) as client:
        for name, arguments, reason in rows:
            result = await client.call_tool(name, arguments)
            message = result.content[0].text  # type: ignore[union-attr]
            print(f"{name:26} {str(arguments)[:44]:44} error {message[:90]}")
            assert result.is_error
            assert reason in message
            assert_discloses_nothing(message)
        for uri in uris:
            with pytest.raises(Exception, match=r"there (is|are) no|looks like") as refused:
                await client.read_resource(uri.replace("$GOOD", good))
            print(f"{'resource':26} {uri:44} error {refused.value}")
            assert_discloses_nothing(str(refused.value))


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("facebook/sam3", "facebook/sam3"),
        ("/home/me/sam3", "sam3"),
        ("../models/sam3", "sam3"),
        ("openai:/home/me/Qwen", "openai:Qwen"),
        ("openai:Qwen/Qwen3-VL", "openai:Qwen/Qwen3-VL"),
        ("open:/home/me/dino+~/sam2", "open:dino+sam2"),
    ],
)
def test_a_model_is_named_without_the_folder_it_lies_in(name: str, public: str) -> None:
    assert public_name(name) == public
