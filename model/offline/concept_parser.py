"""Parses concepts: attributes and a noun, or a word in place of a noun."""

from collections.abc import Iterable

from sam3_agent.model.offline import lexicon, noun_lexicon
from sam3_agent.model.offline.inflection import number, singular
from sam3_agent.model.offline.noun_phrase import NounPhrase
from sam3_agent.model.offline.query_tree import THING
from sam3_agent.model.offline.tokenizer import ParseError, Tokens

MAX_CONCEPT_WORDS = 5


class ConceptParser(Tokens):
    """Parses concepts.

    ends_at_plural: a name ends at its first plural, for "are most of the [vehicles] cars".
    """

    ends_at_plural = False

    def noun(self, phrase: NounPhrase) -> None:
        """Parses attributes and a noun, or a word in place of a noun, into the phrase."""
        if phrase.same and self.peek() in lexicon.ONE:
            self._stand_in(phrase)
            return
        if pronoun := self.take_one(lexicon.PRONOUNS):
            phrase.noun = "person" if pronoun in lexicon.PERSONS else THING
            phrase.number = "plural" if pronoun.startswith("every") else "either"
            phrase.attributes += self.adjectives()
            return
        words = self._concept_words()
        if words and self._is_color(words) and self._noun_is_left_out(words):
            phrase.attributes += words
            if self.peek() in lexicon.ONE or not self._compound_color(phrase):
                self._stand_in(phrase)
                return
            words = self._concept_words()
        if not words:
            self._stand_in(phrase)
            return
        self._concept(phrase, words)

    def _stand_in(self, phrase: NounPhrase) -> None:
        if one := self.take_one(lexicon.ONE):
            phrase.one = True
            phrase.number = "singular" if one == "one" else "plural"
        elif not (phrase.attributes or phrase.ordered or phrase.other or self._after_all()):
            raise self.unexpected()

    def _after_all(self) -> bool:
        """Whether "all" stands alone, as in "all but the dog"."""
        return self.at > 0 and self.words[self.at - 1] == "all"

    def _concept(self, phrase: NounPhrase, words: list[str]) -> None:
        *before, head = words
        phrase.number = number(head, before[-1] if before else "")
        noun = singular(head, before[-1] if before else "")
        content: list[str] = []
        if self.peek() == "of" and noun in noun_lexicon.CONTAINERS and self.plain(1):
            self.at += 1
            content = self._concept_words()
        text = " ".join([*words, *content])
        if not noun_lexicon.FOREIGN.isdisjoint([*before, *content[:-1]]):
            raise ParseError(f'It reads only English, and cannot read "{text}".')
        if len(words) + len(content) > MAX_CONCEPT_WORDS:
            raise ParseError(f'"{text}" is too long for the name of a thing.')
        if head in lexicon.SIZES:
            raise ParseError(f'It cannot tell of what "{text}" is said.')
        if any(
            number(w) == "plural" and w not in noun_lexicon.PLURALS_BEFORE_NOUNS for w in before
        ):
            raise ParseError(f'It cannot read "{text}" as the name of one thing.')
        phrase.attributes += before
        if content:
            noun = " ".join([noun, "of", *content])
        phrase.noun = THING if noun in lexicon.THINGS else noun

    def _concept_words(self) -> list[str]:
        """Parses the attributes and the noun, up to the first word that can be neither."""
        words: list[str] = []
        while self.plain() and (not self.stops(0) or self.matches_any(lexicon.COMPOUNDS)):
            word, last = self.peek(), not self.plain(1) or self.stops(1)
            if self._is_verb(word, words, last) or _is_comparison(word):
                raise self.unexpected()
            if (
                word in lexicon.COLORS
                and word not in lexicon.COLOR_NOUNS
                and last
                and not self._is_color(words)
            ):
                break
            self.at += 1
            words.append(word)
            if self.ends_at_plural and number(word) == "plural":
                break
        return words

    def stops(self, offset: int) -> bool:
        """Whether the word there ends a concept."""
        word, after = self.peek(offset), self.peek(offset + 1)
        if word in ("top", "bottom", "upper", "lower"):
            return after in ("left", "right")
        return (
            word in ("left", "right", "last")
            or word in lexicon.FILLERS
            or word in lexicon.DIRECTLY
            or word in lexicon.ORDINALS
            or word in lexicon.NUMBERS
            or (word,) in lexicon.ORDERS
        )

    @staticmethod
    def _is_color(words: Iterable[str]) -> bool:
        """Whether these are colours with their shades only ("dark red"); true of no words."""
        return all(word in lexicon.COLORS or word in lexicon.SHADES for word in words)

    def _noun_is_left_out(self, colors: list[str]) -> bool:
        """Whether colours have no noun; "the orange" is a fruit unless colours follow in a list."""
        if colors[-1] not in lexicon.COLOR_NOUNS or self.peek() in lexicon.ONE:
            return colors[-1] in lexicon.COLORS
        begin = self.at
        listed = self.take_phrase(lexicon.AND) or self.take(",")
        self.take_one(lexicon.THE)
        following = self.peek()
        self.at = begin
        return bool(listed) and following in lexicon.COLORS and following not in lexicon.COLOR_NOUNS

    def _compound_color(self, phrase: NounPhrase) -> bool:
        """Parses the rest of "black [and white] cat", one object of two colours."""
        second = 1
        while self.peek(second) in lexicon.COLORS | lexicon.SHADES:
            second += 1
        if self.peek() != "and" or second == 1 or not self.plain(second):
            return False
        begin = self.at
        colors = self.words[self.at : self.at + second]
        self.at += second
        words = self._concept_words()
        self.at = begin
        if not words or number(words[-1]) == "plural":
            return False
        phrase.attributes += colors
        self.at += second
        return True

    def _is_verb(self, word: str, before: list[str], last: bool) -> bool:
        """Whether a word in the middle of a name is a verb: "man [holding] a stick"."""
        if not before:
            return False
        if word.endswith("ing") and len(word) > 4 and word not in noun_lexicon.NOUNS_IN_ING:
            return last or not (word in noun_lexicon.COMPOUNDS_IN_ING or self._is_color(before))
        return (
            word.endswith("ed") and len(word) > 3 and last and word not in noun_lexicon.NOUNS_IN_ED
        )

    def adjectives(self) -> list[str]:
        """Parses colours with their shades."""
        words = []
        while word := self.take_one(lexicon.COLORS | lexicon.SHADES):
            words.append(word)
        return words


def _is_comparison(word: str) -> bool:
    """Whether a word is a superlative outside the lexicon, such as "oldest"."""
    return word.endswith("est") and len(word) > 4 and word not in noun_lexicon.NOUNS_IN_EST
