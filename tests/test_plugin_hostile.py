"""What strangers may send: each row is refused in one clean sentence, nothing is fetched or read.

`pytest -s tests/test_plugin_hostile.py` prints the table.
"""

import asyncio
import base64
import http.server
import io
import json
import os
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from mcp import Client
from PIL import Image

from sam3_agent import Agent
from sam3_agent.errors import ImageError, InputError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import ImageLoader, Toolkit
from sam3_agent.plugin.download import Downloader, is_public
from sam3_agent.plugin.mcp_server import build
from sam3_agent.plugin.middleware import AccessRules
from sam3_agent.plugin.rest import app
from sam3_agent.plugin.sessions import Sessions
from sam3_agent.plugin.toolkit import public_name
from sam3_agent.plugin.work_queue import WorkQueue
from tests.plugin_fixtures import ROOT, data_uri, png

NAMES = {
    "internal.example": ["10.1.2.3"],
    "two-faced.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
}
"""Host names of these tests and where they lead."""


def resolve(host: str, port: int, **more: Any) -> list[Any]:
    """Names of these tests, and literal addresses in all their spellings; nothing is asked."""
    numbers = NAMES.get(host, [host])
    found: list[Any] = []
    for number in numbers:
        found += socket.getaddrinfo(number, port, flags=socket.AI_NUMERICHOST, **more)
    return found


@pytest.fixture
def no_network() -> Iterator[None]:
    """Instead of the fixture of all tests: every connection but those to loopback fails."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"this went out to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + checksum


def bomb(side: int) -> bytes:
    """A small PNG file that claims and holds side x side grey pixels."""
    head = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress(bytes((side + 1) * 64), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG whose compressed comment unpacks to 200 MB."""
    good = png()
    comment = chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(200_000_000), 9))
    return good[:33] + comment + good[33:]


def file_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def tiff(tags: dict[int, int], data: bytes, place: int, size: int) -> bytes:
    """A TIFF with these tags, and those that tell where its data lie and how large they are."""
    tags = tags | {place: 8 + 2 + 12 * (len(tags) + 2) + 4, size: len(data)}
    head = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + head + bytes(4) + data


def tile_bomb(side: int, bits: int = 8) -> bytes:
    """A TIFF of 16 x 16 pixels in one tile of side x side."""
    tags = {256: 16, 257: 16, 258: bits, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
    return tiff(tags, zlib.compress(bytes(side * 8), 9), 324, 325)


def band_bomb(bands: int) -> bytes:
    """A small TIFF of 1000 x 1000 pixels that has so many bands."""
    tags = {256: 1000, 257: 1000, 258: 8, 259: 8, 262: 1, 277: bands, 278: 1000}
    return tiff(tags, zlib.compress(bytes(9999), 9), 273, 279)


def deflate_bomb() -> bytes:
    """A TIFF of 16 x 16 pixels of 16 bits whose strip unpacks to 200 MB."""
    tags = {256: 16, 257: 16, 258: 16, 259: 8, 262: 1, 277: 1, 278: 16}
    return tiff(tags, zlib.compress(bytes(200_000_000), 9), 273, 279)


def scan_bomb() -> bytes:
    """A JPEG whose last scan comes a thousand times."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 128).save(buffer, "JPEG", progressive=True)
    good = buffer.getvalue()
    return good[:-2] + good[good.rfind(b"\xff\xda") : -2] * 1000 + good[-2:]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
LONG_JSON = b'{"image": ' + b"[" * 200_000

IMAGES: list[tuple[str, str, str]] = [
    ("loopback", "https://127.0.0.1/a.png", "not public"),
    ("loopback, short", "https://127.1/a.png", "not public"),
    ("loopback, one number", "https://2130706433/a.png", "not public"),
    ("loopback, hexadecimal", "https://0x7f.0.0.1/a.png", "not public"),
    ("loopback, octal", "https://0177.0.0.1/a.png", "not public"),
    ("loopback, version 6", "https://[::1]/a.png", "not public"),
    ("loopback, mapped", "https://[::ffff:127.0.0.1]/a.png", "not public"),
    ("loopback, NAT64", "https://[64:ff9b::7f00:1]/a.png", "not public"),
    ("loopback, 6to4", "https://[2002:7f00:1::]/a.png", "not public"),
    ("everything", "https://0.0.0.0/a.png", "not public"),
    ("class A private", "https://10.0.0.1/a.png", "not public"),
    ("class B private", "https://172.16.0.1/a.png", "not public"),
    ("class C private", "https://192.168.1.1/a.png", "not public"),
    ("carrier private", "https://100.64.0.1/a.png", "not public"),
    ("unique local", "https://[fd00::1]/a.png", "not public"),
    ("site-local", "https://[fec0::1]/a.png", "not public"),
    ("link-local", "https://[fe80::1]/a.png", "not public"),
    ("metadata", "https://169.254.169.254/latest/meta-data/", "not public"),
    ("metadata, Azure", "https://168.63.129.16/a.png", "not public"),
    ("metadata, Oracle", "https://192.0.0.192/a.png", "not public"),
    ("metadata, version 6", "https://[fd00:ec2::254]/a.png", "not public"),
    ("a name that leads inside", "https://internal.example/a.png", "not public"),
    ("a name with two faces", "https://two-faced.example/a.png", "not public"),
    ("a name for metadata", "https://metadata.example/", "not public"),
    ("no encryption", "http://93.184.216.34/a.png", "must begin with https://"),
    ("a user in the URL", "https://me:secret@93.184.216.34/a.png", "user name or password"),
    ("a name behind an @", "https://93.184.216.34@127.0.0.1/", "user name or password"),
    ("no host", "https:///a.png", "cannot be read"),
    ("a port that is none", "https://93.184.216.34:99999/", "cannot be read"),
    ("a line break", "https://93.184.216.34/a\r\nX-Evil: 1", "cannot be read"),
    ("a bad name", "https://" + "a" * 300 + ".example/", "cannot be read"),
    ("a file URL", "file:///etc/passwd", "no such picture in the folders"),
    ("a file URL of another host", "file://evil.example/share/a.png", "has three slashes"),
    ("a file URL, encoded", "file:///%2e%2e/%65tc/passwd", "no such picture in the folders"),
    ("a file URL with a NUL", "file:///a%00.png", "no such picture in the folders"),
    ("the home folder", "~/secret.png", "no such picture in the folders"),
    ("the home of another", "~root/.profile", "no such picture in the folders"),
    ("FTP", "ftp://93.184.216.34/a.png", "a handle, an https URL"),
    ("gopher", "gopher://127.0.0.1:6379/_INFO", "a handle, an https URL"),
    ("a script", "javascript:alert(1)", "a handle, an https URL"),
    ("an absolute path", "/etc/passwd", "no such picture in the folders"),
    ("up and away", "../secret.png", "no such picture in the folders"),
    ("up in the middle", "inner/../../secret.png", "no such picture in the folders"),
    ("a link to outside", "link.png", "no such picture in the folders"),
    ("a linked folder", "linked/secret.png", "no such picture in the folders"),
    ("a link to itself", "loop.png", "no such picture in the folders"),
    ("a folder", ".", "no such picture in the folders"),
    ("a pipe", "pipe", "no such picture in the folders"),
    ("a NUL", "a\0.png", "U+0000"),
    ("a path with no end", "a/" * 6000, "1 to 8000 characters"),
    ("nothing", "", "1 to 8000 characters"),
    ("a file that is text", "notes.png", "not an image"),
    ("a guessed handle", "img_" + "0" * 24, "no image with this handle"),
    ("a short handle", "img_", "no such picture in the folders"),
    ("a data URI of text", "data:text/plain,hello", "not an image"),
    ("a data URI without a comma", "data:image/png;base64", "data:image/png;base64,"),
    ("base64 that was cut", "data:image/png;base64,iVBOR", "cut short"),
    ("bare base64", data_uri(png()).partition(",")[2], "put data:image/png;base64, before it"),
    ("long bare base64", base64.b64encode(png() + bytes(9000)).decode(), "put data:image/png"),
    ("broken base64", "data:image/png;base64,@@@@", "not proper base64"),
    ("an empty data URI", "data:image/png;base64,", "is empty"),
    ("a PNG that is text", data_uri(b"not a png"), "not an image"),
    ("SVG", data_uri(SVG, "image/svg+xml"), "not an image"),
    ("PostScript", data_uri(b"%!PS-Adobe-3.0 EPSF-3.0\n", "image/png"), "not an image"),
    ("a PDF", data_uri(file_of("PDF"), "image/png"), "not an image"),
    ("an image of other formats", data_uri(file_of("PCX")), "not an image"),
    ("half a PNG", data_uri(png()[:60]), "damaged"),
    ("a pixel bomb", data_uri(bomb(30_000)), "900 megapixels, the limit is 50"),
    ("a comment bomb", data_uri(text_bomb()), "damaged"),
    ("a tile bomb", data_uri(tile_bomb(20_000)), "400 megapixels, the limit is 50"),
    ("a scan bomb", data_uri(scan_bomb(), "image/jpeg"), "at most 100 scans"),
    ("too large a file", "large.png", "larger than 1 MB"),
    ("too large a data URI", data_uri(bytes(1_100_000)), "larger than 1 MB"),
    ("too large, and wrapped", "data:image/png;base64," + "A A\n" * 1_000_000, "larger than 1 MB"),
    ("too large, not base64", "data:image/png," + "a" * 1_100_000, "larger than 1 MB"),
    ("a deep tile bomb", data_uri(tile_bomb(20_000, 16)), "400 megapixels, the limit is 50"),
    ("a band bomb", data_uri(band_bomb(60_000)), "MB in memory, the limit is 800"),
    ("a deflate bomb", data_uri(deflate_bomb()), "damaged"),
    ("right to left", "\u202egnp.drac", "no such picture in the folders"),
    ("half a letter", "a\ud800.png", "U+D800"),
    ("a letter with many marks", "e" + "\u0301" * 300, "no such picture in the folders"),
]

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
    ("a name of a web page's own", {"Host": "evil.example"}, 421, "host name"),
    ("no name", {"Host": ""}, 421, "host name"),
    ("another web page", {"Origin": "https://evil.example"}, 403, "other web pages"),
    ("a page of another port", {"Origin": "http://localhost:3000"}, 403, "other web pages"),
    ("a page from nowhere", {"Origin": "null"}, 403, "other web pages"),
    ("a length that is no number", {"Content-Length": "-1"}, 400, "no number"),
    ("a length without end", {"Content-Length": "9" * 30}, 413, "larger"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A root with a good picture, and traps that lead out of it."""
    (tmp_path / "secret.png").write_bytes(png())
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "good.png").write_bytes(png())
    (root / "notes.png").write_text("no picture")
    (root / "large.png").write_bytes(png() + bytes(1_000_000))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "linked").symlink_to(tmp_path)
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture
def toolkit(folder: Path, segmenter: FakeSegmenter) -> Toolkit:
    downloads = Downloader(max_bytes=1_000_000, resolve=resolve)
    loader = ImageLoader((folder,), downloads, max_bytes=1_000_000)
    return Toolkit.of(Agent(ScriptedPlanner([]), segmenter), loader=loader)


async def post(toolkit: Toolkit, body: bytes, headers: dict[str, str]) -> httpx2.Response:
    rules = AccessRules(max_bytes=1_500_000)
    transport = httpx2.ASGITransport(app(toolkit, WorkQueue(), rules))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post("/segment", content=body, headers=headers)


def assert_clean(told: str, folder: Path) -> None:
    """One sentence without a path of this machine, a stack or a file's content."""
    for secret in (str(folder), str(folder.parent), str(ROOT), "Traceback", "root:", "secret@"):
        assert secret not in told
    assert "\n" not in told.strip()
    assert len(told) < 400


def test_no_hostile_image_is_taken(
    no_network: None, toolkit: Toolkit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    async def work() -> None:
        for name, image, reason in IMAGES:
            body = json.dumps({"image": image, "phrases": ["dog"]}).encode()
            answer = await post(toolkit, body, {"Content-Type": "application/json"})
            told = answer.json()["error"]["message"]
            size = answer.status_code == 413  # a large data URI may not even come in
            print(f"{name:26} {image[:40]!r:44} {answer.status_code} {told[:90]}")
            assert answer.status_code == 422 or size, (name, answer.text)
            assert reason in told or size, (name, told)
            assert_clean(told, folder)

    asyncio.run(work())
    assert len(toolkit.sessions) == 0
    assert toolkit.session("good.png").scene.width == 200


def test_a_folder_that_becomes_a_link_while_it_is_read_is_not_followed(
    tmp_path: Path, folder: Path
) -> None:
    """Whoever may write under a root swaps a folder for a link again and again."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.png").write_bytes(b"secret")
    inner, loader, over = folder / "inner", ImageLoader((folder,)), threading.Event()
    (inner / "a.png").write_bytes(png())

    def swap() -> None:
        while not over.is_set():
            inner.rename(folder / "kept")
            inner.symlink_to(tmp_path / "outside")
            inner.unlink()
            (folder / "kept").rename(inner)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        told = set()
        for _ in range(15_000):
            try:
                loader.read("inner/a.png")
            except ImageError as error:
                told.add(str(error))
    finally:
        over.set()
        swapping.join()
    assert told <= {"there is no such picture in the folders that may be read"}


def test_no_hostile_body_is_taken(no_network: None, toolkit: Toolkit, folder: Path) -> None:
    async def work() -> None:
        for name, body, kind, status, reason in BODIES:
            content = body.replace(b"$GOOD", b"good.png")
            answer = await post(toolkit, content, {"Content-Type": kind})
            told = answer.json()["error"]["message"]
            print(f"{name:26} {body[:40]!r:44} {answer.status_code} {told[:90]}")
            assert answer.status_code == status, (name, answer.text)
            assert reason in told, (name, told)
            assert_clean(told, folder)
        for name, headers, status, reason in HEADERS:
            body = b'{"image": "good.png", "phrases": ["dog"]}'
            headers = {"Content-Type": "application/json", **headers}
            answer = await post(toolkit, body, headers)
            told = answer.json()["error"]["message"]
            print(f"{name:26} {headers!s:44.44} {answer.status_code} {told[:90]}")
            assert (answer.status_code, reason in told) == (status, True), (name, told)

    asyncio.run(work())


def test_no_hostile_mcp_call_is_taken(no_network: None, toolkit: Toolkit, folder: Path) -> None:
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

    async def work() -> None:
        good = toolkit.session("good.png").handle
        async with Client(build(toolkit, WorkQueue())) as client:
            for name, arguments, reason in rows:
                result = await client.call_tool(name, arguments)
                told = result.content[0].text  # type: ignore[union-attr]
                print(f"{name:26} {str(arguments)[:44]:44} error {told[:90]}")
                assert result.is_error
                assert reason in told
                assert_clean(told, folder)
            for uri in uris:
                with pytest.raises(Exception, match=r"there (is|are) no|looks like") as refused:
                    await client.read_resource(uri.replace("$GOOD", good))
                print(f"{'resource':26} {uri:44} error {refused.value}")
                assert_clean(str(refused.value), folder)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("facebook/sam3", "facebook/sam3"),
        ("/home/me/sam3", "sam3"),
        ("../models/sam3", "sam3"),
        ("openai:/home/me/Qwen", "openai:Qwen"),
        ("openai:Qwen/Qwen3-VL", "openai:Qwen/Qwen3-VL"),
        ("open:/home/me/dino+~/sam2", "open:dino+sam2"),
    ],
)
def test_a_model_is_named_without_the_folder_it_lies_in(name: str, told: str) -> None:
    assert public_name(name) == told


def test_addresses_are_told_apart() -> None:
    for public in ("8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"):
        assert is_public(public)
    for other in ("224.0.0.1", "255.255.255.255", "198.18.0.1", "ff02::1", "::", "nonsense"):
        assert not is_public(other)


class Web(http.server.BaseHTTPRequestHandler):
    """A web server with a picture, and pages that misbehave."""

    def do_GET(self) -> None:
        page = self.path.split("?")[0]
        if page == "/good.png":
            self._send(png())
        elif page == "/inside":
            self._redirect("http://10.0.0.1/a.png")
        elif page == "/metadata":
            self._redirect("http://169.254.169.254/latest")
        elif page == "/file":
            self._redirect("file:///etc/passwd")
        elif page == "/round":
            self._redirect("/round?again")
        elif page == "/near":
            self._redirect("/good.png")
        elif page == "/endless":
            self.send_response(200)
            self.end_headers()
            while self._more(bytes(65_536)):
                pass
        elif page == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while self._more(b"x") and not self.server.done.wait(0.05):  # type: ignore[attr-defined]
                pass
        elif page == "/short":
            self._send(png(), claim=10_000)
        elif page == "/html":
            self._send(b"<html>", kind="image/png")
        else:
            self.send_error(404, "/srv/www has no such file")

    def _send(self, content: bytes, kind: str = "text/html", claim: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(claim or len(content)))
        self.end_headers()
        self._more(content)

    def _more(self, content: bytes) -> bool:
        try:
            return bool(self.wfile.write(content))
        except OSError:
            return False

    def _redirect(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.done = threading.Event()  # type: ignore[attr-defined]
        running = threading.Thread(target=server.serve_forever, args=(0.02,))
        running.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.done.set()  # type: ignore[attr-defined]
        server.shutdown()
        running.join()


def downloader(**more: Any) -> Downloader:
    """One that may go to this machine's loopback by its number, and nowhere else inside."""
    inside = frozenset({"127.0.0.1"})
    return Downloader(True, inside, **{"max_bytes": 100_000, "seconds": 5.0, **more})


def test_a_picture_is_downloaded_whatever_its_type_is_said_to_be(web: str) -> None:
    assert downloader().fetch(f"{web}/good.png") == png()
    assert downloader().fetch(f"{web}/near") == png()
    with pytest.raises(ImageError, match="not an image"):
        ImageLoader(downloads=downloader()).read(f"{web}/html")


@pytest.mark.parametrize(
    ("page", "limits", "told"),
    [
        ("/inside", {}, "not public"),
        ("/metadata", {}, "not public"),
        ("/file", {}, "must begin with https:// or http://"),
        ("/round", {}, "more than 5 times"),
        ("/endless", {}, r"larger than 0\.1 MB"),
        ("/drip", {"max_bytes": 10_000_000, "seconds": 0.3}, r"longer than 0\.3 seconds"),
        ("/drip", {}, r"larger than 0\.1 MB"),
        ("/short", {}, "no proper answer"),
        ("/none", {}, "answered 404"),
    ],
)
def test_a_web_page_that_misbehaves_is_left(
    web: str, page: str, limits: dict[str, Any], told: str
) -> None:
    with pytest.raises(ImageError, match=told) as refused:
        downloader(**limits).fetch(f"{web}{page}")
    assert "/srv/www" not in str(refused.value)


def test_a_name_is_resolved_once_and_the_checked_address_is_used(web: str) -> None:
    """A name server that answers inside first and then elsewhere, and the other way round."""
    port = web.rsplit(":", 1)[1]
    answers = iter(["127.0.0.1", "10.0.0.1"])

    def changing(host: str, port: int, **more: Any) -> list[Any]:
        return socket.getaddrinfo(next(answers), port, **more)

    fetch = Downloader(True, frozenset({"rebound.example"}), resolve=changing).fetch
    assert fetch(f"http://rebound.example:{port}/good.png") == png()
    assert list(answers) == ["10.0.0.1"]
    answers = iter(["127.0.0.1"])
    with pytest.raises(ImageError, match="not public"):
        Downloader(True, resolve=changing).fetch(f"http://rebound.example:{port}/good.png")


def test_a_certificate_must_be_of_the_host(web: str) -> None:
    """The server speaks no TLS at all; what matters is that https is never plain."""
    with pytest.raises(ImageError, match="no proper answer"):
        downloader().fetch(web.replace("http:", "https:") + "/good.png")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def picture(shade: int) -> Any:
    return np.full((100, 100, 3), shade, np.uint8)


def test_a_session_keeps_so_many_images_and_an_idle_one_is_dropped(
    segmenter: FakeSegmenter,
) -> None:
    clock = Clock()
    sessions = Sessions(segmenter, owner_images=2, idle_seconds=60, clock=clock)
    first, second = sessions.open("me", picture(1)), sessions.open("me", picture(2))
    other = sessions.open("you", picture(1))
    assert other.handle != first.handle
    sessions.get("me", first.handle)
    sessions.open("me", picture(3))
    with pytest.raises(InputError, match="give the image again"):
        sessions.get("me", second.handle)  # it was used longest ago
    with pytest.raises(InputError, match="no image with this handle"):
        sessions.get("you", first.handle)
    assert sessions.get("me", first.handle) is first
    clock.now = 61
    sessions.drop_idle()
    assert len(sessions) == 0


def test_all_sessions_together_stay_in_their_memory(segmenter: FakeSegmenter) -> None:
    sessions = Sessions(segmenter, total_bytes=100_000)
    for shade in range(20):
        sessions.open(None if shade % 2 else f"session {shade}", picture(shade))
        assert sessions.weight() <= 100_000
    assert len(sessions) == 3


def test_one_image_cannot_be_asked_without_end(segmenter: FakeSegmenter) -> None:
    toolkit = Toolkit.of(Agent(ScriptedPlanner([]), segmenter))
    handle = toolkit.sessions.open("local", picture(0)).handle

    def ask_on() -> None:
        for number in range(0, 10_000, 16):
            toolkit.segment(handle, [f"thing {number + i}" for i in range(16)])

    with pytest.raises(InputError, match="give the image itself again"):
        ask_on()
    assert toolkit.sessions.open("local", picture(0)).handle != handle


def test_images_uploaded_base64_in_any_spelling_are_read(toolkit: Toolkit) -> None:
    content = png() + b"!?"  # a length that needs padding
    encoded = base64.b64encode(content).decode()
    for head in ("data:image/png;base64,", "DATA:image/PNG;charset=utf-8;base64,", "data:;base64,"):
        for body in (
            encoded,
            "\n" + base64.encodebytes(content).decode(),
            encoded.rstrip("="),
            base64.urlsafe_b64encode(content).decode().rstrip("="),
            encoded.replace("+", "%2B").replace("=", "%3D"),
        ):
            assert toolkit.loader.read(head + body).shape == (100, 200, 3)


def test_a_file_of_a_root_is_read_by_its_url(toolkit: Toolkit, folder: Path) -> None:
    assert toolkit.loader.read((folder / "good.png").as_uri()).shape == (100, 200, 3)
    assert toolkit.loader.read(str(folder / "good.png")).shape == (100, 200, 3)
    for outside in (folder.parent / "secret.png", folder / "link.png"):
        with pytest.raises(ImageError, match="no such picture"):
            toolkit.loader.read(outside.as_uri())


def test_a_server_without_roots_says_what_bare_base64_lacks(segmenter: FakeSegmenter) -> None:
    loader = ImageLoader()
    encoded = base64.b64encode(png()).decode()
    for bare in (encoded, encoded * 99, base64.urlsafe_b64encode(png()).decode()):
        with pytest.raises(ImageError, match="put data:image/png;base64, before it"):
            loader.read(bare)
    with pytest.raises(ImageError, match="files are not read here"):
        loader.read("photo.png")
