"""What a query tree means among the things that were found."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sam3_agent.model.offline import geometry
from sam3_agent.model.offline.geometry import Size, Thing
from sam3_agent.model.offline.query_tree import (
    THING,
    Chosen,
    Compare,
    Concept,
    Excluded,
    Exists,
    Node,
    Placed,
    Query,
    Ranked,
    Related,
    Union,
)
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS


def phrases(concept: Concept) -> tuple[str, ...]:
    """The concept phrases that find a concept: its own, and those of known kinds of a category.

    A category alone is less sure to be found than "dog" or "car"; and that everything is a thing
    tells a segmenter nothing.
    """
    color = " ".join(concept.attributes)
    if concept.noun == THING:
        nouns, own = NOUNS, f"{color} object"
    else:
        nouns, own = CATEGORIES.get(concept.noun, ()), concept.phrase
    if not color:
        return nouns if concept.noun == THING else (own, *nouns)
    known = [noun for noun in nouns if noun in COLORABLE and color in COLORS]
    return (own, *(f"{color} {noun}" for noun in known))


class Findings:
    """What every concept phrase found, best first, in a picture of `size`.

    Of the phrases that find a concept only those are used that were asked.
    """

    def __init__(self, found: Mapping[str, Sequence[Thing]], size: Size) -> None:
        self._found = found
        self._size = size

    def things(self, node: Node) -> tuple[Thing, ...]:
        """What a query tree means, the likeliest or first in order first."""
        match node:
            case Concept():
                return self._concept(node)
            case Placed(of, place):
                return geometry.placed(self.things(of), place, self._size)
            case Ranked(of, order, first, count):
                in_order = geometry.ranked(self.things(of), order, self._size)
                return in_order[first - 1 : first - 1 + count]
            case Related(of, relation, anchor, every):
                anchors = self.things(anchor)
                if not anchors:
                    return ()
                return geometry.related(self.things(of), relation, anchors, self._size, every=every)
            case Excluded(of, left_out):
                return geometry.without(self.things(of), self.things(left_out))
            case Chosen(of, count):
                return self.candidates(of)[:count]
            case Union(parts):
                return geometry.distinct(thing for part in parts for thing in self.things(part))

    def candidates(self, node: Node) -> tuple[Thing, ...]:
        """What is chosen from: for what is near something, all others, however far."""
        if not (isinstance(node, Related) and node.relation == "near"):
            return self.things(node)
        anchors = self.things(node.anchor)
        if not anchors:
            return ()
        return geometry.nearest(self.things(node.of), anchors, every=node.every)

    def kinds(self, things: Sequence[Thing], concept: Concept) -> Counter[str]:
        """What things of a category are: how many of each kind; empty when that is not clear."""
        own = concept.phrase
        kinds: Counter[str] = Counter()
        for thing in things:
            fitting = [
                phrase
                for phrase in phrases(concept)
                if phrase != own
                and any(geometry.same(thing, t) for t in self._found.get(phrase, ()))
            ]
            if len(fitting) != 1:
                return Counter()
            kinds[fitting[0]] += 1
        return kinds

    def fitting(self, things: Sequence[Thing], node: Node) -> tuple[Thing, ...]:
        """Those of the things that a query tree means too."""
        described = self.things(node)
        return tuple(t for t in things if any(geometry.same(t, one) for one in described))

    def colors(self, things: Sequence[Thing], phrases: Mapping[str, str]) -> dict[int, str]:
        """The colours of things, by number, that one of these phrases ("red car": "red") found."""
        named = {}
        for thing in things:
            likely = [
                (one.score, color)
                for phrase, color in phrases.items()
                for one in self._found.get(phrase, ())
                if geometry.same(thing, one)
            ]
            if likely:
                named[thing.number] = max(likely)[1]
        return named

    def _concept(self, concept: Concept) -> tuple[Thing, ...]:
        asked = [phrase for phrase in phrases(concept) if phrase in self._found]
        if len(asked) == 1:
            return tuple(self._found[asked[0]])
        things = {thing for phrase in asked for thing in self._found[phrase]}
        return geometry.distinct(sorted(things, key=lambda thing: (-thing.score, thing.number)))


def meant(query: Query, findings: Findings) -> tuple[Thing, ...]:
    """The things that an answer to a query marks."""
    things = findings.things(query.what)
    match query:
        case Exists(least=least) if len(things) < least:
            return ()
        case Exists(Union(parts), every=True) if not all(map(findings.things, parts)):
            return ()
        case Compare(_, other):
            return geometry.distinct((*things, *findings.things(other)))
        case _:
            return things
