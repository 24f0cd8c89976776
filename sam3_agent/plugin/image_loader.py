"""Loads images that untrusted callers name: by URL, data URI or path, within limits."""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from sam3_agent.errors import ImageError
from sam3_agent.image_source import (
    BARE_BASE64,
    data_url_content,
    local_path,
    looks_like_base64,
    too_large,
)
from sam3_agent.images import Pixels, load_image
from sam3_agent.plugin.download import Downloader
from sam3_agent.plugin.root_files import OutsideError, open_below

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""File formats that are decoded, recognised by content; none of them runs another program."""

MAX_SOURCE = 8_000
"""Characters of a path or URL; more are refused."""

MAX_SCANS = 100
"""Scans of a progressive JPEG: each costs a pass over all pixels, and no more than 75 bytes."""

_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
NO_SUCH_FILE = "there is no such picture in the folders that may be read"


@dataclass(frozen=True)
class ImageLoader:
    """Loads images from a data URI, a URL (see `Downloader` on SSRF), or a file below a root.

    roots: folders whose files may be read; none by default. downloads: fetches URLs; None for not
        at all. max_bytes: the size of a file or data URI. max_megapixels: the size of an image.

    No error names a path of this machine or reveals whether a file outside the roots exists.
    """

    roots: tuple[Path, ...] = ()
    downloads: Downloader | None = field(default_factory=Downloader)
    max_bytes: int = 50_000_000
    max_megapixels: float = 50.0

    def read(self, source: str | bytes) -> Pixels:
        """The pixels of file content, a data URI, a URL, or a path under a root.

        Returns a read-only (H, W, 3) uint8 array; raises ImageError with what was wrong.
        """
        data = self._bytes(source)
        if data[:2] == b"\xff\xd8" and sum(1 for _ in _SCAN.finditer(data)) > MAX_SCANS:
            raise ImageError(f"a JPEG has at most {MAX_SCANS} scans here")
        return load_image(data, max_megapixels=self.max_megapixels, formats=FORMATS)

    def _bytes(self, source: str | bytes) -> bytes:
        if isinstance(source, bytes):
            return self._within_limit(source)
        source = source.strip()
        if source[:5].lower() == "data:":
            return self._within_limit(data_url_content(source, self.max_bytes))
        if not source or len(source) > MAX_SOURCE:
            if looks_like_base64(source):
                raise ImageError(BARE_BASE64)
            raise ImageError(f"an image source has 1 to {MAX_SOURCE} characters")
        if source.lower().startswith(("https:", "http:")):
            if self.downloads is None:
                raise ImageError("URLs are not fetched here")
            return self._within_limit(self.downloads.fetch(source))
        is_file_url = source.lower().startswith("file:")
        if _SCHEME.match(source) and not is_file_url and not Path(source).drive:
            raise ImageError("an image is a handle, an https URL, a data URI, or a path")
        return self._file(source)

    def _file(self, source: str) -> bytes:
        if not self.roots:
            if looks_like_base64(source):
                raise ImageError(BARE_BASE64)
            raise ImageError("files are not read here; give a handle, an https URL or a data URI")
        if re.match("~[^/]", source):  # of another user; looking that up may take time
            raise ImageError(NO_SUCH_FILE)
        path, why = local_path(source), ""
        for root in self.roots:
            try:
                return self._content(open_below(root, path))
            except IsADirectoryError:
                why = ": it is a folder"
            except PermissionError:
                why = ": the server is not allowed to read it"
            except (OutsideError, OSError, ValueError, RuntimeError):  # missing, a NUL, a loop
                continue
        raise ImageError(BARE_BASE64 if looks_like_base64(source) else NO_SUCH_FILE + why)

    def _content(self, descriptor: int) -> bytes:
        with open(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise ImageError(NO_SUCH_FILE)
            if state.st_size > self.max_bytes:
                raise too_large(self.max_bytes)
            return self._within_limit(file.read(self.max_bytes + 1))

    def _within_limit(self, data: bytes) -> bytes:
        if len(data) > self.max_bytes:
            raise too_large(self.max_bytes)
        return data
