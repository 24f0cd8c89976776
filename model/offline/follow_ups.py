"""Parses questions that follow another in a chat: "and the largest?", "what colour is it?"."""

import re
from dataclasses import replace

from sam3_agent.model.offline.lexicon import COLORS, RESERVED
from sam3_agent.model.offline.parser import parse_words
from sam3_agent.model.offline.query_tree import (
    AnyOf,
    Chosen,
    Compare,
    Concept,
    Fits,
    Node,
    ParseFailure,
    Placed,
    Query,
    Ranked,
    Refer,
    Related,
    children,
)
from sam3_agent.model.offline.tokenizer import ParseError, tokenize

_TOO = re.compile(
    r"(?:and |now |then |but |so |ok |okay |also |, )*(and|what about|how about|also) "
)
_PLACE = re.compile(r"(?:on|at|in|to|left|right|above|below|under|next|near|between|inside) ")
_OPENING = re.compile(
    r"^(?:(?:and|now|then|but|so|ok|okay|also|only|just|what about|how about|,) )+"
)


def parse_follow_up(text: str, before: Query | ParseFailure) -> Query | ParseFailure:
    """Parses a question in the context of the one before; returns ParseFailure, with the reason.

    A left-out noun is that of the question before: "the largest" after "the smallest dog" is one of
    all dogs. "And the dogs?" asks the same about dogs.
    """
    try:
        words = " ".join(tokenize(text))
        antecedent = None if isinstance(before, ParseFailure) else _selected(before)
        alone = _standing_alone(words)
        if antecedent is not None and _TOO.match(words) and _PLACE.match(alone):
            alone, antecedent = f"the ones {alone}", _unplaced(antecedent)
        if "the same one " in f"{alone} " and antecedent is not None and not _is_one(antecedent):
            raise ParseError("It cannot tell which one of those before is meant.")
        query = parse_words(alone, antecedent, lost=antecedent is None)
        if isinstance(query, Refer) and _TOO.match(words):
            return _asked_too(query.what, before)
        return query
    except ParseError as error:
        return ParseFailure(str(error))


def _selected(query: Query) -> Node:
    if isinstance(query, Compare):
        return AnyOf((query.what, query.other))
    return query.what


def _standing_alone(words: str) -> str:
    """The words as a whole question, with "the same one" for "it" and the like."""
    words = _OPENING.sub("", words)
    words = re.sub(r"\b(what is|what are) its color", r"\1 the color of it", words)
    words = re.sub(r"\b(it|that one|this one)\b", "the same one", words)
    words = re.sub(r"\b(they|them)\b", "the same ones", words)
    words = re.sub(r"^how many (are|is|do you see)\b", r"how many of the same ones \1", words)
    words = f"the {words} ones" if words in COLORS else words
    words = re.sub(r"\b(the others|others|the rest)\b", "the other ones", words)
    return re.sub(r"\b(those|these) ?(\S*)", _those, words).strip()


def _those(match: re.Match[str]) -> str:
    """Replaces "those" unless a noun follows."""
    after = match[2]
    alone = not after or (after in RESERVED and after not in ("one", "ones")) or after == ","
    return f"the same ones {after}" if alone else f"the {after}"


def _asked_too(what: Node, before: Query | ParseFailure) -> Query:
    """The query before, about other objects."""
    if isinstance(before, ParseFailure | Fits | Compare):
        raise ParseError("Ask the whole question: it cannot tell what to add to the last one.")
    if _is_plain(what) and not _is_plain(before.what):
        raise ParseError("Ask the whole question: it cannot tell how much of the last one holds.")
    if isinstance(before, Refer):
        return Refer(what)
    return replace(before, what=what.of if isinstance(what, Chosen) else what)


def _unplaced(node: Node) -> Node:
    """The node without its places and relations."""
    while isinstance(node, Placed | Related):
        node = node.of
    return node


def _is_one(node: Node) -> bool:
    """Whether "it" may refer to the node: one selected object, or a concept."""
    return _is_plain(node) or (isinstance(node, Ranked | Chosen) and node.count == 1)


def _is_plain(node: Node) -> bool:
    """Whether the node selects all objects of its concepts."""
    if isinstance(node, Chosen | AnyOf):
        return all(map(_is_plain, children(node)))
    return isinstance(node, Concept)
