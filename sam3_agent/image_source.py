"""Reads the bytes of pictures from paths, http(s):, file: and data: URLs."""

import base64
import binascii
import os
import re
import time
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from sam3_agent.errors import ImageError
from sam3_agent.local_files import home_expanded, read_file_or_stream
from sam3_agent.sanitize import replace_surrogates, shorten
from sam3_agent.timed_call import call_until

MAX_DOWNLOAD_BYTES = 200_000_000
DOWNLOAD_SECONDS = 60

PIECE = 100_000
"""Bytes of a download, or characters of a percent-encoded data: URL, that are read at once."""

SHOWN = 80
"""Characters of a source that an error repeats; a data: URL may have millions."""

_DATA_URL = re.compile(
    r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,", re.IGNORECASE
)
_MAGIC = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM....\0{4}|II\*\0|MM\0\*|....ftyp", re.DOTALL
)
"""The first bytes of PNG, JPEG, GIF, WebP, BMP, TIFF and AVIF files."""

BARE_BASE64 = (
    "the image looks like base64 without its head: put data:image/png;base64, before it "
    "(or image/jpeg, image/webp)"
)


def read_source(source: object) -> tuple[bytes, str]:
    """The bytes of a path, URL or bytes, and a name for errors. Raises ImageError."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the image data"
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            f"cannot read an image from {type(source).__name__}; "
            "pass a path, a URL, bytes, a PIL image or an array"
        )
    if isinstance(source, str):
        scheme = source.partition(":")[0].strip().lower()
        if scheme == "data":
            return data_url_content(source.strip()), "the data: URL"
        if scheme in ("http", "https"):
            return _download(source), shown(source)
    if not os.fspath(source).strip():
        raise ImageError("the image is an empty text; give a path or a URL")
    path = local_path(source)
    try:
        return read_file_or_stream(path, MAX_DOWNLOAD_BYTES), shown(path)
    except MemoryError as error:
        raise ImageError(f"{shown(path)} is too large for the memory of this machine") from error
    except (OSError, ValueError) as error:
        if looks_like_base64(str(source)):
            raise ImageError(BARE_BASE64) from error
        if isinstance(error, FileNotFoundError):
            raise ImageError(f"there is no file {shown(path)}") from error
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot read {shown(path)}: {reason}") from error


def data_url_content(url: str, max_bytes: float = float("inf")) -> bytes:
    """The bytes in a data: URL.

    Base64 may be wrapped, unpadded, percent-encoded, or in the alphabet for URLs. Raises ImageError
    for what cannot be decoded, or is larger than `max_bytes`.
    """
    head = _DATA_URL.match(url[:1000])
    if head is None:
        raise ImageError("a data: URL must look like data:image/png;base64,...")
    body = url[head.end() :]
    # the limit comes first: each step below makes a copy
    if len(body) > max_bytes * 4:
        raise too_large(max_bytes)
    if "%" in body or not head["base64"]:
        content = _percent_decoded(body)
        if not head["base64"]:
            return content
        body = content.decode("latin-1")
    letters = "".join(body.split()).replace("-", "+").replace("_", "/").rstrip("=")
    if len(letters) > max_bytes * 4 // 3 + 4:
        raise too_large(max_bytes)
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            "the data: URL is not proper base64: it has a letter that base64 does not have, or was "
            "cut short"
        ) from error


def _percent_decoded(text: str) -> bytes:
    """`unquote_to_bytes` piece by piece: it takes a hundred bytes of memory for each %XX."""
    pieces, place = [], 0
    while place < len(text):
        end = place + PIECE
        cut = text.find("%", end - 2, end)  # a %XX that the end would divide
        end = end if cut < 0 else cut
        pieces.append(unquote_to_bytes(text[place:end]))
        place = end
    return b"".join(pieces)


def too_large(max_bytes: float) -> ImageError:
    """The error for a picture that takes more than so many bytes."""
    return ImageError(f"the picture is larger than {max_bytes / 1e6:g} MB")


def local_path(source: str | os.PathLike[str]) -> Path:
    """The path in a path or file: URL, with `~` as the home folder. Raises ImageError."""
    text = os.fspath(source)
    if isinstance(source, str) and text[:5].lower() == "file:":
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ImageError(f"cannot read {shown(text)}: it is no proper URL") from error
        if parts.netloc.lower() not in ("", "localhost"):
            raise ImageError(
                f"cannot read {shown(text)}: a file: URL of this machine has three slashes, such "
                "as file:///home/me/photo.jpg"
            )
        from urllib.request import url2pathname  # slow to import

        return Path(url2pathname(parts.path))
    return home_expanded(text)


def looks_like_base64(text: str) -> bool:
    """Whether a text that names no file is the base64 of a picture."""
    start = "".join(text[:40].split()).replace("-", "+").replace("_", "/")
    try:
        content = base64.b64decode(start[: len(start) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return False
    return _MAGIC.match(content) is not None


def shown(source: str | os.PathLike[str]) -> str:
    """A path or URL, shortened for an error, as text that any encoding carries."""
    text = os.fspath(source)
    return replace_surrogates(shorten(text, SHOWN, middle=True))


def _download(url: str) -> bytes:
    from http.client import HTTPException  # slow to import
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    end = time.monotonic() + DOWNLOAD_SECONDS

    def read() -> bytes:
        request, data = Request(url, headers={"User-Agent": "sam3-agent"}), bytearray()
        try:
            response = urlopen(request, timeout=DOWNLOAD_SECONDS)
        except HTTPError as error:
            error.close()  # it holds the connection
            raise
        with response:
            while chunk := response.read1(PIECE):
                data += chunk
                if len(data) > MAX_DOWNLOAD_BYTES:
                    break
                if time.monotonic() > end:
                    raise TimeoutError
        return bytes(data)

    try:
        data = call_until(read, end)
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        reason = shorten(str(getattr(error, "reason", error)), SHOWN) or "it took too long"
        raise ImageError(f"cannot download {shown(url)}: {reason}") from error
    if len(data) > MAX_DOWNLOAD_BYTES:
        raise ImageError(f"{shown(url)} is larger than {MAX_DOWNLOAD_BYTES // 1_000_000} MB")
    return data
