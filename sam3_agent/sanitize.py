"""Makes text from models and people safe to pass on: encodable, and of bounded length."""

MAX_ARGUMENTS = 100_000
"""Characters of the raw arguments of one call; more are refused."""


def replace_surrogates(text: str) -> str:
    """The text with "?" for halves of surrogate pairs, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")


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
