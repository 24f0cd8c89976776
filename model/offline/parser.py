"""Parses English questions about a picture into query trees: `parse("the leftmost red car")`.

A recursive-descent parser that steps back within phrases only. Each class adds one layer:
Tokens, ConceptParser, ModifierParser, PhraseParser, ListParser, YesNoParser, Parser.

    question  = count | existence | check | comparison | color | which | reference
    count     = "how many" list ["are there" | "are" predicate]
    existence = "is there" [bound] list | "is" phrase predicate | "any" list
    check     = ("is" | "are") ("all" | "most of" | "none of") phrase predicate
    comparison = "are there" ("more" | "fewer" | "as many") phrase ("than" | "as") phrase
    color     = "what color" ("is" | "are") list | "count by color" list
    which     = "which" phrase ("is" | "are") predicate | "what is" (predicate | list)
    reference = ["find" | "where is" | ...] list
    list      = phrase {("," | "and" | "or") phrase} {"except" list}
    phrase    = [determiner] {count | rank | order | size} (concept | "of" phrase) {restriction}
    concept   = {attribute} noun ["of" noun] | {color} ["one" | "ones"] | pronoun
    restriction = place | relation phrase {("and" | "or") phrase} | rank "from the left"
              | "that is" predicate
    predicate = ["not" | "neither" ... "nor"] (place | relation phrase | order | attribute)

A question must match as a whole: nothing is guessed from a part of it. The words are in `lexicon`,
other wordings of a question in `paraphrases`; `noun_phrase` and `noun_lists` turn phrases into
nodes.
"""

from dataclasses import replace

from sam3_agent.model.offline import lexicon
from sam3_agent.model.offline.noun_lists import NounList
from sam3_agent.model.offline.noun_phrase import NounPhrase, RelationPhrase
from sam3_agent.model.offline.paraphrases import normalized
from sam3_agent.model.offline.query_tree import (
    THING,
    AskColor,
    Concept,
    Count,
    CountColors,
    CountKinds,
    Node,
    ParseFailure,
    Query,
    Ranked,
    Refer,
    Relation,
    SameColor,
    heads,
)
from sam3_agent.model.offline.tokenizer import ParseError, tokenize
from sam3_agent.model.offline.yes_no_parser import YesNoParser
from sam3_agent.model.vocabulary import CATEGORIES


def parse(text: str) -> Query | ParseFailure:
    """Parses an English question; returns ParseFailure, with the reason, for any other text."""
    try:
        return parse_words(" ".join(tokenize(text)))
    except ParseError as error:
        return ParseFailure(str(error))


def parse_words(text: str, antecedent: Node | None = None, *, lost: bool = False) -> Query:
    """The query of a tokenized question; see `PhraseParser`. Raises ParseError."""
    return Parser(normalized(text).split(), antecedent, lost=lost).question()


class Parser(YesNoParser):
    """Parses a whole question."""

    def question(self) -> Query:
        if self.words[:2] == ["how", "many"] and self.words[-2:] == ["are", "left"]:
            raise ParseError('It cannot tell a side from a rest here: say "on the left".')
        query = self._question()
        while self.take_phrase(lexicon.POLITE_AT_END) or self.take(","):
            pass
        if self.peek():
            raise self.unexpected()
        return query

    def _question(self) -> Query:
        while True:
            if self.take("count", "by", "color"):
                return CountColors(self.selection(choose=False))
            if self.take("count", "kinds", "of"):
                return self._kinds()
            if self.take("same", "color"):
                return SameColor(self.selection(choose=False))
            if self.take("different", "colors"):
                return SameColor(self.selection(choose=False), different=True)
            if self.take_phrase(lexicon.HOW_MANY) or self.take_phrase(lexicon.COUNTING):
                return self._how_many_are()
            if self.take_phrase(lexicon.EXISTENCE) or self._does_image_show():
                return self.exists()
            if self.take_phrase(lexicon.WHERE):
                return self._where()
            if not (self.take(",") or self._polite()):
                break
        if self.take("what", "color") or self.take("which", "color"):
            return self._color()
        if self.peek() in ("which", "what", "who"):
            return self._which()
        if self.take("is") or self.take("are"):
            return self.yes_no()
        if self.peek() in lexicon.COMMANDS:
            raise ParseError(f'It only finds and counts, and cannot "{self.peek()}".')
        if self.peek() == "any":
            return self.exists()
        return Refer(self.selection(choose=True))

    def _polite(self) -> bool:
        begin = self.at
        if self.take_phrase(lexicon.POLITE):
            return True
        if self.take_phrase(lexicon.POLITE_BEFORE_DETERMINER):
            if self.peek() in lexicon.DETERMINERS:
                return True
            self.at = begin
        return False

    # the kinds of question

    def _how_many_are(self) -> Count:
        listed = self.noun_list()
        self._tail(listed)
        what = self.exceptions(self.resolve(listed, choose=False))
        self.take_phrase(lexicon.THERE)
        return Count(what)

    def _kinds(self) -> CountKinds:
        listed = self.noun_list()
        what = self.resolve(listed, choose=False)
        self.take_phrase(lexicon.THERE)
        if not all(head.noun in (THING, *CATEGORIES) for head in heads(what)):
            raise ParseError(f'It knows no kinds of "{listed.phrases[0].text}".')
        return CountKinds(what)

    def _does_image_show(self) -> bool:
        """Parses "does the picture show"."""
        begin = self.at
        if self.take("does"):
            self.take_one(lexicon.THE)
            if self.take_one(lexicon.IMAGE) and self.take_one(lexicon.SHOWING):
                return True
        self.at = begin
        return False

    def _where(self) -> Refer:
        what = self.selection(choose=True)
        self.take_one(("is", "are"))
        self.take_one(("located", "situated"))
        return Refer(what)

    def _color(self) -> AskColor:
        """Parses "is the car on the left" after "what colour"."""
        if not self.take_one(("is", "are")):
            raise ParseError("It tells the colour of things in the picture, and of nothing else.")
        return AskColor(self.selection(choose=True))

    def _which(self) -> Refer:
        asked = self.take_one(("which", "what", "who"))
        if verb := self.take_one(("is", "are")):
            return self._what_is(asked, plural=verb == "are")
        if self.take_phrase(lexicon.THERE) and (self.take_one(lexicon.PRESENT) or not self.peek()):
            return Refer(Concept(THING))
        if self.take("one") and (verb := self.take_one(("is", "are"))):
            return self._what_is(asked, plural=False)
        members = self.take("of")
        phrase = self.phrase()
        if phrase.noun in lexicon.PROPERTIES:
            raise ParseError(f"It tells where things are, not their {phrase.noun}.")
        if members:
            listed = NounList([phrase])
            phrase = NounPhrase(members=self.resolve(listed, choose=False), text=phrase.text)
        phrase.determiner = phrase.determiner or "the"
        if not self._tail(NounList([phrase])):
            raise self.unexpected()
        return Refer(self._of_these(phrase))

    def _what_is(self, asked: str, *, plural: bool) -> Refer:
        """Parses what follows "what is": restrictions, a superlative or a list."""
        if self.take_one(lexicon.PRESENT) or not self.peek():
            return Refer(Concept("person" if asked == "who" else THING))
        begin = self.at
        phrase = NounPhrase(noun=self._asked_about(asked))
        phrase.number = "plural" if plural else "either"
        self.restrictions(phrase)
        if self.at > begin:
            phrase.relations = [_straight(relation_phrase) for relation_phrase in phrase.relations]
            return Refer(self.resolve(NounList([phrase]), choose=True))
        if asked == "who" or self.matches_any(lexicon.ORDERS) or self._is_bare_order():
            self.predicate(phrase)
            return Refer(self._of_these(phrase))
        return Refer(self.selection(choose=True))

    def _is_bare_order(self) -> bool:
        """Whether "the larger one, ..." comes next."""
        begin = self.at
        self.take("the")
        ordered = self.take_phrase(lexicon.ORDERS)
        self.take_one(lexicon.ONE)
        bare = bool(ordered) and self.peek() == ","
        self.at = begin
        return bare

    def _asked_about(self, asked: str) -> str | None:
        """The noun of "who" and "what"; None where "which" takes the antecedent of a chat."""
        if asked == "which" and (self.antecedent is not None or self.lost):
            return None
        return "person" if asked == "who" else THING

    def _of_these(self, phrase: NounPhrase) -> Node:
        """Parses ", the dog or the cat" after "which animal is larger"."""
        begin = self.at
        if phrase.order and self.take(",") and self.peek() in lexicon.DETERMINERS:
            these = self.resolve(self.noun_list(), choose=True, noun=phrase.noun)
            if not all(_is_kind_of(head, phrase) for head in heads(these)):
                raise ParseError(f'It cannot tell whether each is one "{phrase.text}".')
            return Ranked(these, phrase.order)
        self.at = begin
        return self.resolve(NounList([phrase]), choose=True)

    def _tail(self, listed: NounList) -> bool:
        """Parses the verb after the list: "are there", "are left of the tree"."""
        phrase = listed.phrases[-1]
        found = bool(self.take_phrase(lexicon.THERE))
        if not found and (verb := self.take_one(("is", "are"))):
            found = True
            if phrase.number == "either":
                phrase.number = "singular" if verb == "is" else "plural"
            if not self.take_one(lexicon.PRESENT) and self.peek():
                self.predicate(phrase)
        if found:
            self.restrictions(phrase)
        return found


def _is_kind_of(concept: Concept, phrase: NounPhrase) -> bool:
    """Whether a concept is of the kind that "which animal" asks for; "which" asks for any."""
    if phrase.noun in (None, THING):
        return not phrase.attributes
    kinds = (phrase.noun, *CATEGORIES.get(phrase.noun or "", ()))
    return concept.noun in kinds and set(phrase.attributes) <= set(concept.attributes)


def _straight(relation_phrase: RelationPhrase) -> RelationPhrase:
    """Reads "what is under the tree" as straight under it, not anywhere farther down."""
    straight: dict[Relation, Relation] = {"above": "over", "below": "under"}
    return replace(
        relation_phrase, relation=straight.get(relation_phrase.relation, relation_phrase.relation)
    )
