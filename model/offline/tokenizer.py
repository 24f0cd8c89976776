"""Splits a question into tokens, and reads them one after the other."""

import re
from collections.abc import Collection, Iterable

from sam3_agent.model.offline.lexicon import AN, IMAGE, REASONS, RESERVED, SPELLINGS, THE, Phrase
from sam3_agent.sanitize import shorten, visible_words

MAX_WORDS = 80

_CONTRACTIONS = (
    (r"\b(where|what|who|that|there|it|how)'s\b", r"\1 is"),
    (r"\b(is|are|does|do|was|were)n't\b", r"\1 not"),
    (r"\bi'd\b", "i would"),
    (r"\bi'm\b", "i am"),
    (r"\b(left|right|top|bottom)-(most|hand)\b", r"\1 \2"),
    (r"\b(top|bottom|upper|lower)-(left|right)\b", r"\1 \2"),
    (r"\b(second|third|next)-to-last\b", r"\1 to last"),
    (r"\s*&\s*", " and "),
)
_WORD = r"[a-z0-9]+(?:['-][a-z0-9]+)*"
_TOKEN = re.compile(rf"{_WORD}|[^\s\w]|\S")
_PLAIN = re.compile(r"[a-z]+(?:['-][a-z]+)*")


class ParseError(Exception):
    """The grammar does not cover the question; the message is a sentence for its asker."""


def tokenize(text: str) -> list[str]:
    """The words and commas of a question, lower case, without "in the picture" and the like.

    Raises ParseError for other scripts, symbols and more than MAX_WORDS words.
    """
    text = text.translate(str.maketrans("\u2019\u2018\u201c\u201d\u2013\u2014", "''\"\"--")).lower()
    text = re.sub(r"\s", " ", visible_words(text)).replace('"', " ")
    words = re.findall(r"\w+", text)
    foreign = [word for word in words if any(c.isalpha() and not c.isascii() for c in word)]
    if foreign:
        raise ParseError(f"It reads only English, and cannot read {_shown(foreign)}.")
    for pattern, replacement in _CONTRACTIONS:
        text = re.sub(pattern, replacement, text)
    words = [SPELLINGS.get(word, str(word)) for word in _TOKEN.findall(text.strip(" .!?;,:"))]
    words = ["," if word in (";", ":") else word for word in words]
    strange = [word for word in words if word != "," and not re.fullmatch(_WORD, word)]
    if strange:
        raise ParseError(f"It reads one plain question, and cannot read {_shown(strange)}.")
    if len(words) > MAX_WORDS:
        raise ParseError(f"It reads at most {MAX_WORDS} words, and these are {len(words)}.")
    return _without_image(words)


class Tokens:
    """A position in a list of words."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.at = 0

    def peek(self, offset: int = 0) -> str:
        """The word at the position plus `offset`; "" past the end."""
        place = self.at + offset
        return self.words[place] if place < len(self.words) else ""

    def plain(self, offset: int = 0) -> bool:
        """Whether the word there may be part of a concept."""
        word = self.peek(offset)
        return bool(_PLAIN.fullmatch(word)) and word not in RESERVED

    def matches(self, phrase: Phrase) -> bool:
        """Whether these words come next."""
        return tuple(self.words[self.at : self.at + len(phrase)]) == phrase

    def matches_any(self, phrases: Iterable[Phrase]) -> bool:
        """Whether one of these phrases comes next."""
        return any(self.matches(phrase) for phrase in phrases)

    def take(self, *phrase: str) -> bool:
        """Takes these words if they come next."""
        found = self.matches(phrase)
        self.at += len(phrase) if found else 0
        return found

    def take_one(self, words: Collection[str]) -> str:
        """Takes and returns the next word if it is one of these, else ""."""
        word = self.peek()
        if not word or word not in words:
            return ""
        self.at += 1
        return word

    def take_phrase(self, phrases: Iterable[Phrase]) -> Phrase:
        """Takes and returns the longest of these phrases that comes next, else ()."""
        found = max((p for p in phrases if self.matches(p)), key=len, default=())
        self.at += len(found)
        return found

    def unexpected(self) -> ParseError:
        """The error that the words from here on cannot be parsed, with a known reason."""
        rest = " ".join(self.words[self.at :]).replace(" ,", ",")
        if not rest:
            return ParseError("It misses what the question is about.")
        reasons = [words for words in REASONS if self.matches(words)]
        reason = f": {REASONS[max(reasons, key=len)]}" if reasons else ""
        return ParseError(f"It cannot read {_shown([rest])}{reason}.")


def _without_image(words: list[str]) -> list[str]:
    """The words without "in the picture" and the like."""
    kept: list[str] = []
    at = 0
    while at < len(words):
        end = at + 1
        # a preposition, an article and the picture, unless a noun goes on: "picture frame"
        if words[at] in ("in", "of", "on", "within", "inside", "from"):
            end += end < len(words) and words[end] in THE | AN
            end += end < len(words) and words[end] in ("whole", "entire", "given")
            after = words[end + 1] if end + 1 < len(words) else ""
            names_image = end < len(words) and words[end] in IMAGE
            goes_on = bool(_PLAIN.fullmatch(after)) and after not in RESERVED | {"left", "right"}
            if names_image and not goes_on and after not in ("on", "above", "over"):
                at = end + 1
                continue
        kept.append(words[at])
        at += 1
    return kept


def _shown(words: list[str]) -> str:
    """Words in quotation marks; unprintable characters as their codes."""
    text = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in " ".join(words))
    return f'"{shorten(text, 60)}"'
