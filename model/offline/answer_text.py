"""Answers as text: what was found, how many, and why nothing was."""

from collections.abc import Mapping

from sam3_agent.model.offline.color_text import ColorText
from sam3_agent.model.offline.inflection import indefinite, plural
from sam3_agent.model.offline.naming import PLACE_TEXT, are, capital, listed, rank_word, superlative
from sam3_agent.model.offline.query_tree import (
    THING,
    AnyOf,
    AskColor,
    Chosen,
    Compare,
    Concept,
    Count,
    CountColors,
    CountKinds,
    Excluded,
    Exists,
    Fits,
    Node,
    Query,
    Ranked,
    Refer,
    Related,
    SameColor,
    concepts,
    heads,
)
from sam3_agent.model.offline.yes_no_text import YesNoText
from sam3_agent.model.vocabulary import CATEGORIES, NOUNS


class AnswerText(YesNoText, ColorText):
    """Phrases the answer to any query."""

    def answer(self, query: Query) -> str:
        """One to three plain sentences."""
        what: Node = query.what
        match query:
            case Refer():
                sentences = [self._reference(what), *self._kinds(what)]
            case Count():
                sentences = [self._count(what), *self._kinds(what)]
            case CountKinds():
                sentences = [self._kind_count(what)]
            case Exists():
                sentences = [self._existence(query)]
            case Fits():
                sentences = [self._fits(query)]
            case Compare(_, other):
                sentences = [self._comparison(query)]
                what = AnyOf((what, other))
            case AskColor():
                sentences = [self._coloring(what)]
            case CountColors():
                sentences = [self._color_counts(what)]
            case SameColor():
                sentences = [self._same_color(query)]
        return " ".join((*sentences, *self._notes(what)))

    def _reference(self, node: Node) -> str:
        objects = self._executor.execute(node)
        if isinstance(node, AnyOf):
            return self._union(node)
        if not objects:
            return self._nothing(node)
        match node:
            case Ranked(of):
                return self._ranking(node, len(self._executor.execute(of)))
            case Chosen(of):
                return self._choice(node, len(self._executor.candidates(of)))
            case Excluded(_, left_out) if not self._executor.execute(left_out):
                absent = self._name(left_out, several=False)
                return f"{self._there(node.of)}; there is no {absent} to leave out."
            case Excluded(of, left_out):
                name = self._name(of, several=len(objects) != 1)
                some = self._marked(f"{len(objects)} {name}", node)
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
        if isinstance(node.of, AnyOf) and all(isinstance(one, Chosen) for one in node.of.parts):
            first = self._executor.execute(node)
            these = [one for one in node.of.parts if self._executor.fitting(first, one)]
            of_all = f"of {self._the(node.of)}: {listed([self._name(one) for one in these])}"
        if " " in node.order:
            rank = f"{rank_word(node.first)} " if node.first > 1 else ""
            some = self._marked(f"The {rank}{number or 'one '}".strip(), node)
            return f"{some} {of_all} from the {node.order} corner."
        if node.first == 1:
            some = self._marked(f"The {number}{superlative(node.order)}", node)
            return f"{some} {of_all}."
        rank = rank_word(node.first)
        if node.order in PLACE_TEXT and node.order != "middle":
            return f"{self._marked(f'The {rank}', node)} {of_all} from the {node.order}."
        return f"{self._marked(f'The {rank} {superlative(node.order)}', node)} {of_all}."

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
            return f"There {are(total)} only {total} {name}."
        if total == node.count:
            if total == 1:
                return f"This is {self._marked(f'the {name}', meant)}."
            return f"These are {self._marked(f'the {total} {name}', meant)}."
        how = "nearest" if isinstance(node.of, Related) else "clearest"
        if node.count == 1:
            return f"There are {total} {name}; this is {self._marked(f'the {how} one', meant)}."
        ones = self._marked(f"the {node.count} {how} ones", meant)
        return f"There are {total} {name}; these are {ones}."

    def _union(self, node: AnyOf) -> str:
        found = [part for part in node.parts if self._executor.execute(part)]
        missing = [part for part in node.parts if not self._executor.execute(part)]
        sentences = [self._nothing(part) for part in missing]
        if found:
            sentences.insert(0, f"{capital(listed([self._some(part) for part in found]))}.")
        return " ".join(sentences)

    def _count(self, node: Node) -> str:
        number = len(self._executor.execute(node))
        if isinstance(node, AnyOf) and number:
            amounts = [self._amount(part) for part in node.parts]
            return f"There {are(number)} {number}: {listed(amounts)}."
        if number:
            return f"{self._there(node)}."
        why = ""
        if isinstance(node, Related) and not self._executor.execute(node.anchor):
            why = f": {self._nothing(node.anchor)[:-1].lower()}"
        return f"There are no {self._name(node)}{why}."

    def _kind_count(self, node: Node) -> str:
        objects = self._executor.execute(node)
        kinds = self._executor.kinds(objects, heads(node)[0])
        if not objects:
            return self._nothing(node)
        number = f"{len(kinds)} kind{'s' if len(kinds) > 1 else ''}"
        some = self._marked(f"{number} of {self._name(node)}", node)
        return f"There {are(len(kinds))} {some}: {_amounts(kinds)}."

    def _kinds(self, node: Node) -> list[str]:
        """Names the kinds of objects of a category."""
        concept, *others = heads(node)
        if others or (concept.noun != THING and concept.noun not in CATEGORIES):
            return []
        objects = self._executor.execute(node)
        kinds = self._executor.kinds(objects, concept)
        if not kinds:
            return []
        if len(objects) == 1:
            return [f"It is {indefinite(next(iter(kinds)))}."]
        return [f"They are {_amounts(kinds)}."]

    def _notes(self, node: Node) -> list[str]:
        """States the choices that were made for an unclear question."""
        notes = []
        if not any(self._executor.execute(head) for head in heads(node)):
            return []
        for anchor in _anchors(node):
            total = len(self._executor.candidates(anchor.of))
            if total > anchor.count:
                took = "the clearest one" if anchor.count == 1 else f"the {anchor.count} clearest"
                notes.append(f"There are {total} {self._name(anchor.of)}; I took {took}.")
        if any(concept == Concept(THING) for concept in concepts(node)):
            notes.append(f"I looked for the {len(NOUNS)} kinds of things that I know by name.")
        return notes


def _amounts(kinds: Mapping[str, int]) -> str:
    return listed([f"{n} {kind if n == 1 else plural(kind)}" for kind, n in kinds.items()])


def _anchors(node: Node) -> list[Chosen]:
    """Anchors and exceptions that were chosen among several objects."""
    match node:
        case Concept():
            return []
        case Related(of, _, other) | Excluded(of, other):
            inside = [other, *(other.parts if isinstance(other, AnyOf) else ())]
            chosen = [one for one in inside if isinstance(one, Chosen)]
            return [*chosen, *_anchors(of), *_anchors(other)]
        case AnyOf(parts):
            return [anchor for part in parts for anchor in _anchors(part)]
        case _:
            return _anchors(node.of)
