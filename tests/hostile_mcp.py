"""Hostile and broken messages to the MCP server over HTTP, with what the answer must hold."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.mcp_fixtures import message

GUESSED = "img_" + "0" * 24
BIG = 10**400


@dataclass(frozen=True)
class Hostile:
    """A body, its headers beside the usual ones, and what its answer holds.

    answer: words of the answer, or its status.
    """

    name: str
    body: bytes
    answer: str | int
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"


def call(tool: Any, arguments: Any, **meta: Any) -> bytes:
    return message(7, "tools/call", {"name": tool, "arguments": arguments, **meta})


def started(version: Any, **client: Any) -> bytes:
    return message(7, "initialize", {"protocolVersion": version, "capabilities": {}, **client})


def look(**arguments: Any) -> bytes:
    return call("look", {"image": "red_cars.png", **arguments})


def read(uri: str) -> bytes:
    return message(7, "resources/read", {"uri": uri})


def nested(depth: int) -> bytes:
    return call("look", {"image": "$"}).replace(b'"$"', b"[" * depth + b"]" * depth)


ME = {"clientInfo": {"name": "a", "version": "1"}}
MESSAGES = [
    Hostile("a tool's name that is a list", call(["look"], {}), "nvalid"),
    Hostile("arguments that are a list", call("look", ["red_cars.png"]), "nvalid"),
    Hostile("arguments that are null", call("look", None), "needs the argument 'image'"),
    Hostile("an image nested 100 deep", nested(100), "argument 'image'"),
    Hostile("an image nested 50,000 deep", nested(50_000), "arse"),
    Hostile("a mask number of 400 digits", look(numbers=[BIG]), "there is no mask"),
    Hostile("a million mask numbers", look(numbers=[1] * 1_000_000),
            "more than 100,000 characters"),
    Hostile("a region without end", look(region=[0, 0, 1e308, 1e308]), "region"),
    Hostile("a region of -Infinity", look(region=[0, 0, 50, float("-inf")]), "argument 'region'"),
    Hostile("a number as an object", look(numbers={"__class__": 1}), "argument 'numbers'"),
    Hostile("a phrase turned round", call("segment", {"image": "red_cars.png", "phrases":
            ["\u202egnip"]}), 200),
    Hostile("a phrase of combining marks", call("segment", {"image": "red_cars.png", "phrases":
            ["a" + "\u0301" * 5_000]}), 200),
    Hostile("a file by its attachment", look(image={"download_url": "file:///etc/passwd",
            "file_id": "1"}), "isError\":true"),
    Hostile("the metadata service by an attachment", look(image={"download_url":
            "https://169.254.169.254/latest/", "file_id": "1"}), "isError\":true"),
    Hostile("an attachment's URL that is a list", look(image={"download_url": ["https://x/"],
            "file_id": "1"}), "argument 'image'"),
    Hostile("a guessed handle", call("measure", {"image": GUESSED, "numbers": [1]}),
            "no image with this handle"),
    Hostile("a handle in capitals", call("measure", {"image": GUESSED.upper(), "numbers": [1]}),
            "isError\":true"),
    Hostile("masks of a guessed handle", call("get_masks", {"image": GUESSED}),
            "no image with this handle"),
    Hostile("a format that is a path", call("get_masks", {"image": "red_cars.png",
            "format": "../../png"}), "not one of rle, polygons, png"),
    Hostile("a tolerance of 1e400", call("get_masks", {"image": "red_cars.png",
            "tolerance": 0.5}).replace(b"0.5", b"1e400"), "tolerance"),
    Hostile("a progress token that is an object", call("look", {"image": "red_cars.png",
            "region": [0, 0, 9, 9]}, _meta={"progressToken": {"a": 1}}), "nvalid"),
    Hostile("_meta with 50,000 keys", call("look", {"image": "red_cars.png", "region":
            [0, 0, 9, 9]}, _meta={f"k{i}": i for i in range(50_000)}), 200),
    Hostile("a method of __proto__", message(7, "__proto__", {}), "-32601"),
    Hostile("a method with NUL", message(7, "tools/list\0", {}), "-32601"),
    Hostile("a method of 1 MB", message(7, "x" * 1_000_000, {}), "-32601"),
    Hostile("a level of a log that is not there", message(7, "logging/setLevel",
            {"level": "debug"}), "-32601"),
    Hostile("completions that are not there", message(7, "completion/complete", {"ref": {"type":
            "ref/prompt", "name": "find"}, "argument": {"name": "what", "value": ""}}), "-32601"),
    Hostile("a prompt that fills itself in", message(7, "prompts/get", {"name": "find", "arguments":
            {"image": "$what ${what} {what}", "what": "$image"}}), "$what ${what} {what}"),
    Hostile("a prompt with a wrong kind of value", message(7, "prompts/get", {"name": "find",
            "arguments": {"image": 7, "what": []}}), "nvalid"),
    Hostile("a resource with other digits", read(f"sam3://{GUESSED}/masks/\u0663.png"),
            "there is no"),
    Hostile("a resource of 1 MB", read("sam3://" + "a" * 1_000_000), "a resource looks like"),
    Hostile("a resource with a line break", read(f"sam3://{GUESSED}/masks/1.png\nX: y"),
            "a resource looks like"),
    Hostile("a resource with ..", read(f"sam3://{GUESSED}/masks/../../../etc/passwd"),
            "there is no"),
    Hostile("a version from nowhere", started("9999-99-99", **ME), "protocolVersion\":\"2025"),
    Hostile("a version that is a number", started(7, **ME), "nvalid"),
    Hostile("a second handshake", started("2025-06-18", **ME), 200),
    Hostile("no client", started("2025-06-18"), "nvalid"),
    Hostile("answers that nobody asked for", json.dumps({"jsonrpc": "2.0", "id": 99, "result":
            {"roots": [{"uri": "file:///"}]}}).encode(), 202),
    Hostile("a cancelled request of another", json.dumps({"jsonrpc": "2.0", "method":
            "notifications/cancelled", "params": {"requestId": {"$gt": 0}}}).encode(), 202),
    Hostile("1,000 pings in a list", json.dumps([{"jsonrpc": "2.0", "id": i, "method": "ping"}
            for i in range(1_000)]).encode(), 400),
    Hostile("UTF-16", message(7, "ping", {}).decode().encode("utf-16"), 400,
            {"content-type": "application/json; charset=utf-16"}),
    Hostile("a compressed body", message(7, "ping", {}), 200, {"Content-Encoding": "br"}),
    Hostile("another kind of answer", message(7, "ping", {}), 406, {"accept": "text/html"}),
    Hostile("a protocol version from nowhere", message(7, "ping", {}), 400,
            {"Mcp-Protocol-Version": "../../x"}),
    Hostile("a session that is a path", message(7, "ping", {}), 404,
            {"mcp-session-id": "../../etc/passwd"}),
    Hostile("a session of 30,000 characters", message(7, "ping", {}), 404,
            {"mcp-session-id": "a" * 30_000}),
    Hostile("an end to a session that is not there", b"", 404,
            {"mcp-session-id": "0" * 32}, "DELETE"),
    Hostile("an end to no session", b"", 404, {"mcp-session-id": ""}, "DELETE"),
    Hostile("a stream from the past", b"", 405, {"Last-Event-Id": "1"}, "GET"),
    Hostile("a method of HTTP that is not there", b"", 405, {}, "PATCH"),
    Hostile("a page of another origin", message(7, "ping", {}), 403,
            {"Origin": "http://127.0.0.1.evil.example"}),
]  # fmt: skip
