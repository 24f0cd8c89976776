"""Makes text from models and people safe to pass on: encodable, and of bounded length."""

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
