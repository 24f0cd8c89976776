"""Shrinks the result of a tool call to what MCP clients and models accept.

Claude Desktop refuses a result over 1,048,576 bytes; Claude Code cuts one over 25,000 tokens. The
words are shortened first where they alone are too much, then the pictures are recompressed, then
made smaller, until both limits hold.
"""

import bisect
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from sam3_agent.image_encoding import MAX_SIDE, EncodedImage, bounded_size, encode_jpeg
from sam3_agent.images import Pixels
from sam3_agent.plugin.result import ToolResult
from sam3_agent.sanitize import replace_surrogates, shorten

MAX_RESULT_BYTES = 900_000
"""Bytes of a serialized result; the rest to 1,048,576 is for clients that serialize otherwise."""

MAX_RESULT_TOKENS = 25_000
"""Tokens of a result, those of pictures included, as Claude Code counts them."""

ENVELOPE_BYTES = 4_000
"""Kept free for the JSON-RPC message around the content, and the keys of the content's blocks."""

ENVELOPE_TOKENS = 200

LEAST_ROW = 20
"""Tokens that a mask's row takes at least."""

LEAST_WORDS = 10_000
"""Tokens that words may take however many pictures there are; those are made smaller instead."""

PATCH = 28
"""A picture costs a token for each patch of so many pixels squared."""

QUALITIES = (90, 80, 70, 60, 50)
"""JPEG qualities, tried one after the other at full size."""

SHRINK, LEAST_SIDE = 0.85, 56
"""Below the lowest quality the longest side shrinks by this factor, down to so many pixels."""

Pictures: TypeAlias = Literal["full", "thumbnail", "off"]

SIDES: dict[Pictures, int] = {"full": MAX_SIDE, "thumbnail": 512, "off": 0}
"""Pixels of a picture's longest side."""

Words: TypeAlias = tuple[str, dict[str, Any] | None]
"""The text of a result, and its structured content where that was asked for."""

_PIECE = re.compile(r"[A-Za-z]+|[^\x00-\x7f]|\s+|.", re.DOTALL)


@dataclass(frozen=True)
class SizedResult:
    """What fits: text, structured content (None when it was not asked for), JPEG and PNG files."""

    text: str
    structured: dict[str, Any] | None
    pictures: tuple[EncodedImage, ...]


def tokens(text: str) -> int:
    """How many tokens a text takes at most, as a rule; tokenizers of clients are not known here.

    One for each two letters of a word, for each digit, sign and white space but the single space
    between words, and for each byte in UTF-8 of any other character. GPT-4's tokenizer makes about
    half as many of prose, numbers and JSON.
    """
    total = 0
    for piece in _PIECE.findall(text):
        if piece[0] > "\x7f":
            total += len(piece.encode())
        elif piece.isalpha():
            total += math.ceil(len(piece) / 2)
        else:
            total += len(piece) - piece.startswith(" ")
    return total


def picture_tokens(width: int, height: int) -> int:
    """How many tokens a picture of so many pixels takes."""
    return math.ceil(width / PATCH) * math.ceil(height / PATCH)


def text_bytes(value: Any) -> int:
    """How many bytes a JSON value takes where all that is not ASCII is escaped."""
    return len(json.dumps(value))


def fit(
    result: ToolResult,
    links: Sequence[Any] = (),
    structured: bool = False,
    pictures: Pictures = "full",
) -> SizedResult:
    """The parts of a result that stay within MAX_RESULT_BYTES and MAX_RESULT_TOKENS.

    links: the JSON values of the blocks that go along unchanged. structured: whether structured
    content is sent too, and counts.
    """
    if pictures == "off":
        result = result.without_pictures()
    # without structured content nobody gets the details
    details = result.details if structured else {}
    result = replace(result, text=replace_surrogates(result.text), details=details)
    # words get the tokens that the pictures at full size leave, pictures those that words leave
    linked = tokens(json.dumps([*links])) + ENVELOPE_TOKENS
    files = tuple(EncodedImage(file, "image/png") for file in result.files)
    linked += len(files) * picture_tokens(result.width, result.height)
    side = SIDES[pictures]
    wanted = sum(picture_tokens(*bounded_size(picture, side)) for picture in result.pictures)
    tokens_left = MAX_RESULT_TOKENS - linked
    text, values = _words(
        result, structured, max(tokens_left - wanted, LEAST_WORDS), pictures != "off"
    )
    tokens_left -= _cost(text, values)
    bytes_left = MAX_RESULT_BYTES - ENVELOPE_BYTES - sum(map(text_bytes, ([*links], text, values)))
    bytes_left -= sum(len(file.base64) for file in files)
    shown = compressed(result.pictures, tokens_left, bytes_left, side)
    if shown is None:
        shown = ()
        text += "\nThe pictures are left out: they do not fit into one result; use look."
    return SizedResult(text, values, (*shown, *files))


def fit_text(text: str) -> str:
    """A text without anything else, such as an error, cut in its middle if it is too long."""
    return _longest(replace_surrogates(text), tokens, MAX_RESULT_TOKENS - ENVELOPE_TOKENS)


def _words(result: ToolResult, structured: bool, max_tokens: int, pictures: bool) -> Words:
    """The text and structured content within `max_tokens` tokens.

    pictures: whether they are sent along. Masks lose their rows first, last ones first; then
    details go, then the middle of the text.
    """

    def rendered(rows: int, details: bool = True, words: str = result.text) -> Words:
        shown = _shortened(result, rows, details, words)
        return shown.report(pictures), shown.to_dict() if structured else None

    def cost(rows: int) -> int:
        return _cost(*rendered(rows))

    rows = len(result.masks)
    if cost(rows) > max_tokens:
        # more rows cost more tokens: bisection finds the largest number that fits
        rows = (
            bisect.bisect_right(range(min(rows, max_tokens // LEAST_ROW)), max_tokens, key=cost) - 1
        )
    if rows >= 0:
        return rendered(rows)
    without = _cost(*rendered(0, details=False, words=""))
    words = _longest(result.text, lambda t: _cost(*rendered(0, False, t)), max(max_tokens, without))
    return rendered(0, details=False, words=words)


def _shortened(result: ToolResult, rows: int, details: bool, words: str) -> ToolResult:
    """The result with its first `rows` masks and these words; it says what is left out."""
    left = result.masks[rows:]
    whole = f"(over MCP: sam3://{result.image}/conversation.json)"
    omitted = []
    if left:
        omitted.append(
            f"masks {left[0].number} to {left[-1].number} ({len(left)} of {len(result.masks)}) "
            "have no row here: call measure with up to 60 of their numbers at a time "
            f"(over MCP: sam3://{result.image}/masks.json)"
        )
    if not details and result.details:
        omitted.append(f"details are left out {whole}")
    if words != result.text:
        omitted.append(f"the middle of the text is left out {whole}")
    kept = dict(result.details) if details else {}
    if omitted:
        kept["omitted"] = "; ".join(omitted)
    return replace(result, masks=result.masks[:rows], details=kept, text=words)


def _cost(text: str, values: dict[str, Any] | None) -> int:
    return tokens(text) + (0 if values is None else tokens(json.dumps(values)))


def _longest(text: str, cost: Callable[[str], int], limit: int) -> str:
    """The text, its middle cut as far as its cost needs."""
    text = shorten(text, 3 * limit, middle=True)
    if cost(text) <= limit:
        return text
    lengths = range(len(text))
    fitting = bisect.bisect_right(lengths, limit, key=lambda n: cost(shorten(text, n, middle=True)))
    return shorten(text, max(0, fitting - 1), middle=True)


def compressed(
    pictures: Sequence[Pixels],
    max_tokens: int = MAX_RESULT_TOKENS,
    max_bytes: int = MAX_RESULT_BYTES - ENVELOPE_BYTES,
    max_side: int = MAX_SIDE,
) -> tuple[EncodedImage, ...] | None:
    """The pictures as JPEG files within `max_tokens` and, in base64, `max_bytes`.

    max_side: pixels of the longest side. None when that would need pictures smaller than
    LEAST_SIDE.
    """
    if not pictures:
        return ()
    # first a lower quality at full size, then the lowest quality at smaller sizes
    side, qualities = float(max_side), list(QUALITIES)
    while side >= LEAST_SIDE:
        sizes = [bounded_size(picture, int(side)) for picture in pictures]
        if sum(picture_tokens(*size) for size in sizes) <= max_tokens:
            for quality in qualities:
                files = tuple(encode_jpeg(one, int(side), quality) for one in pictures)
                if sum(len(file.base64) for file in files) <= max_bytes:
                    return files
        side, qualities = side * SHRINK, [QUALITIES[-1]]
    return None
