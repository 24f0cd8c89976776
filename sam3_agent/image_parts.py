"""Limits the chunks, segments, blocks and strips of an image file before it is opened.

Decoders read each of them by itself, in Python, so that a file with millions of empty ones takes
tens of seconds, and gigabytes, whatever the size of its picture.
"""

import re
import struct
from collections.abc import Callable, Iterator

from sam3_agent.errors import ImageError

MAX_PARTS = 200_000
"""More than the tiles of 16 x 16 pixels in 50 megapixels."""

Counter = Callable[[bytes], Iterator[int]]
"""Yields how many parts each step through a file passes."""

_NOT_FILL = re.compile(rb"[^\xff]")

_TIFF_OFFSETS = (273, 279, 324, 325)
"""Tags of where strips and tiles lie, and of their sizes."""

_TIFF_BYTES = (1, 2, 6, 7)
"""Types of bytes and text: color profiles and comments, which are not taken apart."""


def check_parts(data: bytes, name: str) -> None:
    """Raises ImageError for a file with more than MAX_PARTS parts. name: of the picture."""
    count = next((counter for start, counter in _COUNTERS if data.startswith(start)), None)
    if count is None:
        return
    total = 0
    for passed in count(data):
        total += passed
        check_count(total, name)


def check_count(parts: int, name: str) -> None:
    """Raises ImageError for more than MAX_PARTS parts. name: of the picture."""
    if parts > MAX_PARTS:
        raise ImageError(
            f"{name} has more than {MAX_PARTS:,} chunks, blocks or strips; save it again"
        )


def _png(data: bytes) -> Iterator[int]:
    place = 8
    while place + 8 <= len(data):
        place += 12 + int.from_bytes(data[place : place + 4])
        yield 1


def _jpeg(data: bytes) -> Iterator[int]:
    """The segments before the first scan, and each byte between them."""
    place = 2
    while (start := data.find(b"\xff", place)) >= 0:
        mark = _NOT_FILL.search(data, start)
        if mark is None:
            yield len(data) - place
            return
        yield mark.start() - place
        kind, place = data[mark.start()], mark.end()
        if kind == 0xDA:
            return
        if not (0xD0 <= kind <= 0xD9 or kind in (0, 1)):  # those have no length
            place += max(2, int.from_bytes(data[place : place + 2]))


def _gif(data: bytes) -> Iterator[int]:
    """The blocks before the first picture."""
    place = 13 + (3 << (data[10] & 7) + 1 if data[10:11] >= b"\x80" else 0)
    while place < len(data):
        kind = data[place]
        if kind in b",;":
            return
        place += 1
        yield 1
        if kind == 0x21:
            place += 1
            while place < len(data) and data[place]:
                place += 1 + data[place]
                yield 1
            place += 1


def _tiff(data: bytes) -> Iterator[int]:
    """The values of the tags of the first page."""
    order, big = "<" if data[:2] == b"II" else ">", b"+" in data[2:4]
    where, head, entry = ("Q", "Q", "HHQ8x") if big else ("I", "H", "HHI4x")
    try:
        (place,) = struct.unpack_from(order + where, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + head, data, place)
        place += struct.calcsize(head)
        for number in range(entries):
            size = struct.calcsize("=" + entry)
            tag, kind, count = struct.unpack_from(order + entry, data, place + number * size)
            yield 1 if kind in _TIFF_BYTES and tag not in _TIFF_OFFSETS else count
    except (struct.error, OverflowError):  # it ends early: the decoder says so
        return


_COUNTERS: tuple[tuple[bytes, Counter], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"GIF8", _gif),
    (b"II", _tiff),
    (b"MM", _tiff),
)
