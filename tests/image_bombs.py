"""Small image files that would take a decoder much memory or time."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

from tests.plugin_fixtures import png


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


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


def _gif_head() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0, 0, 0)


def strip_bomb(rows: int, order: str = "<") -> bytes:
    """A TIFF of 2 x rows pixels with a strip for each row."""
    values = {256: 2, 257: rows, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 1, 279: 200}
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(values))
    for tag, value in values.items():
        count = rows if tag in (273, 279) else 1
        head += struct.pack(f"{order}HHII", tag, 4, count, value)
    return head.ljust(200, b"\0") + struct.pack(f"{order}I", 2) * rows


def run_bomb(side: int) -> bytes:
    """A BMP of run lengths whose rows hold one run each, and are filled up."""
    rows = b"\1\1\0\0" * side
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rows), 0, 0, 0, 0)
    palette = bytes(1024)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + palette + rows


def deep_strip_bomb(rows: int) -> bytes:
    """A TIFF of 2 x rows pixels of 16 bits in strips of a row, of which the first is in it."""
    tags = {256: 2, 257: rows, 258: 16, 259: 5, 262: 1, 277: 1, 278: 1}
    return tiff(tags, bytes(100), 273, 279)


def deep_tile_bomb(count: int) -> bytes:
    """A TIFF of 16 bits in so many tiles of a pixel, of which the first is in it."""
    tags = {256: 1000, 257: count // 1000, 258: 16, 259: 8, 262: 1, 277: 1, 322: 1, 323: 1}
    return tiff(tags, bytes(100), 324, 325)


PARTS: Mapping[str, Callable[[int], bytes]] = {
    "PNG, empty chunks": lambda n: png()[:33] + chunk(b"abCd", b"") * n + png()[33:],
    "PNG, comments": lambda n: png()[:33] + chunk(b"tEXt", b"a\0b") * n + png()[33:],
    "PNG, pieces of pixels": lambda n: png()[:33] + chunk(b"IDAT", b"") * n + png()[33:],
    "JPEG, comments": lambda n: _jpeg()[:2] + b"\xff\xfe\0\2" * n + _jpeg()[2:],
    "JPEG, fill bytes": lambda n: _jpeg()[:2] + b"\xff" * n + _jpeg()[2:],
    "JPEG, fill bytes alone": lambda n: _jpeg()[:2] + b"\xff" * n,
    "JPEG, zeros": lambda n: _jpeg()[:20] + bytes(n) + _jpeg()[20:],
    "GIF, a comment in pieces": lambda n: _gif_head() + b"!\xfe" + b"\1x" * n + b"\0;",
    "GIF, comments": lambda n: _gif_head() + b"!\xfe\1x\0" * n + b";",
    "GIF, nothing": lambda n: _gif_head() + bytes(n) + b";",
    "TIFF, strips": strip_bomb,
    "TIFF, strips, the other order": lambda n: strip_bomb(n, ">"),
    "TIFF, strips that are missing": deep_strip_bomb,
    "TIFF, tiles that are missing": deep_tile_bomb,
}
"""Files with so many parts, each of which a decoder reads by itself."""
