"""Small image files that would take a decoder much memory or time."""

import io
import struct
import zlib

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
