"""Parses what stands before a noun: determiners, counts, ranks, orders and sizes."""

from sam3_agent.model.offline import lexicon
from sam3_agent.model.offline.concept_parser import ConceptParser
from sam3_agent.model.offline.noun_phrase import NounPhrase
from sam3_agent.model.offline.query_tree import Order
from sam3_agent.model.offline.tokenizer import ParseError


class ModifierParser(ConceptParser):
    """Parses the words before a noun into the fields of a NounPhrase."""

    def _determiner(self, phrase: NounPhrase) -> None:
        if word := self.take_one(lexicon.ALL):
            phrase.determiner = "all"
            if self.peek() == "of" and word == "some":
                raise ParseError('"some of" does not say which.')
            self.take_phrase((("of",), ("one", "of")))
            self.take_one(lexicon.THE)
        elif self.take("both"):
            phrase.determiner, phrase.count = "the", 2
            self.take("of")
            self.take_one(lexicon.THE)
        elif self.take_one(lexicon.THE):
            phrase.determiner = "the"
        elif self.take_one(lexicon.AN):
            phrase.determiner = "a"
        if phrase.determiner in ("the", "all"):
            phrase.same = self.take("same")
            phrase.other = not phrase.same and self.take("other")

    def _modifiers(self, phrase: NounPhrase) -> None:
        """Parses counts, ranks, superlatives, places and sizes, in any order."""
        if phrase.same and self.peek() in lexicon.ONE:
            return
        while not any(self.matches(name) for name in lexicon.COMPOUNDS):
            if phrase.count is None and self._how_many(phrase):
                continue
            if phrase.rank is None and (rank := self._rank()):
                phrase.rank, phrase.from_end = rank
                continue
            if phrase.order is None and (order := self._order()):
                phrase.order = order
                continue
            adjectives = self.peek(1) == "," and self.plain(2)
            if (
                not phrase.size
                and self.peek() in lexicon.SIZES
                and (self._more_follows(1) or adjectives)
            ):
                phrase.size_word = self.take_one(lexicon.SIZES)
                phrase.size = lexicon.SIZES[phrase.size_word]
                if adjectives:
                    self.take(",")
                continue
            break

    def number(self) -> int:
        """Parses a whole number in digits or words; 0 when none comes next."""
        word = self.peek()
        number = int(word) if word.isdecimal() and len(word) < 4 else lexicon.NUMBERS.get(word, 0)
        self.at += 1 if number else 0
        return number

    def _how_many(self, phrase: NounPhrase) -> bool:
        word = self.peek()
        if word == "one" and not (self.plain(1) and not self.stops(1)):
            return False
        count = self.number()
        if not count:
            return False
        if self.peek() == "of":
            raise ParseError(f'"{word} of" does not say which.')
        phrase.count = count
        return True

    def _rank(self) -> tuple[int, bool] | None:
        if words := self.take_phrase(lexicon.LAST):
            return lexicon.LAST[words], True
        if word := self.take_one(lexicon.ORDINALS):
            return lexicon.ORDINALS[word], False
        return None

    def _order(self) -> Order | None:
        if words := self.take_phrase(lexicon.ORDERS):
            if self.peek() == "than":
                self.at -= len(words)
                raise self.unexpected()
            return lexicon.ORDERS[words]
        begin = self.at
        words = self.take_phrase(lexicon.PLACES)
        if words and self._more_follows(0):
            return lexicon.PLACES[words]
        self.at = begin
        return None

    def _more_follows(self, offset: int) -> bool:
        """Whether a noun follows, here or later in a list: "the left and the right dog"."""
        here = self.peek(offset)
        shared = here in ("and", "or", ",") and self.peek(offset + 1) not in ("", ",")
        return self.plain(offset) or here in lexicon.ONE or shared
