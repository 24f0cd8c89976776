"""Closed vocabularies: finds the words of a concept phrase that a segmenter was not trained on.

A segmenter with an open vocabulary has none; see `SegmenterDefaults`.
"""

from collections.abc import Collection, Mapping
from typing import TypeAlias

from sam3_agent.sanitize import visible_words

Vocabulary: TypeAlias = Mapping[str, Collection[str]]
"""The nouns that a segmenter knows, singular, each with the attributes that may precede it."""

MAX_NEAREST = 3

_ARTICLES = frozenset({"a", "an", "the"})


def unknown_part(phrase: str, vocabulary: Vocabulary | None) -> str:
    """The words of a concept phrase that are outside the vocabulary; "" when there are none.

    Case, an article in front and a regular plural make no difference. A word that is known as an
    attribute only ("orange") is unknown as a noun.
    """
    words = visible_words(phrase).lower().split()
    if words and words[0] in _ARTICLES:
        del words[0]
    if vocabulary is None or not words:
        return ""
    for at in range(len(words)):
        noun = known_noun(" ".join(words[at:]), vocabulary)
        if noun is not None:
            attribute = " ".join(words[:at])
            return "" if attribute in ("", *vocabulary[noun]) else attribute
    attributes = {word for known in vocabulary.values() for word in known}
    while len(words) > 1 and words[0] in attributes:
        del words[0]
    return " ".join(words)


def known_noun(word: str, vocabulary: Vocabulary) -> str | None:
    """The noun of the vocabulary that a word is, in singular or plural."""
    return next((form for form in _singulars(word) if form in vocabulary), None)


def nearest_words(text: str, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The words of the vocabulary that are spelled nearly like one of these words, the likeliest
    first."""
    known = {*vocabulary, *(word for words in vocabulary.values() for word in words)}
    likely: dict[str, int] = {}
    for form in (form for word in text.lower().split() for form in _singulars(word)):
        for one in sorted(known):
            distance = _edits(form, one)
            if 0 < distance <= (1 if len(form) < 6 else 2) and (len(form) > 4 or form[0] == one[0]):
                likely[one] = min(distance, likely.get(one, distance))
    return tuple(sorted(likely, key=lambda one: likely[one])[:MAX_NEAREST])


def _edits(one: str, other: str) -> int:
    """The optimal string alignment distance: letters left out, added, replaced, or swapped with
    their neighbour (Damerau-Levenshtein, each letter edited once)."""
    before, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i, *([0] * len(other))]
        for j, wanted in enumerate(other, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            swapped = i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted
            if swapped:
                row[j] = min(row[j], last[j - 2] + 1)
    return row[-1]


def _singulars(word: str) -> list[str]:
    """A word, and what it may be the regular plural of."""
    forms = [word]
    for ending, singular in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(ending):
            forms.append(word.removesuffix(ending) + singular)
    return forms
