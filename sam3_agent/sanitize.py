"""Makes text from models and people safe to pass on: encodable, and of bounded length."""

import html
import logging
import re
import unicodedata

MAX_ARGUMENTS = 100_000
"""Characters of the raw arguments of one call; more are refused."""


def replace_surrogates(text: str) -> str:
    """The text with "?" for halves of surrogate pairs, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


# What Unicode calls ignorable: marks of direction and of zero width, hidden tags, letters that show
# nothing; and the control characters that are no white space.
_JOINERS = "\u200c\u200d\ufe00-\ufe0f"
_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_NO_TEXT = re.compile(f"[{_INVISIBLE}]")
_NO_WORD = re.compile(f"[{_INVISIBLE}{_JOINERS}]")


def visible_text(text: str) -> str:
    """The text in NFC without characters that show nothing.

    The joiners and variation selectors stay that emoji and some scripts are written with. Letters
    that look like others stay as they are.
    """
    return unicodedata.normalize("NFC", _NO_TEXT.sub("", text))


def visible_words(text: str) -> str:
    """As `visible_text`, and without joiners: words that look the same are the same words."""
    return unicodedata.normalize("NFC", _NO_WORD.sub("", text))


def printable(text: str) -> str:
    """The text with U+FFFD for what could steer a terminal, or show a text that is not there.

    That is control characters (of which ANSI, OSC and C1 escape codes consist) except newlines and
    tabs, marks that change the direction of text or are not seen, and halves of surrogate pairs.
    Spaces of any width become a space.
    """
    if text.isprintable():
        return text
    return "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    # joiners belong to the spelling of Persian, Hindi and of emoji
    if character.isprintable() or character in "\n\t\N{ZWNJ}\N{ZWJ}":
        return character
    return " " if unicodedata.category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"


class PrintableFormatter(logging.Formatter):
    """Formats log records, which may quote a file or a model, without their escape codes."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return printable(super().format(record))


def markdown_text(text: str) -> str:
    """The text on one line of Markdown, as it is: no markup, no HTML, no end of a table's cell."""
    line = " ".join(printable(text).split())
    return re.sub(r"[\\`*\[\]|~#!]", r"\\\g<0>", html.escape(line, quote=False))


def shorten(text: str, limit: int, *, middle: bool = False) -> str:
    """The text in at most `limit` characters, with "…" for what is left out.

    middle: leave out the middle instead of the end.
    """
    if len(text) <= limit:
        return text
    if limit < 1:
        return ""
    head = limit // 2 if middle else limit - 1
    tail = limit - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"


def one_line(text: str, limit: int, *, middle: bool = False) -> str:
    """The text on one line, otherwise as `shorten`."""
    return shorten(" ".join(text.split()), limit, middle=middle)
