"""More hostile requests to the REST server: each gets a clear 4xx, or is answered right.

`pytest -s` prints the table. Others are in test_untrusted_requests, test_image_loader and
test_request_growth.
"""

import base64
import gzip
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sam3_agent import Agent
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import ImageLoader, Toolkit
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.work_queue import WorkQueue
from tests.plugin_fixtures import assert_discloses_nothing, data_uri, png, rest_client

JSON, FORM = "application/json", "multipart/form-data; boundary=x"
GOOD = data_uri(png())


@dataclass(frozen=True)
class Row:
    """A request, and what it is answered: status, and what its error says, if it is one."""

    name: str
    status: int
    reason: str = ""
    method: str = "POST"
    path: str = "/segment"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


def sent(**values: Any) -> bytes:
    """A JSON body with a good image and phrase, and these values."""
    return json.dumps({"image": GOOD, "phrases": ["dog"], **values}).encode()


def tool(name: str, status: int, reason: str, path: str, **values: Any) -> Row:
    return Row(name, status, reason, path=path, body=json.dumps({"image": GOOD, **values}).encode())


def json_row(name: str, status: int, reason: str, **values: Any) -> Row:
    return Row(name, status, reason, body=sent(**values))


def raw(name: str, body: bytes, status: int = 422, reason: str = "not valid JSON") -> Row:
    return Row(name, status, reason, body=body)


def form(name: str, status: int, reason: str, *parts: tuple[bytes, bytes], end: bool = True) -> Row:
    """parts: head and content of each."""
    body = b"".join(
        b"--x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return Row(name, status, reason, body=body + b"--x--\r\n" * end, headers={"Content-Type": FORM})


FILE = (b'name="image"; filename="a.png"', png())
DOG = (b'name="phrases"', b"dog")

THRESHOLDS: tuple[Any, ...] = (-0.1, 1.1, True, [], {}, "1e999", "0x1", "one", "\uff19" * 50)

ROWS = [
    # methods and paths
    Row("a GET of a tool", 405, "Method Not Allowed", method="GET"),
    Row("a DELETE of a tool", 405, "Method Not Allowed", method="DELETE"),
    Row("a TRACE", 405, "Method Not Allowed", method="TRACE"),
    Row("a method that nobody knows", 405, "Method Not Allowed", method="BREW"),
    Row("a POST to the metrics", 405, "Method Not Allowed", path="/metrics"),
    Row("a path that nobody knows", 404, "Not Found", path="/admin"),
    Row("two slashes", 404, "Not Found", path="//segment"),
    Row("a file of another folder", 404, "Not Found", method="GET", path="/openapi.json/../x"),
    *(
        Row(f"a file of an image: {name}", 404, "there is no", method="GET", path=f"/images/{path}")
        for name, path in {
            "an encoded way up": "$HANDLE/..%2f..%2f..%2fetc%2fpasswd",
            "a NUL": "$HANDLE/overlay.jpg%00",
            "other digits": "$HANDLE/masks/%EF%BC%91.png",
            "a zero before": "$HANDLE/masks/01.png",
            "an exponent": "$HANDLE/masks/1e3.png",
            "a number without end": f"$HANDLE/masks/{'9' * 4000}.png",
            "half a letter": "$HANDLE/%ff%fe",
            "a long name": "$HANDLE/" + "a" * 20_000,
            "a handle in capitals": "IMG_0123456789ABCDEF01234567/overlay.jpg",
            "a handle with a rest": "$HANDLE%20/overlay.jpg",
            "no handle": "%20/overlay.jpg",
        }.items()
    ),
    Row("a line break in a path", 404, "Not Found", method="GET",
        path="/images/$HANDLE/overlay.jpg%0d%0aX-Evil:%201"),
    Row("a range of a file", 200, method="GET", path="/images/$HANDLE/overlay.jpg",
        headers={"Range": "bytes=0-0,1-1," + ",".join("2-2" for _ in range(1000))}),
    # types and encodings
    Row("a form of a web page", 415, "send application/json", body=b"image=a&phrases=dog",
        headers={"Content-Type": "application/x-www-form-urlencoded"}),
    Row("JSON as text", 415, "send application/json", body=sent(),
        headers={"Content-Type": "text/plain"}),
    Row("a type with a list", 415, "send application/json", body=sent(),
        headers={"Content-Type": "application/json, text/plain"}),
    Row("a charset that is none", 200, body=sent(),
        headers={"Content-Type": "application/json; charset=hex"}),
    Row("gzip", 422, "not valid JSON", body=gzip.compress(sent()),
        headers={"Content-Type": JSON, "Content-Encoding": "gzip"}),
    Row("a bomb of gzip", 422, "not valid JSON", body=gzip.compress(bytes(50_000_000)),
        headers={"Content-Type": JSON, "Content-Encoding": "gzip"}),
    Row("another method in a header", 200, body=sent(),
        headers={"Content-Type": JSON, "X-HTTP-Method-Override": "DELETE"}),
    Row("an Accept without sense", 200, body=sent(),
        headers={"Content-Type": JSON, "Accept": "\xff/;q=nan, */*;;;"}),
    Row("a forwarded host", 200, body=sent(),
        headers={"Content-Type": JSON, "X-Forwarded-Host": "evil.example", "Forwarded": "host=x"}),
    raw("UTF-16", sent().decode().encode("utf-16")),
    raw("UTF-8 with a mark", b"\xef\xbb\xbf" + sent()),
    raw("two values", sent() + sent()),
    raw("a comment", b"/* */" + sent()),
    raw("single quotes", sent().replace(b'"', b"'")),
    raw("a comma too many", sent()[:-1] + b",}"),
    raw("overlong UTF-8", b'{"image": "\xc0\xaf"}'),
    raw("a string", b'"' + base64.b64encode(sent()) + b'"', reason="must be a JSON object"),
    raw("the key of a prototype", b'{"__proto__": {}, ' + sent()[1:], reason="no argument"),
    raw("a key with a NUL", b'{"image\\u0000": "a", ' + sent()[1:], reason="no argument"),
    raw("an empty key", b'{"": "a", ' + sent()[1:], reason="no argument ''"),
    raw("a key of half a letter", b'{"\\udfff": 1, ' + sent()[1:], reason="no argument"),
    # values
    *(
        json_row(f"a threshold: {value!r}", 422, "threshold", threshold=value)
        for value in THRESHOLDS
    ),
    raw("a threshold: NaN", sent()[:-1] + b', "threshold": NaN}', reason="'threshold'"),
    raw("a threshold: -Infinity", sent()[:-1] + b', "threshold": -Infinity}', reason="'threshold'"),
    raw("a threshold: 1e999", sent()[:-1] + b', "threshold": 1e999}', reason="'threshold'"),
    *(
        json_row(f"a region: {value!r}", 422, "region", region=value)
        for value in ([1, 2, 3], [50, 50, 10, 10], [0, 0, 0, 0], [0, 0, 101, 50], [[0, 0, 9, 9]])
    ),
    *(
        json_row(f"a phrase: {value[:12]!r}", 422, "phrase", phrases=[value])
        for value in ("a\x00b", " \t ", "\n", "dog\x1b[2J", "\ud83d dog")
    ),
    json_row("a phrase that is a list", 422, "phrases", phrases=[["dog"]]),
    json_row("seventeen phrases", 422, "phrases", phrases=[f"dog {n}" for n in range(17)]),
    json_row("an image in a list", 422, "'image'", image=[GOOD]),
    json_row("an image that is true", 422, "'image'", image=True),
    *(
        tool(f"numbers: {value!r:.20}", 422, "", "/measure", numbers=value)
        for value in ([0], [-1], [2**70], [1.5], ["one"], [True], [1] * 5_000, [], "1;2", {"a": 1})
    ),
    tool("points: outside", 422, "", "/refine", points=[[101, 1]]),
    tool("points: of one number", 422, "", "/refine", points=[[1]]),
    tool("points: a thousand", 422, "", "/refine", points=[[1, 1]] * 1_000),
    tool("examples and a place", 422, "either", "/refine", like=[1], points=[[1, 1]]),
    tool("neither", 422, "either", "/refine"),
    tool("an example that is no mask", 422, "", "/refine", like=[999]),
    tool("a question of blanks", 422, "", "/ask", query=" \t\n"),
    tool("a question of 4,001 letters", 422, "", "/ask", query="x" * 4_001),
    tool("a question of half a letter", 422, "", "/ask", query="which \ud800?"),
    Row("another's folder", 422, "", path="/images", body=b'{"image": "good.png", "root": "/"}'),
    # forms
    form("a form without parts", 422, "needs the argument"),
    form("a file of no bytes", 422, "is empty", (FILE[0], b""), DOG),
    form("a file that is no picture", 422, "not an image", (FILE[0], b"GIF89a"), DOG),
    form("a file named as a way up", 200, "",
         (b'name="image"; filename="../../../etc/passwd"', png()), DOG),
    form("a file in another field", 422, "no argument 'upload'",
         (b'name="upload"; filename="a.png"', png()), DOG),
    form("a file for a phrase", 422, "phrases", (b'name="image"', GOOD.encode()),
         (b'name="phrases"; filename="a"', b"dog")),
    form("a file for a phrase beside another", 400, "Too many files", FILE,
         (b'name="phrases"; filename="a"', b"dog")),
    form("two files", 400, "Too many files", FILE, FILE, DOG),
    form("200 fields", 400, "Too many fields", *[DOG] * 200),
    form("twenty phrases", 422, "phrases", FILE, *[DOG] * 20),
    form("a part without a name", 400, "", (b"filename=a", b"x")),
    form("a part that is no form's", 400, "", (b"\r\nContent-Disposition: attachment", b"x")),
    form("a name of half a letter", 422, "no argument", (b'name="\xff"', b"x"), FILE, DOG),
    form("a field that is not UTF-8", 200, "", FILE, (b'name="phrases"', b"\xff\xfe")),
    form("a field of 2 MB", 400, "", (b'name="phrases"', b"a" * 2_000_000)),
    form("a charset of the form", 422, "no argument '_charset_'",
         (b'name="_charset_"', b"utf-7"), FILE, DOG),
    form("another transfer encoding", 422, "not an image",
         (FILE[0] + b"\r\nContent-Transfer-Encoding: base64", base64.b64encode(png())), DOG),
    form("a path as a field", 200, "", (b'name="image"', b"good.png"), DOG),
    form("a path to the outside as a field", 422, "no such picture",
         (b'name="image"', b"../secret.png"), DOG),
    Row("the boundary of another form", 400, "Invalid multipart data",
        body=b"--y\r\nContent-Disposition: form-data; name=image\r\n\r\nx\r\n--y--\r\n",
        headers={"Content-Type": FORM}),
    Row("a boundary of 5,000 letters", 400, "",
        body=b"--" + b"b" * 5_000 + b"\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=" + "b" * 5_000}),
    Row("a boundary that is empty", 422, "needs the argument", body=b"--\r\n--",
        headers={"Content-Type": 'multipart/form-data; boundary=""'}),
]  # fmt: skip


@pytest.fixture
def toolkit(tmp_path: Path, segmenter: FakeSegmenter) -> Toolkit:
    """Tools that may read good.png, beside which lies a file that they may not read."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "good.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    return Toolkit.of(Agent(ScriptedPlanner([]), segmenter), loader=ImageLoader((root,)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_hostile_request_gets_a_clear_answer(
    toolkit: Toolkit, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    handle = toolkit.sessions.open(None, toolkit.loader.read("good.png")).handle
    headers: Any = [(k.encode(), v.encode("latin-1")) for k, v in row.headers.items()]
    async with rest_client(toolkit) as client:
        path = row.path.replace("$HANDLE", handle)
        answer = await client.request(row.method, path, content=row.body, headers=headers)
    assert answer.status_code == row.status, answer.text
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    if row.status == 200:
        return
    error = answer.json()["error"]
    print(f"{row.name[:40]:40} {answer.status_code} {error['message'][:100]}")
    assert row.reason in error["message"]
    assert_discloses_nothing(error["message"].replace(handle, ""))
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("kind", [JSON, FORM])
@pytest.mark.parametrize("path", ["/segment", "/images", "/ask"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_bug(
    segmenter: FakeSegmenter, path: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = app(Toolkit.of(Agent(ScriptedPlanner([]), segmenter)), WorkQueue(), AccessRules())
    head = b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\n"
    first = {"type": "http.request", "body": head + bytes(1000), "more_body": True}
    await made(_scope("POST", path, kind), _receiver(iter([first])), _ignored)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    metrics = await _text(made, "/metrics")
    assert f'sam3_agent_requests_total{{route="{path}",status="499"}} 1.0' in metrics
    assert 'status="500"' not in metrics


def _scope(method: str, path: str, kind: str) -> Any:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"content-type", kind.encode())],
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
    }


def _receiver(messages: Iterator[dict[str, Any]]) -> Any:
    """A `receive` of these messages, and then of a client that has left."""

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    return receive


async def _ignored(_: Any) -> None:
    """A `send` whose client has left."""


async def _text(made: Any, path: str) -> str:
    """The body of a GET."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    empty = iter([{"type": "http.request", "body": b"", "more_body": False}])
    await made(_scope("GET", path, JSON), _receiver(empty), send)
    return b"".join(sent).decode()
