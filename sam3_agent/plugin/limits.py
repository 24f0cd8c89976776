"""Limits of a server: what `sam3-agent mcp` and `sam3-agent serve` have in common."""

import ipaddress
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3_agent.errors import InputError
from sam3_agent.local_files import home_expanded
from sam3_agent.plugin.download import Downloader
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.middleware import LOOPBACK, AccessRules, host_name
from sam3_agent.plugin.work_queue import WorkQueue

MINIMUM = {
    "workers": 1,
    "waiting": 0,
    "seconds": 1,
    "grace": 0,
    "memory_megabytes": 1,
    "megabytes": 0.001,
    "megapixels": 1e-6,
}


@dataclass(frozen=True)
class ServerLimits:
    """Limits of one server; raises InputError for a value below MINIMUM or without an end.

    workers: tool calls that run at once. waiting: calls that may wait; more are rejected with 429.
    seconds: for one call, waiting included. grace: seconds in which running calls may end when the
    server ends. memory_megabytes: of all open images together. megabytes,
    megapixels: of one image.
    """

    workers: int = 2
    waiting: int = 32
    seconds: float = 300.0
    grace: float = 10.0
    memory_megabytes: float = 1000.0
    megabytes: float = 32.0
    megapixels: float = 50.0

    def __post_init__(self) -> None:
        for name, least in MINIMUM.items():
            value = getattr(self, name)
            if not least <= value < math.inf:  # false for NaN, too
                raise InputError(f"{name} must be a number of at least {least:g}, not {value!r}")

    @property
    def ask_seconds(self) -> float:
        """Time budget of an ask: it ends with its best answer before the call times out."""
        return 0.9 * self.seconds

    @property
    def memory_bytes(self) -> float:
        """Memory of all open images."""
        return self.memory_megabytes * 1e6

    @property
    def image_bytes(self) -> int:
        """Size of an image file or data URI."""
        return int(self.megabytes * 1e6)

    @property
    def body_bytes(self) -> int:
        """Size of an HTTP body: base64 makes a file a third longer."""
        return int(self.megabytes * 1.4e6) + 100_000

    @property
    def line_bytes(self) -> int:
        """Size of a line on stdin: too large an image still gets an error that says so."""
        return int(self.megabytes * 4e6) + 1_000_000

    def work_queue(self) -> WorkQueue:
        """The queue that runs the tool calls."""
        return WorkQueue(self.workers, self.waiting, self.seconds)

    def image_loader(self, roots: Sequence[Path] = (), urls: bool = True) -> ImageLoader:
        """The loader of images below `roots` and, with `urls`, from the web.

        Raises InputError for a root that is not a folder; `~` is the home folder.
        """
        folders = tuple(map(home_expanded, roots))
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"--root {folder} is no folder")
        downloads = Downloader(max_bytes=self.image_bytes) if urls else None
        return ImageLoader(folders, downloads, self.image_bytes, self.megapixels)

    def rules(
        self,
        address: str,
        token: str | None = None,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> AccessRules:
        """The access rules of a server that listens on an IP address, reached under `hosts` too.

        origins: web pages of other servers that may send requests. Raises InputError for a host or
        an origin that is none, and for an address beyond loopback with neither token nor hosts: a
        web page could reach it under a name of its own (DNS rebinding).
        """
        any_host = not is_loopback(address) and not hosts
        if any_host and token is None:
            raise InputError(
                f"{address} can be reached from the network: give --token TOKEN (or set "
                "SAM3_AGENT_TOKEN), or --host NAME with each name or address that callers "
                "use, such as --host photos.lan"
            )
        known = None if any_host else frozenset(map(_host, hosts)) | LOOPBACK
        return AccessRules(token, known, _origins(origins), self.body_bytes)


def is_loopback(address: str) -> bool:
    """Whether an IP address reaches only this machine."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def _host(name: str) -> str:
    """A host as a Host header has it, without a port; InputError."""
    found = host_name(name.lower())
    if not found:
        raise InputError(f"--host {name!r} is no host name or address, such as photos.lan")
    return found


def _origins(origins: Collection[str]) -> frozenset[str]:
    """Origins in small letters; InputError for what is none."""
    for origin in origins:
        scheme, _, host = origin.lower().partition("://")
        if scheme not in ("http", "https") or not host_name(host):
            raise InputError(f"--cors {origin!r} is no origin, such as https://example.com")
    return frozenset(origin.lower() for origin in origins)
