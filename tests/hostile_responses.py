"""Hypothesis strategies of what a hostile model server may answer: statuses, headers, bodies."""

import gzip
import json
import zlib
from typing import Any, TypeAlias

import httpx2
from hypothesis import strategies as st

Wire: TypeAlias = dict[str, Any]

WORDS = st.one_of(
    st.text(max_size=30),
    # halves of surrogate pairs, controls, marks of direction
    st.text(st.characters(), max_size=10),
    st.sampled_from(
        [
            *("", "\x00", "\x1b[2J", "\u202e", "\ufeff", "\ud800", "stop", "length", "MAX_TOKENS"),
            *("SAFETY", "content_filter", "segment", "answer", "call_1", "{", "<think>"),
            *('{"phrases": ["dog"]}', "<tool_call>{", "TOO_MANY_TOOL_CALLS"),
            '{"tool": "segment", "arguments": {"phrases": ["dog"]}}',
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.sampled_from([0, -1, 10**400, 2**53, 1e308]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(WORDS, st.sampled_from(["text", "message", "code", "error", "function"])),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


def like(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with these fields, each as it should be, of any value, or absent; or any value."""
    optional = {name: st.one_of(field, field, VALUES) for name, field in fields.items()}
    found = st.fixed_dictionaries({}, optional=optional)
    return st.one_of(found, found, found, VALUES)


def some(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(item, min_size=1, max_size=3)


COUNTS = st.one_of(st.integers(0, 10**6), NUMBERS, WORDS)
ARGUMENTS = st.one_of(WORDS, VALUES, VALUES.map(lambda value: json.dumps(value)))
FUNCTION = like(name=WORDS, arguments=ARGUMENTS)
OPENAI = like(
    choices=some(
        like(
            message=like(
                content=st.one_of(WORDS, some(like(type=WORDS, text=WORDS))),
                refusal=st.one_of(st.none(), WORDS),
                tool_calls=some(like(id=WORDS, function=FUNCTION)),
                reasoning_content=WORDS,
            ),
            finish_reason=WORDS,
        )
    ),
    usage=like(
        prompt_tokens=COUNTS,
        completion_tokens=COUNTS,
        prompt_tokens_details=like(cached_tokens=COUNTS),
        completion_tokens_details=like(reasoning_tokens=COUNTS),
    ),
    error=like(message=WORDS, code=WORDS),
)
GEMINI = like(
    candidates=some(
        like(
            content=like(
                role=WORDS,
                parts=some(
                    like(
                        text=WORDS,
                        thought=st.booleans(),
                        functionCall=like(id=WORDS, name=WORDS, args=ARGUMENTS),
                        thoughtSignature=WORDS,
                    )
                ),
            ),
            finishReason=WORDS,
            finishMessage=WORDS,
        )
    ),
    promptFeedback=like(blockReason=WORDS),
    usageMetadata=like(
        promptTokenCount=COUNTS,
        candidatesTokenCount=COUNTS,
        thoughtsTokenCount=COUNTS,
        cachedContentTokenCount=COUNTS,
    ),
    modelVersion=WORDS,
)
FAULT = like(
    error=st.one_of(
        like(message=WORDS, code=COUNTS, status=WORDS, details=VALUES, type=WORDS, param=WORDS),
        some(VALUES),
    ),
    message=WORDS,
    detail=VALUES,
)

STATUSES = st.one_of(
    *[st.just(200)] * 4,
    st.sampled_from([201, 204, 206, 226, 299, 300, 301, 304, 307, 400, 401, 402, 403, 404, 408])
    | st.sampled_from([409, 413, 418, 422, 429, 451, 500, 502, 503, 504, 520, 529, 599, 600, 999]),
)
RETRY_AFTER = st.one_of(
    st.sampled_from(
        [
            *("inf", "nan", "-1", "1e400", "9" * 5000, "0.0001", "", " ", "1,1", "0x10", "-inf"),
            *("Wed, 21 Oct 2015 07:28:00 +9999", "Wed, 21 Oct 2015 07:28:00 -99999999999999"),
            *("Wed, 21 Oct 0000 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT", "2015-10-21"),
            *("1 Jan 1 0:0:0 +2359", "Fri, 31 Dec 9999 23:59:59 -2359", "Wed, 21 Oct 2015"),
            *("Mon, 99 Foo 2015 25:61:61 GMT", "Oct", "Wed, 21 Oct 2015 07:28:00 GMT" * 50),
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        *[st.sampled_from(["Mon", "Xyz", ""]), st.integers(-1, 99)],
        *[st.sampled_from(["Jan", "Dec", "Foo"]), st.integers(-1, 10**6)],
        *[st.integers(-1, 99)] * 3,
        st.sampled_from(["GMT", "+0000", "-9999", "+2400", "EST", "+" + "9" * 30, ""]),
    ),
)
CONTENT_TYPES = st.one_of(
    st.sampled_from(
        ["hex", "rot13", "base64", "zip", "utf-7", "utf-16", "idna", "punycode", "x"]
    ).map("application/json; charset={}".format),
    st.sampled_from(["text/html", "text/event-stream", "", ";", "application/json; charset=\xff"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
)
ENCODINGS = st.sampled_from(
    ["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "hex", "", ", ", "gzip," * 20]
)
PACKED = st.sampled_from([lambda body: body, gzip.compress, zlib.compress, lambda body: body[::2]])


@st.composite
def responses(draw: st.DrawFn, reply: st.SearchStrategy[Any]) -> httpx2.Response:
    """A response whose body is a `reply`, a fault, or no JSON at all."""
    status = draw(STATUSES)
    value = draw(reply if status == 200 else st.one_of(reply, FAULT))
    # in JSON every half of a surrogate pair is written as an escape
    body = draw(
        st.one_of(st.just(json.dumps(value).encode()), st.just(b""), st.binary(max_size=40))
        if draw(st.integers(0, 9)) == 0
        else st.just(json.dumps(value).encode())
    )
    headers: dict[str, str] = {}
    if draw(st.booleans()):
        headers["Content-Type"] = draw(CONTENT_TYPES)
    if status != 200 and draw(st.booleans()):
        headers[draw(st.sampled_from(["Retry-After", "retry-after-ms"]))] = draw(RETRY_AFTER)
    if draw(st.integers(0, 7)) == 0:
        headers["Location"] = draw(st.sampled_from(["http://[::1", "//x", "\xff", "", "data:,"]))
    if draw(st.integers(0, 7)) == 0:
        headers["Content-Encoding"] = draw(ENCODINGS)
        body = draw(PACKED)(body)
    encoded = [(name.encode(), text.encode("latin-1", "replace")) for name, text in headers.items()]
    # a body in pieces is decoded by the client, not by the constructor
    return httpx2.Response(status, headers=encoded, content=iter([body]))
