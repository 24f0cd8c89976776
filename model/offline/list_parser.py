"""Parses lists of noun phrases with exceptions: "the cat and dogs, except the red one"."""

from sam3_agent.model.offline import lexicon
from sam3_agent.model.offline.noun_lists import NounList
from sam3_agent.model.offline.noun_phrase import NounPhrase
from sam3_agent.model.offline.phrase_parser import PhraseParser
from sam3_agent.model.offline.query_tree import THING, Excluded, Node, heads
from sam3_agent.model.vocabulary import CATEGORIES


class ListParser(PhraseParser):
    """Parses lists and their exceptions."""

    def selection(self, *, choose: bool) -> Node:
        """Parses a list with its exceptions."""
        return self.exceptions(self.resolve(self.noun_list(), choose=choose))

    def exceptions(self, whole: Node) -> Node:
        """Parses any "except ..." after a list."""
        while True:
            begin = self.at
            self.take(",")
            words = self.take_phrase(lexicon.EXCEPT)
            if not words:
                self.at = begin
                return whole
            listed = self.noun_list()
            if "without" in words and not all(_is_of(whole, p) for p in listed.phrases):
                self.at = begin
                raise self.unexpected()
            whole = Excluded(whole, listed.node(whole, choose=True))

    def noun_list(self) -> NounList:
        """Parses phrases up to the end of the list."""
        both = self._both()
        found = NounList([self.phrase()])
        while conjunction := self._conjunction():
            found.conjunctions.append(conjunction)
            found.phrases.append(self.phrase())
        self.splits_at_and = False
        first, *others = found.phrases
        two = not others or (not first.determiner and bool(others[0].determiner))
        if both and two:
            first.determiner, first.count = "the", 2
        return found

    def _both(self) -> bool:
        """Parses the "both" or "either" of a list; returns whether it was "both"."""
        if self.take("either"):
            return False
        listed = {"and", "as"} & set(self.words[self.at :])
        if self.peek(1) == "of" or not listed or not self.take("both"):
            return False
        self.splits_at_and = True
        return True

    def _conjunction(self) -> str:
        """Parses the conjunction of two phrases; "" at the end of the list."""
        begin = self.at
        comma = self.take(",")
        if not self.matches_any(lexicon.EXCEPT):
            if words := self.take_phrase(lexicon.AND):
                return "or" if words == ("or",) else "and"
            if comma and self.peek() and not self.matches_any(lexicon.POLITE_AT_END):
                return ","
        self.at = begin
        return ""


def _is_of(whole: Node, part: NounPhrase) -> bool:
    """Whether a phrase names a kind of the whole: then "without" excludes it from the whole."""
    nouns = {head.noun for head in heads(whole)}
    among = any(part.noun in CATEGORIES.get(noun, ()) for noun in nouns)
    return part.elided or THING in nouns or part.noun in nouns or among
