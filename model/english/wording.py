"""Answers in words: what was found, how many, and why nothing was."""

from collections.abc import Mapping, Sequence

from sam3_agent.model.english.geometry import Thing
from sam3_agent.model.english.interpretation import Findings
from sam3_agent.model.english.nouns import indefinite, plural
from sam3_agent.model.english.queries import (
    THING,
    Check,
    Chosen,
    Color,
    Compare,
    Concept,
    Count,
    CountColors,
    Excluded,
    Exists,
    Node,
    Order,
    Place,
    Placed,
    Query,
    Ranked,
    Refer,
    Related,
    Relation,
    SameColor,
    Union,
    concepts,
    heads,
)
from sam3_agent.model.vocabulary import CATEGORIES, NOUNS

_PLACES: dict[Place, str] = {
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
_ORDERS: dict[Order, str] = {
    "left": "leftmost",
    "right": "rightmost",
    "top": "topmost",
    "bottom": "bottommost",
    "middle": "most central",
}
_RELATIONS: dict[Relation, str] = {
    "left": "to the left of",
    "right": "to the right of",
    "near": "next to",
    "larger": "larger than",
    "smaller": "smaller than",
}
_RANKS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()


class Wording:
    """Says in words what a query comes to among findings; colors: those of things, by number.

    The words that name what is meant point to it: "[The leftmost](3) of 4 cars."
    """

    def __init__(self, findings: Findings, colors: Mapping[int, str] | None = None) -> None:
        self._findings = findings
        self._colors = colors or {}

    def answer(self, query: Query) -> str:
        """One to three plain sentences."""
        match query:
            case Refer(what):
                sentences = [self._reference(what), *self._kinds(what), *self._notes(what)]
            case Count(what):
                sentences = [self._count(what), *self._kinds(what), *self._notes(what)]
            case Exists(what):
                sentences = [self._existence(query), *self._notes(what)]
            case Check(what):
                sentences = [self._check(query), *self._notes(what)]
            case Compare(what, other):
                sentences = [self._comparison(query), *self._notes(Union((what, other)))]
            case Color(what):
                sentences = [self._coloring(what), *self._notes(what)]
            case CountColors(what):
                sentences = [self._color_counts(what), *self._notes(what)]
            case SameColor(what):
                sentences = [self._same_color(query), *self._notes(what)]
        return " ".join(sentences)

    # sentences

    def _reference(self, node: Node) -> str:
        things = self._findings.things(node)
        if isinstance(node, Union):
            return self._union(node)
        if not things:
            return self._nothing(node)
        match node:
            case Ranked(of):
                return self._ranking(node, len(self._findings.things(of)))
            case Chosen(of):
                return self._choice(node, len(self._findings.candidates(of)))
            case Excluded(_, left_out) if not self._findings.things(left_out):
                absent = self._name(left_out, several=False)
                return f"{self._there(node.of)}; there is no {absent} to leave out."
            case Excluded(of, left_out):
                name = self._name(of, several=len(things) != 1)
                some = self._marked(f"{len(things)} {name}", node)
                return f"{some}: all except {self._left_out(left_out)}."
            case _:
                return f"{self._there(node)}."

    def _ranking(self, node: Ranked, total: int) -> str:
        if total == 1:
            one = self._marked(f"1 {self._name(node.of, several=False)}", node)
            return f"There is only {one}; this is it."
        names = self._name(node.of)
        if total < node.first or (node.count > 1 and total <= node.count):
            return f"There are only {total} {names}."
        number = f"{node.count} " if node.count > 1 else ""
        of_all = f"of {total} {names}"
        if " " in node.order:
            rank = f"{_rank(node.first)} " if node.first > 1 else ""
            some = self._marked(f"The {rank}{number or 'one '}".strip(), node)
            return f"{some} {of_all} from the {node.order} corner."
        if node.first == 1:
            some = self._marked(f"The {number}{_superlative(node.order)}", node)
            return f"{some} {of_all}."
        rank = _rank(node.first)
        if node.order in _PLACES and node.order != "middle":
            return f"{self._marked(f'The {rank}', node)} {of_all} from the {node.order}."
        return f"{self._marked(f'The {rank} {_superlative(node.order)}', node)} {of_all}."

    def _choice(self, node: Chosen, total: int) -> str:
        meant = node
        near = isinstance(node.of, Related) and node.of.relation == "near"
        if near and isinstance(node.of, Related):
            if total > node.count:
                number = f"{node.count} " if node.count > 1 else "one "
                anchor = self._the(node.of.anchor, every=node.of.every)
                some = self._marked(f"The {number}nearest to {anchor}", node)
                return f"{some}, of {total} {self._name(node.of.of)}."
            node = Chosen(node.of.of, node.count)
        name = self._name(node.of, several=total != 1)
        if total < node.count:
            return f"There {_are(total)} only {total} {name}."
        if total == node.count:
            if total == 1:
                return f"This is {self._marked(f'the {name}', meant)}."
            return f"These are {self._marked(f'the {total} {name}', meant)}."
        how = "nearest" if isinstance(node.of, Related) else "clearest"
        if node.count == 1:
            return f"There are {total} {name}; this is {self._marked(f'the {how} one', meant)}."
        ones = self._marked(f"the {node.count} {how} ones", meant)
        return f"There are {total} {name}; these are {ones}."

    def _union(self, node: Union) -> str:
        found = [part for part in node.parts if self._findings.things(part)]
        missing = [part for part in node.parts if not self._findings.things(part)]
        sentences = [self._nothing(part) for part in missing]
        if found:
            sentences.insert(0, f"{_capital(_listed([self._some(part) for part in found]))}.")
        return " ".join(sentences)

    def _count(self, node: Node) -> str:
        number = len(self._findings.things(node))
        if isinstance(node, Union) and number:
            amounts = [self._amount(part) for part in node.parts]
            return f"There {_are(number)} {number}: {_listed(amounts)}."
        if number:
            return f"{self._there(node)}."
        why = ""
        if isinstance(node, Related) and not self._findings.things(node.anchor):
            why = f": {self._nothing(node.anchor)[:-1].lower()}"
        return f"There are no {self._name(node)}{why}."

    def _existence(self, query: Exists) -> str:
        node = query.what
        parts = node.parts if isinstance(node, Union) else (node,)
        found = [part for part in parts if self._findings.things(part)]
        if query.every and found and len(found) < len(parts):
            absent = [self._name(part, several=False) for part in parts if part not in found]
            have = _listed([self._amount(part) for part in found])
            first = len(self._findings.things(found[0]))
            return f"No: there {_are(first)} {have}, but no {' and no '.join(absent)}."
        if found and query.most is not None:
            number = len(self._findings.things(node))
            yes = query.least <= number <= query.most
            return f"{'Yes' if yes else 'No'}, there {_are(number)} {self._amount(node)}."
        if query.most is not None and query.least == 0:
            return f"Yes, there are no {self._name(node)}."
        if found:
            first = len(self._findings.things(found[0]))
            if first < query.least:
                return f"No, there {_are(first)} only {self._amount(node)}."
            return f"Yes, there {_are(first)} {_listed([self._amount(part) for part in found])}."
        if isinstance(node, Concept):
            return self._nothing(node)
        return " ".join(("No.", *(self._nothing(part) for part in parts)))

    def _check(self, query: Check) -> str:
        things = self._findings.things(query.what)
        if not things:
            return self._nothing(query.what)
        total, fitting = len(things), len(self._findings.fitting(things, query.fitting))
        name = self._name(query.fitting, several=False)
        if total == 1:
            one = self._marked(self._the(query.what), query.what)
            yes = bool(fitting) == (query.share != "none")
            return f"{'Yes' if yes else 'No'}, {one} is {'' if fitting else 'not '}{indefinite(name)}."
        some = self._marked(f"the {total} {self._name(query.what)}", query.what)
        if fitting == total:
            yes = query.share != "none"
            return f"{'Yes' if yes else 'No'}, each of {some} is {indefinite(name)}."
        amount = f"{fitting} of {some} {_are(fitting)}" if fitting else f"none of {some} is"
        yes = {"all": False, "most": 2 * fitting > total, "none": not fitting}[query.share]
        only = "" if yes or not fitting or query.share == "none" else "only "
        what = self._name(query.fitting) if fitting > 1 else indefinite(name)
        return f"{'Yes' if yes else 'No'}, {only}{amount} {what}."

    def _comparison(self, query: Compare) -> str:
        one, other = (len(self._findings.things(node)) for node in (query.what, query.other))
        have = f"{self._amount(query.what)} and {self._amount(query.other)}"
        if query.order == "which":
            if one == other:
                return f"There are as many of both: {have}."
            return f"There are more {self._name(query.what if one > other else query.other)}: {have}."
        yes = {"more": one > other, "fewer": one < other, "as many": one == other}[query.order]
        return f"{'Yes' if yes else 'No'}, there {_are(one)} {have}."

    def _color_counts(self, node: Node) -> str:
        things = self._findings.things(node)
        if not things:
            return self._nothing(node)
        groups: dict[str, list[int]] = {}
        for thing in sorted(things, key=lambda thing: thing.box[0]):
            groups.setdefault(self._color(thing), []).append(thing.number)
        amounts = [
            f"[{len(numbers)} {color}]({', '.join(map(str, numbers))})"
            for color, numbers in groups.items()
        ]
        return f"There {_are(len(things))} {self._amount(node)}: {_listed(amounts)}."

    def _same_color(self, query: SameColor) -> str:
        things = self._findings.things(query.what)
        colors = dict.fromkeys(self._color(thing) for thing in things)
        if not things:
            return self._nothing(query.what)
        yes = (len(colors) == 1) != query.different
        some = self._marked(f"the {len(things)} {self._name(query.what)}", query.what)
        if len(things) == 1:
            return f"There is only {self._amount(query.what)}; it is {_listed(list(colors))}."
        return f"{'Yes' if yes else 'No'}, {some} are {_listed(list(colors))}."

    def _color(self, thing: Thing) -> str:
        return self._colors.get(thing.number, "of no clear colour")

    def _coloring(self, node: Node) -> str:
        things = self._findings.things(node)
        if not things:
            return self._nothing(node)
        from_left = sorted(things, key=lambda thing: thing.box[0])
        colors = [self._color(thing) for thing in from_left]
        name = self._name(node, several=len(things) > 1)
        if len(set(colors)) == 1:
            number = f"{len(things)} " if len(things) > 1 else ""
            some = self._marked(f"The {number}{name}", node)
            return f"{some} {_are(len(things))} {colors[0]}."
        return f"From left to right, {self._marked(f'the {name}', node)} are {_listed(colors)}."

    def _nothing(self, node: Node) -> str:
        """Why nothing is meant."""
        match node:
            case Concept():
                return f"No {self._name(node, several=False)} here."
            case Union(parts):
                return " ".join(self._nothing(part) for part in parts)
        pool = self._findings.things(node.of)
        if not pool:
            return self._nothing(node.of)
        match node:
            case Related(of, _, anchor) if not self._findings.things(anchor):
                return f"{self._there(of)}, but {_small(self._nothing(anchor))}"
            case Placed(of) | Related(of):
                none = "not" if len(pool) == 1 else "none"
                return f"{self._there(of)}, but {none} {self._where(node)}."
            case Ranked(of):
                return f"There {_are(len(pool))} only {self._amount(of)}."
            case Excluded(of, left_out):
                return f"No {self._name(of, several=False)} except {self._left_out(left_out)}."
            case Chosen(of):
                return f"No other {self._name(heads(of)[0], several=False)} here."

    def _kinds(self, node: Node) -> list[str]:
        """What things of a category are."""
        concept, *others = heads(node)
        if others or (concept.noun != THING and concept.noun not in CATEGORIES):
            return []
        things = self._findings.things(node)
        kinds = self._findings.kinds(things, concept)
        if not kinds:
            return []
        if len(things) == 1:
            return [f"It is {indefinite(next(iter(kinds)))}."]
        amounts = [f"{n} {kind if n == 1 else plural(kind)}" for kind, n in kinds.items()]
        return [f"They are {_listed(amounts)}."]

    def _notes(self, node: Node) -> list[str]:
        """What was taken for granted on the way."""
        notes = []
        if not any(self._findings.things(head) for head in heads(node)):
            return []
        for anchor in _anchors(node):
            total = len(self._findings.candidates(anchor.of))
            if total > anchor.count:
                took = "the clearest one" if anchor.count == 1 else f"the {anchor.count} clearest"
                notes.append(f"There are {total} {self._name(anchor.of)}; I took {took}.")
        if any(concept == Concept(THING) for concept in concepts(node)):
            notes.append(f"I looked for the {len(NOUNS)} kinds of things that I know by name.")
        return notes

    # parts of sentences

    def _there(self, node: Node) -> str:
        return f"There {_are(len(self._findings.things(node)))} {self._amount(node)}"

    def _amount(self, node: Node) -> str:
        """ "1 dog", "3 red cars", "no people"."""
        number = len(self._findings.things(node))
        return self._marked(f"{number or 'no'} {self._name(node, several=number != 1)}", node)

    def _marked(self, words: str, node: Node) -> str:
        """Words that point to what they mean: "[3 red cars](1, 2, 4)"."""
        numbers = ", ".join(str(thing.number) for thing in self._findings.things(node))
        return f"[{words}]({numbers})" if numbers else words

    def _some(self, node: Node) -> str:
        """ "the dog", "3 red cars"."""
        one = isinstance(node, Chosen | Ranked) and len(self._findings.things(node)) == 1
        return self._marked(self._the(node), node) if one else self._amount(node)

    def _the(self, node: Node, *, every: bool = True) -> str:
        """What is meant, with the article that fits how many there are."""
        number = len(self._findings.things(node))
        if isinstance(node, Union):
            return _listed([self._the(part) for part in node.parts], "and" if every else "or")
        if number > 1 and isinstance(node, Concept):
            return f"all {number} {self._name(node)}" if every else indefinite(node.phrase)
        amount = f"{number} " if number > 1 and isinstance(node, Chosen) else ""
        return f"the {amount}{self._name(node, several=number > 1)}"

    def _left_out(self, node: Node) -> str:
        number = len(self._findings.things(node))
        if number > 1 and isinstance(node, Concept):
            return f"the {number} {self._name(node)}"
        return self._the(node)

    def _name(self, node: Node, *, several: bool = True) -> str:
        """What is meant, without article."""
        match node:
            case Concept():
                return plural(node.phrase) if several else node.phrase
            case Placed(of) | Related(of):
                return f"{self._name(of, several=several)} {self._where(node)}"
            case Ranked(of, order, first, count):
                name = self._name(of, several=count > 1)
                if first > 1 and order in _PLACES:
                    return f"{_rank(first)} {name} from the {order}"
                number = f"{count} " if count > 1 else ""
                if " " in order:
                    return f"{number}{name} nearest to the {order} corner"
                rank = f"{_rank(first)} " if first > 1 else ""
                return f"{number}{rank}{_superlative(order)} {name}"
            case Excluded(of, left_out):
                return f"{self._name(of, several=several)} except {self._left_out(left_out)}"
            case Chosen(of, count):
                return self._name(of, several=count > 1)
            case Union(parts):
                return _listed([self._name(part, several=several) for part in parts], "or")

    def _where(self, node: Placed | Related) -> str:
        if isinstance(node, Placed):
            return _PLACES[node.place]
        words = _RELATIONS.get(node.relation, node.relation)
        return f"{words} {self._the(node.anchor, every=node.every)}"


def _anchors(node: Node) -> list[Chosen]:
    """What was chosen on the way to what is meant."""
    match node:
        case Concept():
            return []
        case Related(of, _, other) | Excluded(of, other):
            inside = [other, *(other.parts if isinstance(other, Union) else ())]
            chosen = [one for one in inside if isinstance(one, Chosen)]
            return [*chosen, *_anchors(of), *_anchors(other)]
        case Union(parts):
            return [anchor for part in parts for anchor in _anchors(part)]
        case _:
            return _anchors(node.of)


def _superlative(order: Order) -> str:
    return _ORDERS.get(order, order)


def _rank(number: int) -> str:
    return _RANKS[number - 1] if number <= len(_RANKS) else f"{number}th"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _listed(parts: Sequence[str], joint: str = "and") -> str:
    *others, last = parts
    return f"{', '.join(others)} {joint} {last}" if others else last


def _capital(text: str) -> str:
    first = 1 if text.startswith("[") else 0
    return text[:first] + text[first : first + 1].upper() + text[first + 1 :]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
