"""What a referring expression means, as a small typed tree.

"all red cars left of the tree except the largest one"

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
"""What things are ranked by; a place ranks by nearness to that side, corner or the middle."""

Relation: TypeAlias = Literal[
    "left", "right", "above", "below", "over", "under", "near", "between", "inside", "on",
    "touching", "larger", "smaller",
]  # fmt: skip
"""How a thing stands to an anchor."""

Share: TypeAlias = Literal["all", "most", "none"]
"""How many of the things that are meant."""

THING = "thing"
"""The noun of a concept that everything is: "the one on the left", "everything except the dog"."""


@dataclass(frozen=True)
class Concept:
    """Everything that a noun, singular, with its attributes names."""

    noun: str
    attributes: tuple[str, ...] = ()

    @property
    def phrase(self) -> str:
        """The concept as a short noun phrase."""
        return " ".join((*self.attributes, self.noun))


@dataclass(frozen=True)
class Placed:
    """Those in one part of the picture."""

    of: "Node"
    place: Place


@dataclass(frozen=True)
class Ranked:
    """`count` in a row, the first of which is number `first` in the order, counted from 1."""

    of: "Node"
    order: Order
    first: int = 1
    count: int = 1


@dataclass(frozen=True)
class Related:
    """Those that stand in a relation to the anchor: to `every` thing of it, or to any."""

    of: "Node"
    relation: Relation
    anchor: "Node"
    every: bool = True


@dataclass(frozen=True)
class Excluded:
    """All but those left out."""

    of: "Node"
    left_out: "Node"


@dataclass(frozen=True)
class Chosen:
    """The `count` most probably meant: nearest to the anchor, else with the best scores."""

    of: "Node"
    count: int


@dataclass(frozen=True)
class AnyOf:
    """Everything in any of the parts."""

    parts: tuple["Node", ...]


Node: TypeAlias = Concept | Placed | Ranked | Related | Excluded | Chosen | AnyOf


@dataclass(frozen=True)
class Refer:
    """Point at what is meant."""

    what: Node


@dataclass(frozen=True)
class Count:
    """How many are there?"""

    what: Node


@dataclass(frozen=True)
class Exists:
    """Are there at least so many, and at most? `every`: of each part of a union ("a dog and a
    cat")."""

    what: Node
    every: bool = False
    least: int = 1
    most: int | None = None


@dataclass(frozen=True)
class Check:
    """Do all, most, or none of what is meant fit a description?"""

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


Query: TypeAlias = (
    Refer | Count | CountKinds | Exists | Check | Compare | AskColor | CountColors | SameColor
)


@dataclass(frozen=True)
class ParseFailure:
    """A question that the grammar does not cover; `reason` is a sentence that says why."""

    reason: str


def concepts(node: Node) -> tuple[Concept, ...]:
    """Every concept that must be found to know what is meant, in order, each once."""
    match node:
        case Concept():
            found: tuple[Concept, ...] = (node,)
        case Placed(of) | Ranked(of) | Chosen(of):
            found = concepts(of)
        case Related(of, _, other) | Excluded(of, other):
            found = (*concepts(of), *concepts(other))
        case AnyOf(parts):
            found = tuple(concept for part in parts for concept in concepts(part))
    return tuple(dict.fromkeys(found))


def heads(node: Node) -> tuple[Concept, ...]:
    """The concepts that what is meant belongs to, without those of anchors and exceptions."""
    match node:
        case Concept():
            return (node,)
        case AnyOf(parts):
            return tuple(dict.fromkeys(head for part in parts for head in heads(part)))
        case _:
            return heads(node.of)


def nodes(query: Query) -> tuple[Node, ...]:
    """The trees of a query: what it is about first."""
    values = (getattr(query, one.name) for one in fields(query))
    return tuple(value for value in values if isinstance(value, Node))


def map_query(query: Query, change: Callable[[Concept], Node]) -> Query:
    """The query with every concept changed."""
    changed: dict[str, Any] = {
        one.name: map_node(getattr(query, one.name), change)
        for one in fields(query)
        if isinstance(getattr(query, one.name), Node)
    }
    return replace(query, **changed)


def map_node(node: Node, change: Callable[[Concept], Node]) -> Node:
    """The tree with every concept changed."""
    match node:
        case Concept():
            return change(node)
        case AnyOf(parts):
            return AnyOf(tuple(map_node(part, change) for part in parts))
        case Related(of, _, anchor):
            return replace(node, of=map_node(of, change), anchor=map_node(anchor, change))
        case Excluded(of, left_out):
            return Excluded(map_node(of, change), map_node(left_out, change))
        case _:
            return replace(node, of=map_node(node.of, change))


def map_heads(node: Node, change: Callable[[Concept], Node]) -> Node:
    """The tree with the concepts changed that what is meant belongs to; see `heads`."""
    match node:
        case Concept():
            return change(node)
        case AnyOf(parts):
            return AnyOf(tuple(map_heads(part, change) for part in parts))
        case _:
            return replace(node, of=map_heads(node.of, change))
