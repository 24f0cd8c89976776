"""Noun phrases and sentences for query trees, of which answers are composed."""

from collections.abc import Mapping, Sequence

from sam3_agent.model.offline.executor import Executor
from sam3_agent.model.offline.inflection import indefinite, plural
from sam3_agent.model.offline.query_tree import (
    AnyOf,
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
)

PLACE_TEXT: dict[Place, str] = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
    "top left": "in the top left",
    "top right": "in the top right",
    "bottom left": "in the bottom left",
    "bottom right": "in the bottom right",
}
_ORDER_TEXT: dict[Order, str] = {
    "left": "leftmost",
    "right": "rightmost",
    "top": "topmost",
    "bottom": "bottommost",
    "middle": "most central",
}
_RELATION_TEXT: dict[Relation, str] = {
    "left": "to the left of",
    "right": "to the right of",
    "near": "next to",
    "larger": "larger than",
    "smaller": "smaller than",
}
_RANK_TEXT = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
)


class Naming:
    """Names query trees; colors: those of objects, by number.

    Phrase that name selected objects link to their masks: "[The leftmost](3) of 4 cars."
    """

    def __init__(self, executor: Executor, colors: Mapping[int, str]) -> None:
        self._executor = executor
        self._colors = colors

    def _nothing(self, node: Node) -> str:
        """Why a node selects nothing."""
        match node:
            case Concept():
                return f"No {self._name(node, several=False)} here."
            case AnyOf(parts):
                return " ".join(self._nothing(part) for part in parts)
        pool = self._executor.execute(node.of)
        if not pool or isinstance(node, Chosen):  # a choice selects nothing only from nothing
            return self._nothing(node.of)
        match node:
            case Related(of, _, anchor) if not self._executor.execute(anchor):
                return f"{self._there(of)}, but {small(self._nothing(anchor))}"
            case Placed(of) | Related(of):
                none = "not" if len(pool) == 1 else "none"
                return f"{self._there(of)}, but {none} {self._where(node)}."
            case Ranked(of):
                return f"There {are(len(pool))} only {self._amount(of)}."
            case Excluded(of, left_out):
                return f"No {self._name(of, several=False)} except {self._left_out(left_out)}."

    def _there(self, node: Node) -> str:
        return f"There {are(len(self._executor.execute(node)))} {self._amount(node)}"

    def _amount(self, node: Node) -> str:
        """ "1 dog", "3 red cars", "no people"."""
        number = len(self._executor.execute(node))
        return self._marked(f"{number or 'no'} {self._name(node, several=number != 1)}", node)

    def _marked(self, words: str, node: Node) -> str:
        """The words with a link to the masks of the node: "[3 red cars](1, 2, 4)"."""
        numbers = ", ".join(str(obj.number) for obj in self._executor.execute(node))
        return f"[{words}]({numbers})" if numbers else words

    def _some(self, node: Node) -> str:
        """ "the dog", "3 red cars"."""
        one = isinstance(node, Chosen | Ranked) and len(self._executor.execute(node)) == 1
        return self._marked(self._the(node), node) if one else self._amount(node)

    def _the(self, node: Node, *, every: bool = True) -> str:
        """The name with the article that fits the number of objects."""
        number = len(self._executor.execute(node))
        if isinstance(node, AnyOf):
            return listed([self._the(part) for part in node.parts], "and" if every else "or")
        if number > 1 and isinstance(node, Concept):
            return f"all {number} {self._name(node)}" if every else indefinite(node.phrase)
        amount = f"{number} " if number > 1 and isinstance(node, Chosen) else ""
        return f"the {amount}{self._name(node, several=number > 1)}"

    def _left_out(self, node: Node) -> str:
        number = len(self._executor.execute(node))
        if number > 1 and isinstance(node, Concept):
            return f"the {number} {self._name(node)}"
        return self._the(node)

    def _name(self, node: Node, *, several: bool = True) -> str:
        """The name without an article."""
        match node:
            case Concept():
                return plural(node.phrase) if several else node.phrase
            case Placed(of) | Related(of):
                return f"{self._name(of, several=several)} {self._where(node)}"
            case Ranked(of, order, first, count):
                name = self._name(of, several=count > 1)
                if first > 1 and order in PLACE_TEXT:
                    return f"{rank_word(first)} {name} from the {order}"
                number = f"{count} " if count > 1 else ""
                if " " in order:
                    return f"{number}{name} nearest to the {order} corner"
                rank = f"{rank_word(first)} " if first > 1 else ""
                return f"{number}{rank}{superlative(order)} {name}"
            case Excluded(of, left_out):
                return f"{self._name(of, several=several)} except {self._left_out(left_out)}"
            case Chosen(of, count):
                return self._name(of, several=count > 1)
            case AnyOf(parts):
                return listed([self._name(part, several=several) for part in parts], "or")

    def _where(self, node: Placed | Related) -> str:
        if isinstance(node, Placed):
            return PLACE_TEXT[node.place]
        words = _RELATION_TEXT.get(node.relation, node.relation)
        return f"{words} {self._the(node.anchor, every=node.every)}"


def superlative(order: Order) -> str:
    return _ORDER_TEXT.get(order, order)


def rank_word(number: int) -> str:
    return _RANK_TEXT[number - 1] if number <= len(_RANK_TEXT) else f"{number}th"


def are(number: int) -> str:
    return "is" if number == 1 else "are"


def listed(parts: Sequence[str], joint: str = "and") -> str:
    *others, last = parts
    return f"{', '.join(others)} {joint} {last}" if others else last


def capital(text: str) -> str:
    first = 1 if text.startswith("[") else 0
    return text[:first] + text[first : first + 1].upper() + text[first + 1 :]


def small(text: str) -> str:
    return text[:1].lower() + text[1:]
