"""Bytes that no well-behaved model server sends, and what comes of each."""

import gzip
import json
import zlib
from typing import Any

from tests.raw_server import OK, reply


def chat(text: Any = "hello", **message: Any) -> bytes:
    """A reply of chat.completions."""
    whole = {"role": "assistant", "content": text, **message}
    return json.dumps({"choices": [{"index": 0, "message": whole}]}).encode()


def call(name: Any, arguments: Any, identity: Any = "c1") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def chunks(*pieces: bytes, trailer: bytes = b"") -> bytes:
    """A chunked body."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailer + b"\r\n"


def nested_json(levels: int) -> str:
    """JSON in JSON in JSON: a string of a string of ... the arguments of a call."""
    text = '{"phrases": ["dog"]}'
    for _ in range(levels):
        text = json.dumps(text)
    return text


HELLO = chat()
CALLS = "calls"
LOST = "cannot reach"
UNREADABLE = "its answer cannot be read"
LARGE = "its answer is too large"
MEGABYTE = "x" * 1_000_000
MANY = [call("segment", '{"phrases": ["dog"]}', f"c{i}") for i in range(20_000)]

REPLIES: dict[str, tuple[bytes, str]] = {
    # the frame
    "nothing at all": (b"", LOST),
    "HTTP/0.9": (HELLO, LOST),
    "another protocol": (b"SSH-2.0-OpenSSH_9.9\r\n", LOST),
    "a TLS alert": (b"\x15\x03\x01\x00\x02\x02\x28", LOST),
    "HTTP/3.7": (reply(HELLO).replace(b"HTTP/1.1", b"HTTP/3.7"), "text hello"),
    "a status of two digits": (reply(HELLO, status="20 OK"), LOST),
    "a status of four digits": (reply(HELLO, status="2000 OK"), LOST),
    "a status that is a word": (reply(HELLO, status="OK"), LOST),
    "status 299": (reply(HELLO, status="299 Odd"), "text hello"),
    "status 204 with a body": (reply(HELLO, status="204 No Content"), UNREADABLE),
    "status 206": (reply(HELLO[:30], "Content-Range: bytes 0-29/99", status="206 P"), UNREADABLE),
    "status 304": (reply(b"", status="304 Not Modified"), "answered 304"),
    "status 599": (reply(b"\x00" * 99, status="599 ?"), "answered 599"),
    "status 101": (reply(b"", "Upgrade: x", "Connection: upgrade", status="101 S"), LOST),
    "a reason of 50 kB": (reply(HELLO, status="200 " + "x" * 50_000), "text hello"),
    "a reason of 200 kB": (reply(HELLO, status="200 " + "x" * 200_000), LARGE),
    "a thousand early hints": (b"HTTP/1.1 103 E\r\n\r\n" * 1000 + reply(HELLO), "text hello"),
    "an end in the head": (OK[:20], LOST),
    "an end in the body": (reply(HELLO)[:-9], LOST),
    "an end in a chunk": (chunks(HELLO)[:-20], LOST),
    "a length too large": (reply(HELLO, "X: y").replace(b"Length: ", b"Length: 9"), LOST),
    "a length too small": (OK + b"Content-Length: 9\r\n\r\n" + HELLO, UNREADABLE),
    "a negative length": (OK + b"Content-Length: -9\r\n\r\n" + HELLO, LOST),
    "two lengths": (reply(HELLO, "Content-Length: 3"), LOST),
    "a length of 400 digits": (OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n" + HELLO, LOST),
    "a length and chunks": (
        chunks(HELLO).replace(b"Transfer", b"Content-Length: 3\r\nTransfer"),
        "text hello",
    ),
    "chunks of a wrong size": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + HELLO, LOST),
    "a chunk of 20 hex digits": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 21 + b"\r\n",
        LOST,
    ),
    "a transfer encoding of gzip": (OK + b"Transfer-Encoding: gzip\r\n\r\n" + HELLO, LOST),
    "a byte a chunk": (chunks(*(bytes([b]) for b in HELLO)), "text hello"),
    "trailers": (chunks(HELLO, trailer=b"Content-Type: text/html\r\nX: y\r\n"), "text hello"),
    "a second response behind it": (reply(HELLO) + reply(chat("other")), "text hello"),
    # headers
    "NUL in a header": (reply(HELLO, "X: a\x00b"), LOST),
    "a header without a colon": (reply(HELLO, "nonsense"), LOST),
    "a header of all bytes": (
        reply(HELLO, "X: " + "".join(map(chr, range(128, 256)))),
        "text hello",
    ),
    "5,000 headers": (reply(HELLO, *[f"X-{i}: y" for i in range(5000)]), "text hello"),
    "cookies": (reply(HELLO, *["Set-Cookie: a=b; Domain=.com; Path=/"] * 50), "text hello"),
    "a charset of hex": (reply(HELLO, "Content-Type: application/json; charset=hex"), "text hello"),
    "a charset of utf-7": (
        reply(chat("+AGE-"), "Content-Type: text/json; charset=utf-7"),
        "text +AGE-",
    ),
    "a fault in a charset of rot13": (
        reply(b'{"error": {"message": "no"}}', "Content-Type: a/b; charset=rot13", status="400 B"),
        "answered 400: no",
    ),
    "an encoding that is none": (reply(HELLO, "Content-Encoding: gzip"), UNREADABLE),
    "an encoding nobody knows": (reply(HELLO, "Content-Encoding: rot13"), "text hello"),
    "gzip cut off": (reply(gzip.compress(HELLO)[:-12], "Content-Encoding: gzip"), UNREADABLE),
    "gzip with a wrong checksum": (
        reply(gzip.compress(HELLO)[:-8] + b"\x00" * 8, "Content-Encoding: gzip"),
        UNREADABLE,
    ),
    "six encodings": (reply(HELLO, "Content-Encoding: " + "gzip, " * 6), UNREADABLE),
    "deflate without a header": (
        reply(zlib.compress(HELLO)[2:-4], "Content-Encoding: deflate"),
        "text hello",
    ),
    "Retry-After in a time zone of 99 hours": (
        reply(b"{}", "Retry-After: Wed, 21 Oct 2015 07:28:00 +9999", status="503 No"),
        "answered 503",
    ),
    # bodies
    "UTF-16": (reply(HELLO.decode().encode("utf-16")), UNREADABLE),
    "a mark of byte order": (reply(b"\xef\xbb\xbf" + HELLO), "text hello"),
    "an event stream": (reply(b"data: " + HELLO + b"\n\ndata: [DONE]\n\n"), UNREADABLE),
    "an event stream with comments": (
        reply(b": PROCESSING\n\n" * 99 + b"data: {}\n\n"),
        UNREADABLE,
    ),
    "lines of JSON": (reply(HELLO + b"\n" + HELLO), UNREADABLE),
    "blanks around it": (reply(b" " * 99_999 + HELLO + b"\n" * 99_999), "text hello"),
    "a page to log in": (reply(b"<html><title>Sign in</title>" + b"<p>" * 9999), UNREADABLE),
    "keys that come twice": (
        reply(HELLO[:-1] + b', "choices": [{"message": {"content": "b"}}]}'),
        "text b",
    ),
    "NaN for an index": (reply(HELLO.replace(b'"index": 0', b'"index": NaN')), "text hello"),
    "100,000 brackets": (reply(b'{"choices":' + b"[" * 100_000), UNREADABLE),
    "a million lists beside it": (
        reply(HELLO[:-1] + b', "x": [' + b"[]," * 10**6 + b"1]}"),
        "text hello",
    ),
    "9 MB of words": (reply(chat("a" * 9_000_000)), LARGE),
    "7 MB of words": (reply(chat("a" * 7_000_000)), "text aaa"),
    # calls
    "20,000 calls": (reply(chat(None, tool_calls=MANY)), CALLS),
    "one id for all calls": (reply(chat(None, tool_calls=[call("answer", "{}")] * 500)), CALLS),
    "a name of 1 MB": (reply(chat(None, tool_calls=[call(MEGABYTE, "{}")])), CALLS),
    "an id of 1 MB": (reply(chat(None, tool_calls=[call("answer", "{}", MEGABYTE)])), CALLS),
    "JSON in JSON in JSON": (
        reply(chat(None, tool_calls=[call("segment", nested_json(12))])),
        CALLS,
    ),
    "arguments of 1 MB": (reply(chat(None, tool_calls=[call("segment", MEGABYTE)])), CALLS),
    "arguments that are NaN": (
        reply(chat(None, tool_calls=[call("segment", float("nan"))])),
        CALLS,
    ),
    "half a surrogate pair everywhere": (
        reply(chat("\ud800", tool_calls=[call("\udfff", "\ud800", "\ud800")])),
        CALLS,
    ),
    "a refusal that is an object": (reply(chat(None, refusal={"a": [1]})), "it refused to answer"),
    "a refusal of 1 MB": (reply(chat(None, refusal=MEGABYTE)), "it refused to answer"),
    "usage that is absurd": (
        reply(HELLO[:-1] + b', "usage": {"prompt_tokens": -1e999, "completion_tokens": "9"}}'),
        "text hello",
    ),
}
"""What is sent for a request, and a part of the error, `calls`, or the beginning of the text."""
