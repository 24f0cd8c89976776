"""Maps concepts to a closed vocabulary: "automobile" to "car", "pets" to dogs and cats."""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sam3_agent.model.offline.executor import phrases
from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.offline.lexicon import COLORS
from sam3_agent.model.offline.query_tree import THING, AnyOf, Concept, Node, Query, map_query
from sam3_agent.vocabulary import Vocabulary, known_noun, nearest_words, unknown_part


class UnknownWordError(Exception):
    """A concept is outside the vocabulary; the message names the word and what is nearest."""


@dataclass(frozen=True)
class _KnownConcept:
    """A concept in known words.

    note: a sentence that names the replaced words; "" without any.
    wider: the word covers more than its known kinds, so there may be others when none is found.
    """

    node: Node
    note: str = ""
    wider: bool = False


@dataclass(frozen=True)
class KnownQuery:
    """A query in known words, the notes for its answer, and the nodes of its wider words."""

    query: Query
    notes: tuple[str, ...] = ()
    wider: tuple[Node, ...] = ()


@dataclass(frozen=True)
class _Synonyms:
    """See synonyms.toml."""

    same: Sequence[Sequence[str]]
    kinds: Mapping[str, Sequence[str]]
    near: Mapping[str, Sequence[str]]

    def alike(self, word: str, known: Collection[str]) -> str | None:
        """A known synonym of the word."""
        groups = (group for group in self.same if word in group)
        return next((other for group in groups for other in group if other in known), None)


@cache
def _synonyms() -> _Synonyms:
    file = Path(__file__).parent / "synonyms.toml"
    return _Synonyms(**tomllib.loads(file.read_text(encoding="utf-8")))


def in_vocabulary(query: Query, vocabulary: Vocabulary | None) -> KnownQuery:
    """The query in the words of a vocabulary; raises UnknownWordError for a word outside it."""
    if vocabulary is None:
        return KnownQuery(query)
    done: dict[Concept, _KnownConcept] = {}

    def change(concept: Concept) -> Node:
        done[concept] = _reworded(concept, vocabulary)
        return done[concept].node

    changed = map_query(query, change)
    notes = dict.fromkeys(one.note for one in done.values() if one.note)
    return KnownQuery(changed, tuple(notes), tuple(one.node for one in done.values() if one.wider))


def _reworded(concept: Concept, vocabulary: Vocabulary) -> _KnownConcept:
    if concept.noun == THING and not concept.attributes:
        return _KnownConcept(concept)
    words = [*concept.attributes, *concept.noun.split()]
    for at in range(len(words)):
        tail = " ".join(words[at:])
        nouns, wider = _nouns(tail, vocabulary)
        if nouns:
            return _described(words[:at], tail, nouns, vocabulary, wider=wider)
    raise _unknown(words, vocabulary)


def _nouns(word: str, vocabulary: Vocabulary) -> tuple[list[str], bool]:
    """The known nouns for a word, and whether the word is a wider one."""
    if word == THING:
        return [word], False
    noun = known_noun(word, vocabulary) or _synonyms().alike(word, vocabulary)
    if noun is not None:
        return [noun], False
    return [kind for kind in _synonyms().kinds.get(word, ()) if kind in vocabulary], True


def _described(
    attributes: Sequence[str],
    word: str,
    nouns: Sequence[str],
    vocabulary: Vocabulary,
    *,
    wider: bool,
) -> _KnownConcept:
    """The nouns with attributes, in known words too."""
    known = {attribute for noun in vocabulary for attribute in vocabulary[noun]}
    alike = [one if one in known else _synonyms().alike(one, known) or one for one in attributes]
    concepts = [Concept(noun, tuple(alike)) for noun in nouns]
    found = [one for one in concepts if known_phrases(one, vocabulary)]
    if not found:
        raise UnknownWordError(_undescribed(" ".join(attributes), word, known))
    node = found[0] if len(found) == 1 else AnyOf(tuple(found))
    taken = [(one, other) for one, other in zip(attributes, alike, strict=True) if one != other]
    if wider:
        kinds = " and ".join(plural(one.noun) for one in found)
        note = f'I took "{plural(word)}" for {kinds}, which I know.'
        return _KnownConcept(node, note, wider=True)
    taken += [(word, nouns[0])] if word != nouns[0] else []
    note = " and ".join(f'"{one}" for {other}' for one, other in taken)
    return _KnownConcept(node, f"I took {note}." if note else "")


def colorless_kinds(concept: Concept, vocabulary: Vocabulary | None) -> tuple[str, ...]:
    """The known kinds of a coloured category ("red things") whose colours are not known."""
    if vocabulary is None or not concept.attributes:
        return ()
    kinds = phrases(Concept(concept.noun))
    attribute = " ".join(concept.attributes)
    return tuple(
        kind
        for kind in kinds
        if kind != concept.noun and kind in vocabulary and attribute not in vocabulary[kind]
    )


def known_phrases(concept: Concept, vocabulary: Vocabulary | None) -> tuple[str, ...]:
    """The phrases to segment for a concept, those that are known."""
    return tuple(one for one in phrases(concept) if not unknown_part(one, vocabulary))


def _undescribed(attribute: str, word: str, known: Collection[str]) -> str:
    """The message for an unknown attribute of a known noun."""
    near = [one for one in _synonyms().near.get(attribute, ()) if one in known]
    near += [one for one in nearest_words(attribute, dict.fromkeys(known, ())) if one not in near]
    ask = f'; ask "what colour is the {word}?"' if attribute in COLORS and word != THING else ""
    words = "things" if word == THING else f'"{word}"'
    return f'I know {words}, but not "{attribute}"{_did_you_mean(near) or f"{ask}."}'


def _unknown(words: Sequence[str], vocabulary: Vocabulary) -> UnknownWordError:
    part = unknown_part(" ".join(words), vocabulary)
    near = [one for one in _synonyms().near.get(part, ()) if one in vocabulary]
    near += [one for one in nearest_words(part, vocabulary) if one not in near]
    rest = _did_you_mean(near) or f", only {', '.join(vocabulary)}."
    return UnknownWordError(f'I do not know "{part}"{rest}')


def _did_you_mean(words: Sequence[str]) -> str:
    named = " or ".join(f'"{word}"' for word in words)
    return f"; did you mean {named}?" if words else ""
