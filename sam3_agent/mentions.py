"""Mentions: which words of an answer point to which masks."""

import re
from dataclasses import dataclass

_MARK = re.compile(r"\[([^\[\]\n]{1,200})\]\((?:masks? *)?(\d{1,6}(?:[ ,]+\d{1,6})*)\)")


@dataclass(frozen=True)
class Mention:
    """The characters `start` to `end` (exclusive) of a text, and the numbers of their masks."""

    start: int
    end: int
    numbers: tuple[int, ...]


def read_mentions(text: str) -> tuple[str, tuple[Mention, ...]]:
    """The plain words of "a [lion](3) with a [mane](4, 5)", and what points where."""
    plain, at = "", 0
    mentions = []
    for mark in _MARK.finditer(text):
        # positions are of the text without marks, which is what the reader sees
        plain += text[at : mark.start()]
        numbers = tuple(dict.fromkeys(int(n) for n in re.findall(r"\d+", mark[2])))
        mentions.append(Mention(len(plain), len(plain) + len(mark[1]), numbers))
        plain += mark[1]
        at = mark.end()
    return plain + text[at:], tuple(mentions)
