"""Executes query trees on the objects that were found."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sam3_agent.geometry import Size
from sam3_agent.model.offline import geometry
from sam3_agent.model.offline.geometry import SceneObject
from sam3_agent.model.offline.query_tree import (
    THING,
    AnyOf,
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
)
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS


def phrases(concept: Concept) -> tuple[str, ...]:
    """The phrases to segment for a concept: its own and those of the known kinds of a category.

    A segmenter finds "dog" more reliably than "animal", and cannot use "thing".
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


class Executor:
    """Selects objects for query trees.

    found: the objects of every segmented phrase, best first. size: of the picture.
    """

    def __init__(self, found: Mapping[str, Sequence[SceneObject]], size: Size) -> None:
        self._found = found
        self._size = size

    def marked(self, query: Query) -> tuple[SceneObject, ...]:
        """The objects that the answer to a query marks."""
        objects = self.execute(query.what)
        match query:
            case Exists(least=least) if len(objects) < least:
                return ()
            case Exists(AnyOf(parts), every=True) if not all(map(self.execute, parts)):
                return ()
            case Compare(_, other):
                return geometry.distinct((*objects, *self.execute(other)))
            case _:
                return objects

    def execute(self, node: Node) -> tuple[SceneObject, ...]:
        """The objects that a node selects, the likeliest or first in its order first."""
        match node:
            case Concept():
                return self._concept(node)
            case Placed(of, place):
                return geometry.placed(self.execute(of), place, self._size)
            case Ranked(of, order, first, count):
                in_order = geometry.ranked(self.execute(of), order, self._size)
                return in_order[first - 1 : first - 1 + count]
            case Related(of, relation, anchor, every):
                anchors = self.execute(anchor)
                if not anchors:
                    return ()
                return geometry.related(
                    self.execute(of), relation, anchors, self._size, every=every
                )
            case Excluded(of, left_out):
                return geometry.without(self.execute(of), self.execute(left_out))
            case Chosen(of, count):
                return self.candidates(of)[:count]
            case AnyOf(parts):
                return geometry.distinct(obj for part in parts for obj in self.execute(part))

    def candidates(self, node: Node) -> tuple[SceneObject, ...]:
        """What `Chosen` chooses from: for "near", all but the anchors, the nearest first."""
        if not (isinstance(node, Related) and node.relation == "near"):
            return self.execute(node)
        anchors = self.execute(node.anchor)
        if not anchors:
            return ()
        return geometry.nearest(self.execute(node.of), anchors, every=node.every)

    def kinds(self, objects: Sequence[SceneObject], concept: Concept) -> Counter[str]:
        """How many objects of a category are of each kind; empty when one is of none or several."""
        own = concept.phrase
        kinds: Counter[str] = Counter()
        for obj in objects:
            fitting = [
                phrase
                for phrase in phrases(concept)
                if phrase != own and any(geometry.same(obj, t) for t in self._found.get(phrase, ()))
            ]
            if len(fitting) != 1:
                return Counter()
            kinds[fitting[0]] += 1
        return kinds

    def fitting(self, objects: Sequence[SceneObject], node: Node) -> tuple[SceneObject, ...]:
        """Those of the objects that a node selects too."""
        described = self.execute(node)
        return tuple(t for t in objects if any(geometry.same(t, one) for one in described))

    def colors(self, objects: Sequence[SceneObject], phrases: Mapping[str, str]) -> dict[int, str]:
        """The colours, by number, of objects that a phrase such as "red car" found.

        phrases: each with its colour.
        """
        named = {}
        for obj in objects:
            likely = [
                (one.score, color)
                for phrase, color in phrases.items()
                for one in self._found.get(phrase, ())
                if geometry.same(obj, one)
            ]
            if likely:
                named[obj.number] = max(likely)[1]
        return named

    def _concept(self, concept: Concept) -> tuple[SceneObject, ...]:
        asked = [phrase for phrase in phrases(concept) if phrase in self._found]
        if len(asked) == 1:
            return tuple(self._found[asked[0]])
        objects = {obj for phrase in asked for obj in self._found[phrase]}
        return geometry.distinct(sorted(objects, key=lambda obj: (-obj.score, obj.number)))
