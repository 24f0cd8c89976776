"""A parsed noun phrase, and how it becomes a node of the query tree."""

from dataclasses import dataclass, field
from typing import Literal

from sam3_agent.model.offline.inflection import Number
from sam3_agent.model.offline.lexicon import COLORS, OPPOSITE
from sam3_agent.model.offline.query_tree import (
    THING,
    Chosen,
    Concept,
    Excluded,
    Node,
    Order,
    Place,
    Placed,
    Ranked,
    Related,
    Relation,
    map_heads,
)
from sam3_agent.model.offline.tokenizer import ParseError


@dataclass
class NounPhrase:
    """The parts of "the two largest red dogs on the left that are not next to the tree".

    noun: singular; None when it is left out, as in "the leftmost" or "the red one".
    members: what "the largest of the dogs" chooses from.
    rank: "second", counted from the other end when from_end ("second to last").
    size: the order that "small" stands for, and size_word the word.
    side_from: the side that a rank is counted from.
    places: parts of the picture, and whether at the far end of it.
    left_out: those of "that is not ...".
    one: "one" or "ones" is in place of the noun. same, other: the objects of the question before
        ("it", "the same ones"), or those that it did not select ("the other one").
    """

    text: str = ""
    determiner: Literal["the", "a", "all", ""] = ""
    count: int | None = None
    rank: int | None = None
    from_end: bool = False
    order: Order | None = None
    size: Order | None = None
    size_word: str = ""
    attributes: list[str] = field(default_factory=list)
    noun: str | None = None
    number: Number = "either"
    one: bool = False
    same: bool = False
    other: bool = False
    members: Node | None = None
    side_from: Place | None = None
    places: list[tuple[Place, bool]] = field(default_factory=list)
    relations: list["RelationPhrase"] = field(default_factory=list)
    left_out: list["NounPhrase"] = field(default_factory=list)

    @property
    def elided(self) -> bool:
        """Whether the noun is left out."""
        return self.noun is None and self.members is None

    @property
    def ordered(self) -> bool:
        """Whether it selects by an order."""
        return bool(self.rank or self.order or self.size)

    @property
    def restricted(self) -> bool:
        """Whether there is more than a concept."""
        return bool(self.ordered or self.side_from or self.placed or self.members)

    @property
    def placed(self) -> bool:
        """Whether restrictions follow the noun."""
        return bool(self.places or self.relations or self.left_out)

    def wanted(self) -> int | None:
        """How many objects are meant; None for all."""
        if self.count is not None:
            return self.count
        if self.determiner == "all" or self.number == "plural":
            return None
        if self.number == "either":
            near = any(one.relation == "near" for one in self.relations)
            nearest = any(one.nearest for one in self.relations)
            pointed_at = self.determiner == "the" and (near or self.places)
            return 1 if nearest or pointed_at else None
        return 1 if self.determiner or self.restricted else None

    def node(self, antecedent: Node | None = None, *, choose: bool = True) -> Node:
        """The node of the phrase; `antecedent` is what a left-out noun stands for.

        choose: select as many objects as the phrase asks for, not all that fit. Raises ParseError
        for an incomplete phrase.
        """
        wanted = self.wanted() if choose else None
        definite = choose and self.determiner != "a" and wanted is not None
        order, attributes = self.order, list(self.attributes)
        # "the small dog" is the smallest one; of "small dogs" and "a small dog" it is an attribute
        if self.size and not (definite and order is None and self.rank is None):
            attributes.insert(0, self.size_word)
        elif self.size:
            order = self.size
        # restrictions filter first; the order, or the scores, then choose from what is left
        base = self._base(attributes, antecedent)
        for one in self.relations:
            base = Related(base, one.relation, one.anchor, one.every)
        places = self._filters(definite, choose, order)
        for place in places:
            base = Placed(base, place)
        for phrase in self.left_out:
            base = Excluded(base, phrase.node(base))
        if len(places) < len(self.places) and self.rank is None:
            order = self.places[-1][0]
        if order is None and self.rank is None:
            return base if wanted is None else Chosen(base, wanted)
        return self._ranked(base, order)

    def _base(self, attributes: list[str], antecedent: Node | None) -> Node:
        if self.members is not None:
            return map_heads(self.members, lambda head: self._described(head, attributes))
        if self.noun is not None and not (self.same or self.other):
            return Concept(self.noun, tuple(attributes))
        if antecedent is None and attributes and not self.one:
            raise ParseError(f'It cannot tell of what "{self.text}" is said.')
        if antecedent is None and not (self.same or self.other):
            return Concept(THING, tuple(attributes))
        if antecedent is None:
            raise ParseError(f'It cannot tell what "{self.text}" refers to.')
        if self.other:
            return self._others(attributes, antecedent)
        if self.noun is not None:
            raise ParseError(f'It cannot tell what "{self.text}" refers to.')
        # "and the largest?" after "the smallest dog" chooses from all dogs again
        if attributes or self.restricted or self.number == "plural":
            antecedent = _choice(antecedent)
        return map_heads(antecedent, lambda head: self._described(head, attributes))

    def _others(self, attributes: list[str], antecedent: Node) -> Node:
        """What the question before did not select: "the other one" after "the red car" is a car."""
        pool = _choice(antecedent)
        noun = self.noun or (pool.noun if isinstance(pool, Concept) else None)
        if noun is not None:
            pool = Concept(noun, tuple(attributes))
        elif attributes:
            pool = map_heads(pool, lambda head: self._described(head, attributes))
        if pool == antecedent:
            raise ParseError(f'It cannot tell which others "{self.text}" means.')
        return Excluded(pool, antecedent)

    def _described(self, head: Concept, attributes: list[str]) -> Concept:
        """The concept of a left-out noun with attributes; a new colour replaces the old one."""
        colored = not COLORS.isdisjoint(attributes)
        kept = [word for word in head.attributes if not (colored and word in COLORS)]
        if self.same and attributes and len(kept) < len(head.attributes):
            raise ParseError(f'It has looked for "{head.phrase}" and cannot check the colour.')
        return Concept(head.noun, (*attributes, *kept))

    def _filters(self, definite: bool, choose: bool, order: Order | None) -> list[Place]:
        """The places that filter; the last one ranks if the phrase asks for a number of objects."""
        places: list[Place] = [place for place, _ in self.places]
        if not places:
            return []
        ranked = self.rank is not None and self.side_from is None
        far = choose and self.places[-1][1] and self.number != "plural"
        if ranked or ((definite or far) and order is None and self.rank is None):
            return places[:-1]
        return places

    def _ranked(self, base: Node, order: Order | None) -> Node:
        count = self.count or 1
        several = self.determiner == "all" or self.number == "plural"
        if several and self.count is None:
            raise ParseError(f'"{self.text}" does not say how many.')
        if self.rank is None:
            assert order is not None
            return Ranked(base, order, 1, count)
        if order is not None and (self.side_from is not None or self.from_end):
            raise ParseError(f'"{self.text}" says twice how to count.')
        if self.rank > 1 and count > 1:
            raise ParseError(f'It cannot tell which ones "{self.text}" are.')
        return Ranked(base, self._counted_from(order), self.rank, count)

    def _counted_from(self, order: Order | None) -> Order:
        """The order in which a rank counts; from the left by default."""
        if order is not None:
            return order
        if self.side_from is None and self.places:
            return self.places[-1][0]
        side: Place = self.side_from or "left"
        if self.from_end and side not in OPPOSITE:
            raise ParseError(f'It cannot tell where "{self.text}" counts from.')
        return OPPOSITE[side] if self.from_end else side


def _choice(node: Node) -> Node:
    """The node that one object was chosen from: dogs for "the largest dog"."""
    while isinstance(node, Ranked | Chosen) and node.count == 1:
        node = node.of
    return node


@dataclass(frozen=True)
class RelationPhrase:
    """A relation and its anchor, before they are applied to a node.

    nearest: the wording selects one object, as "closest to" does.
    """

    relation: Relation
    anchor: Node
    every: bool
    nearest: bool = False
