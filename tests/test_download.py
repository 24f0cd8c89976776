"""Downloads for untrusted callers: public addresses only (SSRF), within limits of size and time."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from sam3_agent.errors import ImageError
from sam3_agent.plugin import ImageLoader
from sam3_agent.plugin.download import Downloader, is_public
from tests.loopback import address, serving
from tests.plugin_fixtures import png


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
