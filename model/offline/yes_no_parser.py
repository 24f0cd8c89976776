"""Parses yes-or-no questions about existence, properties and numbers."""

from copy import deepcopy

from sam3_agent.model.offline import lexicon
from sam3_agent.model.offline.list_parser import ListParser
from sam3_agent.model.offline.noun_lists import NounList
from sam3_agent.model.offline.noun_phrase import NounPhrase
from sam3_agent.model.offline.query_tree import (
    AnyOf,
    Compare,
    Exists,
    Fits,
    Node,
    Query,
    Share,
    heads,
)
from sam3_agent.model.offline.tokenizer import ParseError


class YesNoParser(ListParser):
    """Parses yes-or-no questions."""

    def exists(self) -> Query:
        """Parses "[are there] two dogs", "[is there] more fruit than vegetables"."""
        if order := self.take_phrase(lexicon.COMPARISONS):
            bound = self._bound(order)
            if bound is None:
                return self._compare(order)
        else:
            bound = self._bound(())
        listed = self.noun_list()
        what = self.exceptions(self.resolve(listed, choose=False))
        if not self.take_phrase(lexicon.THERE):
            self.take_one(lexicon.PRESENT)
        if bound is None:
            return Exists(what, listed.every, _least(listed))
        if len(listed.phrases) > 1 or listed.phrases[0].count:
            raise ParseError("It checks one number at a time.")
        return Exists(what, False, *bound)

    def yes_no(self) -> Query:
        """Parses "[is] the dog left of the tree", "[are] all cars red", "[are] any dogs here"."""
        share = lexicon.SHARES.get(self.take_phrase(lexicon.SHARES))
        least = self._at_least() if not share else 0
        any_of_them = bool(least) or self.peek() in ("any", "some", *lexicon.AN)
        every = self.peek() in ("all", "every", "each", "both")
        if share or every:
            self.ends_at_plural = True
        listed = self.noun_list()
        self.ends_at_plural = False
        first, *others = listed.phrases
        present = self.take_one(lexicon.PRESENT)
        if self.peek() and not others and (fitting := self._superlative(first)):
            return Fits(self.resolve(listed, choose=True), fitting, share or "all")
        several = first.number == "plural" or first.elided or (first.count or 1) > 1
        if others or any_of_them or not (share or every or first.ordered or several):
            return self._exists_fitting(listed, least, present)
        if present or not (self.peek() or first.placed):
            return Exists(self.resolve(listed, choose=False), listed.every, _least(listed))
        return self._fits(first, share or "all")

    def _exists_fitting(self, listed: NounList, least: int, present: str) -> Exists:
        """Parses the predicate of "[is a dog] left of the tree", a question of existence."""
        first, *others = listed.phrases
        if not present and self.peek() and not others:
            self.predicate(first)
        if others and (first.restricted or first.attributes):
            raise ParseError(f'It cannot check what is said of "{first.text}".')
        what = self.resolve(listed, choose=False)
        return Exists(what, listed.every, least or _least(listed))

    def _superlative(self, phrase: NounPhrase) -> Node | None:
        """Parses "[is the red car] the smallest": of all cars, unless another noun follows."""
        begin = self.at
        try:
            named = self.phrase()
        except ParseError:
            named = None
        if named is None or not named.ordered:
            self.at = begin
            return None
        noun = phrase.noun
        if noun is None and self.antecedent is not None:
            noun = heads(self.antecedent)[0].noun
        return self.resolve(NounList([named]), choose=True, noun=noun)

    def _fits(self, phrase: NounPhrase, share: Share) -> Fits:
        """Parses the predicate of "[all cars are] red"."""
        fitting = deepcopy(phrase)
        if self.peek():
            what = self.resolve(NounList([phrase]), choose=True)
            fits = self._fitting(fitting)
        else:  # the predicate is what was read as part of the phrase: "[all dogs] on the left"
            phrase.places, phrase.relations, phrase.left_out = [], [], []
            what = self.resolve(NounList([phrase]), choose=True)
            fits = self._node_of(fitting)
        return Fits(what, fits, share)

    def _fitting(self, phrase: NounPhrase) -> Node:
        begin = self.at
        try:
            self.predicate(phrase)
        except ParseError:
            self.at = begin
            return self.resolve(self.noun_list(), choose=False)
        return self._node_of(phrase)

    def _node_of(self, phrase: NounPhrase) -> Node:
        """All objects that fit a phrase, however many it asks for."""
        phrase.count = None
        if phrase.order or phrase.rank or phrase.size:
            phrase.order = phrase.rank = phrase.size = None
        return self.resolve(NounList([phrase]), choose=False)

    def _compare(self, order: tuple[str, ...]) -> Compare:
        """Parses "[more] red cars than blue ones", "[more] dogs or cats"."""
        first = self.phrase()
        if order == ("more",) and self.take("or"):
            what, other = self._two(first)
            return Compare(what, other, "which")
        if not self.take("as" if order[0] == "as" else "than"):
            raise self.unexpected()
        self.take_phrase(lexicon.THERE)
        what, other = self._two(first)
        self.take_phrase(lexicon.THERE)
        return Compare(what, other, lexicon.COMPARISONS[order])

    def _two(self, first: NounPhrase) -> tuple[Node, Node]:
        """Parses the second of two phrases, which may leave out the noun of the first."""
        listed = NounList([first, self.phrase()], ["and"])
        both = self.resolve(listed, choose=False)
        if not isinstance(both, AnyOf):
            raise self.unexpected()
        return both.parts[0], both.parts[1]

    def _bound(self, order: tuple[str, ...]) -> tuple[int, int | None] | None:
        """Parses "[more] than two", "at most three", "exactly one" into the least and the most."""
        begin = self.at
        number = 0
        if order:
            if order in (("more",), ("fewer",), ("less",)) and self.take("than"):
                number = self.number()
            if not number:
                self.at = begin
                return None
            return (number + 1, None) if order == ("more",) else (0, number - 1)
        words = self.take_phrase(lexicon.BOUNDS)
        if not words:
            return None
        number = self.number()
        if not number:
            self.at = begin
            raise self.unexpected()
        return {"least": (number, None), "most": (0, number)}.get(words[-1], (number, number))

    def _at_least(self) -> int:
        """Parses "at least two [of the]"; 0 without it."""
        if not self.take("at", "least"):
            return 0
        number = self.number()
        if not number:
            raise self.unexpected()
        self.take("of")
        return number


def _least(listed: NounList) -> int:
    """The number that the list asks for; 1 without one."""
    counts = [phrase.count for phrase in listed.phrases if phrase.count and not phrase.ordered]
    if counts and len(listed.phrases) > 1:
        raise ParseError("It checks one number at a time.")
    return counts[0] if counts else 1
