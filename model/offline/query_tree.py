"""The query tree: a parsed question as typed values. The root is a Query, the others are Nodes.

"all red cars left of the tree except the largest one" is

Refer(Excluded(
    Related(Concept("car", ("red",)), "left", Chosen(Concept("tree"), 1)),
    Ranked(Related(...), "largest"),
))
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

Place: TypeAlias = Literal[
    "left", "right", "top", "bottom", "middle",
    "top left", "top right", "bottom left", "bottom right",
]  # fmt: skip
"""A part of the picture."""

Order: TypeAlias = Place | Literal[
    "largest", "smallest", "tallest", "shortest", "widest", "narrowest"
]  # fmt: skip
"""What objects are ranked by; a place ranks by nearness to that side, corner or the middle."""

Relation: TypeAlias = Literal[
    "left", "right", "above", "below", "over", "under", "near", "between", "inside", "on",
    "touching", "larger", "smaller",
]  # fmt: skip
"""How an object lies to an anchor."""

Share: TypeAlias = Literal["all", "most", "none"]
"""How many of the selected objects."""

THING = "thing"
"""The noun of a concept that matches every object: "the one on the left", "everything"."""


@dataclass(frozen=True)
class Concept:
    """All objects that a singular noun with its attributes names."""

    noun: str
    attributes: tuple[str, ...] = ()

    @property
    def phrase(self) -> str:
        """The concept as a short noun phrase."""
        return " ".join((*self.attributes, self.noun))


@dataclass(frozen=True)
class Placed:
    """The objects in one part of the picture."""

    of: "Node"
    place: Place


@dataclass(frozen=True)
class Ranked:
    """`count` objects in a row from number `first`, counted from 1, of the order."""

    of: "Node"
    order: Order
    first: int = 1
    count: int = 1


@dataclass(frozen=True)
class Related:
    """The objects in a relation to `every` object of the anchor, or to any."""

    of: "Node"
    relation: Relation
    anchor: "Node"
    every: bool = True


@dataclass(frozen=True)
class Excluded:
    """All objects but those left out."""

    of: "Node"
    left_out: "Node"


@dataclass(frozen=True)
class Chosen:
    """The `count` likeliest objects: nearest to the anchor, else with the best scores."""

    of: "Node"
    count: int


@dataclass(frozen=True)
class AnyOf:
    """The objects of all parts."""

    parts: tuple["Node", ...]


Node: TypeAlias = Concept | Placed | Ranked | Related | Excluded | Chosen | AnyOf


@dataclass(frozen=True)
class Refer:
    """Which objects are these?"""

    what: Node


@dataclass(frozen=True)
class Count:
    """How many are there?"""

    what: Node


@dataclass(frozen=True)
class Exists:
    """Are there at least so many, and at most? `every`: of each part ("a dog and a cat")."""

    what: Node
    every: bool = False
    least: int = 1
    most: int | None = None


@dataclass(frozen=True)
class Fits:
    """Do all, most, or none of the objects fit a description?"""

    what: Node
    fitting: Node
    share: Share = "all"


@dataclass(frozen=True)
class Compare:
    """Are there more, fewer or as many of one as of the other? "which": of which are there more?"""

    what: Node
    other: Node
    order: Literal["more", "fewer", "as many", "which"]


@dataclass(frozen=True)
class AskColor:
    """What colour has it?"""

    what: Node


@dataclass(frozen=True)
class CountKinds:
    """How many kinds of a category are there?"""

    what: Node


@dataclass(frozen=True)
class CountColors:
    """How many are there of each colour?"""

    what: Node


@dataclass(frozen=True)
class SameColor:
    """Do they all have one colour? different: are there several?"""

    what: Node
    different: bool = False


ColorQuery: TypeAlias = AskColor | CountColors | SameColor
Query: TypeAlias = Refer | Count | CountKinds | Exists | Fits | Compare | ColorQuery


@dataclass(frozen=True)
class ParseFailure:
    """A question that the grammar does not cover; `reason` is a sentence."""

    reason: str


def children(value: Query | Node) -> tuple[Node, ...]:
    """The nodes right below a query or node, in the order of its fields."""
    if isinstance(value, AnyOf):
        return value.parts
    below = (getattr(value, field.name) for field in fields(value))
    return tuple(node for node in below if isinstance(node, Node))


def concepts(value: Query | Node) -> tuple[Concept, ...]:
    """Every concept below a query or node, in order, each once: what must be segmented."""
    if isinstance(value, Concept):
        return (value,)
    below = (concept for child in children(value) for concept in concepts(child))
    return tuple(dict.fromkeys(below))


def heads(node: Node) -> tuple[Concept, ...]:
    """The concepts that the selected objects belong to, without those of anchors and exceptions."""
    match node:
        case Concept():
            return (node,)
        case AnyOf(parts):
            return tuple(dict.fromkeys(head for part in parts for head in heads(part)))
        case _:
            return heads(node.of)


def map_query(query: Query, change: Callable[[Concept], Node]) -> Query:
    """The query with every concept changed."""
    return replace(query, **_changed(query, change))


def map_heads(node: Node, change: Callable[[Concept], Node]) -> Node:
    """The node with its `heads` changed."""
    match node:
        case Concept():
            return change(node)
        case AnyOf(parts):
            return AnyOf(tuple(map_heads(part, change) for part in parts))
        case _:
            return replace(node, of=map_heads(node.of, change))


def _map_node(node: Node, change: Callable[[Concept], Node]) -> Node:
    match node:
        case Concept():
            return change(node)
        case AnyOf(parts):
            return AnyOf(tuple(_map_node(part, change) for part in parts))
        case _:
            return replace(node, **_changed(node, change))


def _changed(value: Query | Node, change: Callable[[Concept], Node]) -> dict[str, Any]:
    below = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _map_node(x, change) for name, x in below.items() if isinstance(x, Node)}
