"""Downloads images from the web for untrusted callers, guarded against SSRF.

A host name is resolved once and every address of it must be public; the connection then goes to
exactly that address, so a name that resolves differently the next time (DNS rebinding) gains
nothing. The same holds for each redirect.
"""

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urljoin, urlsplit

from sam3_agent import budget
from sam3_agent.errors import ImageError
from sam3_agent.timed_call import call_until

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK = 65_536

MAX_HEAD_BYTES = 200_000
"""Bytes of a response beside its body: headers, 1xx responses, sizes of chunks, trailers."""

USER_AGENT = "sam3-agent"

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out
_BLOCKED = (
    ipaddress.ip_network("192.0.0.0/24"),  # IETF protocols; Oracle's metadata is in it
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's metadata and DNS, a public number
)


@dataclass(frozen=True)
class Downloader:
    """Fetches `https` URLs from public addresses.

    insecure: accept `http` too. private_hosts: host names whose addresses may be private.
    max_bytes, seconds: limits of one download, redirects included.
    resolve: `socket.getaddrinfo` or a substitute.
    """

    insecure: bool = False
    private_hosts: frozenset[str] = frozenset()
    max_bytes: int = 50_000_000
    seconds: float = 20.0
    max_redirects: int = 5
    resolve: Callable[..., list[Any]] = socket.getaddrinfo

    def fetch(self, url: str) -> bytes:
        """The content of a URL; raises ImageError, which names no address of this network.

        Raises StoppedError when the caller has stopped the question.
        """
        began = time.monotonic()
        end = began + self.seconds
        end = min(end, budget.deadline.get() or end)
        try:
            return call_until(lambda: self._followed(url, end), end)
        except TimeoutError as error:
            seconds = max(0.0, end - began)
            raise ImageError(f"the download took longer than {seconds:.3g} seconds") from error

    def _followed(self, url: str, deadline: float) -> bytes:
        """The content at the end of the redirects."""
        for _ in range(self.max_redirects + 1):
            content = self._get(self._checked(url), deadline)
            if isinstance(content, bytes):
                return content
            try:
                url = urljoin(url, content)  # the Location of a redirect
            except ValueError as error:
                raise ImageError("the URL redirects to one that cannot be read") from error
        raise ImageError(f"the URL redirects more than {self.max_redirects} times")

    def _checked(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port = parts.port
            host = (parts.hostname or "").encode("idna").decode("ascii")
        except ValueError as error:  # also UnicodeError, for a name that cannot be one
            raise ImageError("the URL cannot be read") from error
        allowed = ("https", "http") if self.insecure else ("https",)
        if parts.scheme not in allowed:
            raise ImageError(f"a URL must begin with {' or '.join(f'{s}://' for s in allowed)}")
        if parts.username is not None or parts.password is not None:
            raise ImageError("a URL with a user name or password in it is not fetched")
        if not host or port == 0 or any(not "!" <= c <= "~" for c in parts.path + parts.query):
            raise ImageError("the URL cannot be read: it needs a host, and %XX for other letters")
        return parts

    def _get(self, parts: SplitResult, deadline: float) -> bytes | str:
        """The body of the response, or the Location of a redirect."""
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = self._public_address(host, port)
        name = f"[{host}]" if ":" in host else host
        connection = http.client.HTTPConnection(name, port)
        shown = name if parts.port is None else f"{name}:{port}"
        headers = {"Host": shown, "User-Agent": USER_AGENT, "Accept": "image/*"}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            limited = _Connection(parts.scheme, host, (address, port), deadline)
            with limited.open_socket:
                connection.sock = limited
                connection.request("GET", path, headers=headers)
                with connection.getresponse() as answer:
                    # a body in pieces of a byte has five bytes more for each
                    limited.readable = MAX_HEAD_BYTES + 6 * self.max_bytes
                    if answer.status in REDIRECTS and answer.getheader("Location"):
                        return str(answer.getheader("Location"))
                    if answer.status != 200:
                        raise ImageError(f"the server of the URL answered {answer.status}")
                    return self._body(answer, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError from error
            raise ImageError("the URL cannot be downloaded: no proper answer came") from error
        finally:
            connection.close()

    def _body(self, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        length = answer.length
        if length is not None and length > self.max_bytes:
            raise self._too_large()
        body = bytearray()
        while chunk := answer.read1(CHUNK):
            body += chunk
            if len(body) > self.max_bytes:
                raise self._too_large()
            if time.monotonic() >= deadline:  # pieces of a byte come without waiting
                raise TimeoutError
        if length is not None and len(body) < length:
            raise OSError("the answer ended early")
        return bytes(body)

    def _public_address(self, host: str, port: int) -> str:
        """The address to connect to; every address of the host must be public."""
        try:
            found = self.resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ImageError("the host of the URL is not known") from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        if not addresses:
            raise ImageError("the host of the URL is not known")
        if host not in self.private_hosts and not all(map(is_public, addresses)):
            raise ImageError("the URL leads to an address that is not public")
        return addresses[0]

    def _too_large(self) -> ImageError:
        return ImageError(f"the picture is larger than {self.max_bytes / 1e6:g} MB")


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet.

    An IPv6 address that stands for an IPv4 address (mapped, 6to4, Teredo, NAT64) is as public as
    that one.
    """
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        if any(one is not None for one in inner):
            return all(one is None or is_public(str(one)) for one in inner)
        if address not in _GLOBAL_UNICAST:
            return False
    if any(address in network for network in _BLOCKED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class _Connection:
    """A connection to exactly this address, with one limit of time and one of bytes for all of it.

    A socket's own timeout counts from byte to byte. With https the certificate is checked for the
    host. It has what `http.client` needs of a socket.
    """

    def __init__(self, scheme: str, host: str, address: tuple[str, int], deadline: float) -> None:
        self.readable = MAX_HEAD_BYTES
        """Bytes that may still be read."""
        self._deadline = deadline
        # the address, not the name: a second look-up could lead to a private address
        self.open_socket = socket.create_connection(address, timeout=_seconds_left(deadline))
        if scheme == "https":
            self.open_socket.settimeout(_seconds_left(deadline))  # of the whole handshake
            self.open_socket = ssl.create_default_context().wrap_socket(
                self.open_socket, server_hostname=host
            )

    def sendall(self, data: bytes) -> None:
        self.open_socket.settimeout(_seconds_left(self._deadline))
        self.open_socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self.read_into))

    def read_into(self, buffer: Any) -> int:
        """Reads into the buffer, and returns how many bytes; 0 at the end."""
        self.open_socket.settimeout(_seconds_left(self._deadline))
        count = self.open_socket.recv_into(buffer)
        self.readable -= count
        if self.readable < 0:
            raise OSError("the answer has no end")
        return count

    def close(self) -> None:
        """Does nothing: `http.client` closes a connection while it still reads the body."""


class _Reader(io.RawIOBase):
    """A stream of what a function reads."""

    def __init__(self, read_into: Callable[[Any], int]) -> None:
        self._read_into = read_into

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._read_into(buffer)


def _seconds_left(deadline: float) -> float:
    """Seconds until the deadline; raises TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
