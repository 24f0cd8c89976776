"""Images that untrusted callers name: each hostile one is refused in one sentence.

Nothing is fetched and no other file is read. `pytest -s` prints the table.
"""

import base64
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent import Agent
from sam3_agent.errors import ImageError
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin import ImageLoader, Toolkit
from sam3_agent.plugin.download import Downloader
from sam3_agent.plugin.middleware import AccessRules
from tests.image_bombs import band_bomb, bomb, deflate_bomb, scan_bomb, text_bomb, tile_bomb
from tests.plugin_fixtures import assert_discloses_nothing, data_uri, png, rest_client

NAMES = {
    "internal.example": ["10.1.2.3"],
    "two-faced.example": ["93.184.216.34", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
}
"""Host names of these tests and their addresses."""


def resolve(host: str, port: int, **more: Any) -> list[Any]:
    """Names of these tests, and literal addresses in all their spellings; no server is asked."""
    return [
        entry
        for address in NAMES.get(host, [host])
        for entry in socket.getaddrinfo(address, port, flags=socket.AI_NUMERICHOST, **more)
    ]


@pytest.fixture
def no_network() -> Iterator[None]:
    """Instead of the fixture of all tests: literal addresses may be looked up, not connected to."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a connection was made to {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


def file_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'

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
    ("a name with a private address", "https://internal.example/a.png", "not public"),
    ("a name with a public and a private address", "https://two-faced.example/a.png", "not public"),
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


async def test_a_hostile_image_is_refused_with_the_reason(
    no_network: None, toolkit: Toolkit
) -> None:
    async with rest_client(toolkit, AccessRules(max_bytes=1_500_000)) as client:
        for name, image, reason in IMAGES:
            # json.dumps escapes halves of surrogate pairs, which the client's own does not
            body = json.dumps({"image": image, "phrases": ["dog"]}).encode()
            headers = {"Content-Type": "application/json"}
            answer = await client.post("/segment", content=body, headers=headers)
            message = answer.json()["error"]["message"]
            size = answer.status_code == 413  # the body of a large data URI is not read
            print(f"{name:26} {image[:40]!r:44} {answer.status_code} {message[:90]}")
            assert answer.status_code == 422 or size, (name, answer.text)
            assert reason in message or size, (name, message)
            assert_discloses_nothing(message)
    assert len(toolkit.sessions) == 0
    assert toolkit.session("good.png").scene.width == 200


def test_a_folder_that_becomes_a_link_while_it_is_read_is_not_followed(
    tmp_path: Path, folder: Path
) -> None:
    """Somebody who may write under a root swaps a folder for a link again and again."""
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
        errors = set()
        for _ in range(15_000):
            try:
                loader.read("inner/a.png")
            except ImageError as error:
                errors.add(str(error))
    finally:
        over.set()
        swapping.join()
    assert errors <= {"there is no such picture in the folders that may be read"}


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
