"""Downloads for untrusted callers: public addresses only (SSRF), within limits of size and time."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from sam3_agent import budget, load_image
from sam3_agent.errors import ImageError, StoppedError
from sam3_agent.plugin import ImageLoader
from sam3_agent.plugin.download import Downloader, is_public
from tests.loopback import address, serving
from tests.plugin_fixtures import assert_discloses_nothing, png
from tests.raw_server import Connection, raw_server


def test_public_addresses_are_distinguished_from_all_others() -> None:
    for public in ("8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"):
        assert is_public(public)
    for other in ("224.0.0.1", "255.255.255.255", "198.18.0.1", "ff02::1", "::", "nonsense"):
        assert not is_public(other)


class Web(BaseHTTPRequestHandler):
    """A web server with a picture, and pages that misbehave."""

    def do_GET(self) -> None:
        page = self.path.split("?")[0]
        if page == "/good.png":
            self._send(png())
        elif page == "/private":
            self._redirect("http://10.0.0.1/a.png")
        elif page == "/metadata":
            self._redirect("http://169.254.169.254/latest")
        elif page == "/file":
            self._redirect("file:///etc/passwd")
        elif page == "/loop":
            self._redirect("/loop?again")
        elif page == "/redirect":
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


@pytest.fixture
def web() -> Iterator[str]:
    with serving(Web) as server:
        server.done = threading.Event()  # type: ignore[attr-defined]
        yield address(server)
        server.done.set()  # type: ignore[attr-defined]


def downloader(**more: Any) -> Downloader:
    """One that may connect to 127.0.0.1, and to no other private address."""
    private = frozenset({"127.0.0.1"})
    return Downloader(True, private, **{"max_bytes": 100_000, "seconds": 5.0, **more})


def test_a_picture_is_downloaded_whatever_its_content_type_is(web: str) -> None:
    assert downloader().fetch(f"{web}/good.png") == png()
    assert downloader().fetch(f"{web}/redirect") == png()
    with pytest.raises(ImageError, match="not an image"):
        ImageLoader(downloads=downloader()).read(f"{web}/html")


@pytest.mark.parametrize(
    ("page", "limits", "reason"),
    [
        ("/private", {}, "not public"),
        ("/metadata", {}, "not public"),
        ("/file", {}, "must begin with https:// or http://"),
        ("/loop", {}, "more than 5 times"),
        ("/endless", {}, r"larger than 0\.1 MB"),
        ("/drip", {"max_bytes": 10_000_000, "seconds": 0.3}, r"longer than 0\.3 seconds"),
        ("/drip", {}, r"larger than 0\.1 MB"),
        ("/short", {}, "no proper answer"),
        ("/none", {}, "answered 404"),
    ],
)
def test_a_download_that_breaks_a_limit_ends_with_the_reason(
    web: str, page: str, limits: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ImageError, match=reason) as refused:
        downloader(**limits).fetch(f"{web}{page}")
    assert "/srv/www" not in str(refused.value)


def test_a_name_is_resolved_once_and_the_checked_address_is_used(web: str) -> None:
    """A name server that answers with another address each time (DNS rebinding)."""
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


def test_https_is_never_sent_in_plain_text(web: str) -> None:
    """The server speaks no TLS: https must never fall back to plain text."""
    with pytest.raises(ImageError, match="no proper answer"):
        downloader().fetch(web.replace("http:", "https:") + "/good.png")


Handler = Callable[[Connection], None]


def answering(*pieces: bytes) -> Handler:
    """A server that sends these bytes to each request, and closes the connection."""

    def handle(connection: Connection) -> None:
        connection.read_head()
        for piece in pieces:
            connection.send(piece)

    return handle


def dripping(start: bytes, drop: bytes, piece: int = 1) -> Handler:
    """A server that sends the start at once, and then a drop again and again."""

    def handle(connection: Connection) -> None:
        connection.read_head()
        connection.send(start)
        while not connection.over.is_set():
            connection.drip(drop, seconds=0.05, piece=piece)

    return handle


def endless(start: bytes, more: bytes) -> Handler:
    """A server that sends more and more as fast as it can."""

    def handle(connection: Connection) -> None:
        connection.read_head()
        connection.send(start)
        while not connection.over.is_set():
            connection.send(more)

    return handle


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = gzip.compress(bytes(100_000_000))

HOSTILE: dict[str, tuple[Handler, str]] = {
    "a status line that drips": (dripping(b"HTTP/1.1 200", b"K"), "longer than 0.5 seconds"),
    "a header that drips": (dripping(OK + b"X-A: ", b"a"), "longer than 0.5 seconds"),
    "headers that drip": (dripping(OK, b"X-A: a\r\n", piece=8), "longer than 0.5 seconds"),
    "a body that drips without a length": (dripping(OK + b"\r\n", b"x"), "longer than 0.5 seconds"),
    "chunks that drip": (dripping(CHUNKED, b"1\r\nx\r\n"), "longer than 0.5 seconds"),
    "the size of a chunk that drips": (dripping(CHUNKED, b"0"), "longer than 0.5 seconds"),
    "a chunk's extension that drips": (dripping(CHUNKED + b"1;", b"a"), "longer than 0.5 seconds"),
    "trailers that drip": (
        dripping(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: a\r\n", piece=6),
        "longer than 0.5 seconds",
    ),
    "100 Continue that drips": (
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", piece=25),
        "longer than 0.5 seconds",
    ),
    "nothing at all": (dripping(b"", b""), "longer than 0.5 seconds"),
    "100 Continue without end": (
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        "no proper answer",
    ),
    "a status line without end": (endless(b"", b"H" * 10_000), "no proper answer"),
    "a header without end": (endless(OK + b"X: ", b"a" * 10_000), "no proper answer"),
    "headers without end": (endless(OK, b"X: a\r\n" * 1_000), "no proper answer"),
    "trailers without end": (
        endless(CHUNKED + b"0\r\n", b"X: a\r\n" * 1_000),
        "no proper answer|longer than 0.5 seconds",
    ),
    "chunks without end": (endless(CHUNKED, b"5\r\nxxxxx\r\n" * 1_000), "larger than 0.1 MB"),
    "a chunk of negative size": (answering(CHUNKED + b"-5\r\nxxxxx\r\n"), "no proper answer"),
    "a chunk of an absurd size": (answering(CHUNKED + b"f" * 60 + b"\r\nx"), "no proper answer"),
    "a chunk's size that is no number": (answering(CHUNKED + b"zz\r\nx"), "no proper answer"),
    "a negative length": (
        answering(OK + b"Content-Length: -1\r\n\r\n" + bytes(200_000)),
        "larger than 0.1 MB",
    ),
    "an absurd length": (
        answering(OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nx"),
        "no proper answer|larger than 0.1 MB|not an image",
    ),
    "gzip that was not asked for": (
        answering(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP) + GZIP),
        "not an image",
    ),
    "gzip as a transfer encoding": (
        answering(OK + b"Transfer-Encoding: gzip\r\n\r\n" + GZIP),
        "not an image",
    ),
    "HTTP 0.9": (answering(b"<html>"), "no proper answer"),
    "another protocol": (answering(b"220 mail.example ESMTP\r\n"), "no proper answer"),
    "a status of 999": (answering(b"HTTP/1.1 999 No\r\n\r\n"), "answered 999"),
    "a status that is no number": (answering(b"HTTP/1.1 OK\r\n\r\n"), "no proper answer"),
    "a redirect to nowhere": (answering(b"HTTP/1.1 302 F\r\nLocation: \r\n\r\n"), "answered 302"),
    "a redirect to a broken URL": (
        answering(b"HTTP/1.1 302 F\r\nLocation: http://[::1\r\n\r\n"),
        "redirects to one that cannot be read",
    ),
    "a redirect into itself, split": (
        answering(b"HTTP/1.1 302 F\r\nLocation: /\r\n\tX-Evil: 1\r\n\r\n"),
        "more than 5 times|cannot be read",
    ),
    "a connection that is closed": (answering(), "no proper answer"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_web_server_is_left_in_time(name: str) -> None:
    handler, reason = HOSTILE[name]
    loader = ImageLoader(downloads=downloader(seconds=0.5), max_bytes=100_000)
    with raw_server(handler) as server:
        began, used = time.monotonic(), time.process_time()
        with pytest.raises(ImageError, match=reason.replace(".", r"\.")) as refused:
            loader.read(f"{server.url}/a.png")
        assert time.monotonic() - began < 5  # on a busy machine; never as long as the server likes
        assert time.process_time() - used < 4
        assert_discloses_nothing(str(refused.value))


def test_redirects_that_drip_share_one_deadline() -> None:
    """Each answer takes less than the deadline; all of them together take more."""

    def handle(connection: Connection) -> None:
        connection.read_head()
        connection.over.wait(0.3)
        connection.send(b"HTTP/1.1 302 F\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    with raw_server(handle) as server:
        with pytest.raises(ImageError, match=r"longer than 0\.8 seconds"):
            downloader(seconds=0.8, max_redirects=50).fetch(server.url)
        assert len(server.connections) <= 4


def test_a_handshake_that_drips_is_left_in_time() -> None:
    def handle(connection: Connection) -> None:
        connection.socket.recv(1_000)
        connection.send(b"\x16\x03\x03\x40\x00")  # a record of 16 KB that comes byte by byte
        connection.drip(b"\x02\x00\x3f\xf0" + bytes(16_000), seconds=0.05)

    with raw_server(handle) as server:
        began = time.monotonic()
        with pytest.raises(ImageError, match=r"longer than 0\.5 seconds"):
            downloader(seconds=0.5).fetch(server.url.replace("http:", "https:"))
        assert time.monotonic() - began < 5


def test_a_slow_lookup_of_a_name_is_left_in_time() -> None:
    over = threading.Event()

    def slow(host: str, port: int, **more: Any) -> list[Any]:
        over.wait(30)
        raise OSError

    began = time.monotonic()
    with pytest.raises(ImageError, match=r"longer than 0\.3 seconds"):
        downloader(seconds=0.3, resolve=slow).fetch("http://slow.example/a.png")
    assert time.monotonic() - began < 5
    over.set()


def test_a_download_ends_when_the_question_is_stopped_or_its_time_is_over() -> None:
    stop = threading.Event()

    def handle(connection: Connection) -> None:
        connection.read_head()
        stop.set()
        connection.drip(OK + b"\r\n" + bytes(10_000), seconds=0.05)

    def fetch(url: str) -> str:
        token = budget.stop_requested.set(stop)
        try:
            return str(downloader(seconds=60).fetch(url))
        except StoppedError as error:
            return str(error)
        finally:
            budget.stop_requested.reset(token)

    with raw_server(handle) as server:
        assert fetch(server.url) == "stopped by its caller"
        assert fetch(server.url) == "stopped by its caller"  # before a connection is made
        assert len(server.connections) == 1
        token = budget.deadline.set(time.monotonic() + 0.3)
        with pytest.raises(ImageError, match=r"took longer than 0\.3 seconds"):
            downloader(seconds=60).fetch(server.url)
        budget.deadline.reset(token)


@pytest.mark.parametrize(
    "handler",
    [
        dripping(OK + b"\r\n", b"x"),
        dripping(OK + b"X: ", b"a"),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "header", "100 Continue"],
)
def test_a_url_of_the_command_line_is_left_when_the_time_of_the_question_is_over(
    handler: Handler,
) -> None:
    with raw_server(handler) as server:
        token = budget.deadline.set(time.monotonic() + 0.5)
        began = time.monotonic()
        with pytest.raises(ImageError, match="cannot download"):
            load_image(f"{server.url}/a.png")
        assert time.monotonic() - began < 5
        budget.deadline.reset(token)
