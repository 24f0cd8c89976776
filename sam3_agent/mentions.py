"""Mentions: which words of an answer point to which masks."""

import re
from collections.abc import Container
from dataclasses import dataclass

MAX_RANGE = 100
"""Numbers that "1-40" may stand for; a longer range is no list of masks."""

# Models that write Chinese, Japanese or Korean take the wide forms of marks. Each stands for one
# character, so that positions in a text stay what they are.
_WIDE = str.maketrans(
    "［【〔〖〘〚❲］】〕〗〙〛❳（）＃，、；;－‐‑‒–—〜～＆：",  # noqa: RUF001
    "[" * 7 + "]" * 7 + "()#" + "," * 4 + "-" * 8 + "&:",
)

NUMBER_LIST = r"\d{1,6}(?:(?:\s*(?:,\s*and|,|and|&|-|to)\s*|\s+)\d{1,6})*"
"""A list of numbers in a text with `narrow` marks, such as "1, 3 and 5-7"."""

_NUMBERS = rf"\s*(?:masks?\s*)?#?({NUMBER_LIST})\s*"
_MARK = re.compile(
    # "[lion](3)", "[lion][3]", and a number alone, "[3]"
    rf"\[(?:([^\[\]\n]{{1,200}})\](?:\({_NUMBERS}\)|(?<=[^\W\d_]\])\[{_NUMBERS}\])|{_NUMBERS}\])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Mention:
    """The characters `start` to `end` (exclusive) of a text, and the numbers of their masks."""

    start: int
    end: int
    numbers: tuple[int, ...]


def read_mentions(text: str, known: Container[int] = ()) -> tuple[str, tuple[Mention, ...]]:
    """The plain words of "a [lion](3) with a [mane](4, 5)", and what points where.

    Brackets and digits may be wide. A bracket with numbers alone, "a lion [3]", stays in the text
    and is a mention of its own, if all its numbers are `known`: it may as well be a quotation.
    """
    parts: list[str] = []
    mentions = []
    at = length = 0
    for mark in _MARK.finditer(narrow(text)):
        # positions are of the text without marks, which is what the reader sees
        words, linked, also_linked, alone = mark.groups()
        numbers = listed_numbers(linked or also_linked or alone)
        if words is None and not all(number in known for number in numbers):
            continue
        begin, end = mark.span() if words is None else mark.span(1)
        parts += [text[at : mark.start()], text[begin:end]]
        start = length + mark.start() - at
        length = start + end - begin
        mentions.append(Mention(start, length, numbers))
        at = mark.end()
    return "".join([*parts, text[at:]]), tuple(mentions)


def narrow(text: str) -> str:
    """The text with narrow marks instead of wide ones, each in its place."""
    return text.translate(_WIDE)


def listed_numbers(text: str) -> tuple[int, ...]:
    """The numbers of a `NUMBER_LIST`, each once."""
    out: list[int] = []
    for first, last in re.findall(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?", text, re.IGNORECASE):
        begin, end = int(first), int(last or first)
        out += range(begin, end + 1) if end - begin < MAX_RANGE else [begin, end]
    return tuple(dict.fromkeys(out))
