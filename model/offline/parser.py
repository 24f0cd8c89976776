"""Reading English questions about a picture into a query tree: `read("the leftmost red car")`.

    question  = count | existence | check | comparison | color | which | reference
    count     = "how many" list ["are there" | "are" predicate]
    existence = "is there" [bound] list | "is" phrase predicate | "any" list
    check     = ("is" | "are") ("all" | "most of" | "none of") phrase predicate
    comparison = "are there" ("more" | "fewer" | "as many") phrase ("than" | "as") phrase
    color     = "what color" ("is" | "are") list | "count by color" list
    which     = "which" phrase ("is" | "are") predicate | "what is" (predicate | list)
    reference = ["find" | "where is" | ...] list
    list      = phrase {("," | "and" | "or") phrase} {"except" list}
    phrase    = [determiner] [count] [rank] [order] {attribute} noun {restriction}
    restriction = place | relation phrase | "that is" ["not"] predicate | "from the left"

What does not fit as a whole is ParseFailure: nothing is guessed from a part of a sentence. The
words are in `lexicon`, other wordings of a question in `paraphrases`; what phrases and lists mean
in `noun_phrase` and `noun_lists`.
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
        return question(" ".join(tokenize(text)))
    except ParseError as error:
        return ParseFailure(str(error))


def question(text: str, antecedent: Node | None = None, *, lost: bool = False) -> Query:
    """The query of a question's words; see `PhraseParser`. Raises ParseError."""
    return Parser(normalized(text).split(), antecedent, lost=lost).question()


class Parser(YesNoParser):
    """Takes a whole question."""

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
                return CountColors(self.whole(choose=False))
            if self.take("count", "kinds", "of"):
                return self._kinds()
            if self.take("same", "color"):
                return SameColor(self.whole(choose=False))
            if self.take("different", "colors"):
                return SameColor(self.whole(choose=False), different=True)
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
            return self.is_so()
        if self.peek() in lexicon.COMMANDS:
            raise ParseError(f'It only finds and counts, and cannot "{self.peek()}".')
        if self.peek() == "any":
            return self.exists()
        return Refer(self.whole(choose=True))

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
        listed = self.list()
        self._tail(listed)
        what = self.without(self.meant(listed, choose=False))
        self.take_phrase(lexicon.THERE)
        return Count(what)

    def _kinds(self) -> CountKinds:
        listed = self.list()
        what = self.meant(listed, choose=False)
        self.take_phrase(lexicon.THERE)
        if not all(head.noun in (THING, *CATEGORIES) for head in heads(what)):
            raise ParseError(f'It knows no kinds of "{listed.phrases[0].text}".')
        return CountKinds(what)

    def _does_image_show(self) -> bool:
        """Take "does the picture show"."""
        begin = self.at
        if self.take("does"):
            self.take_one(lexicon.THE)
            if self.take_one(lexicon.IMAGE) and self.take_one(lexicon.SHOWING):
                return True
        self.at = begin
        return False

    def _where(self) -> Refer:
        what = self.whole(choose=True)
        self.take_one(("is", "are"))
        self.take_one(("located", "situated"))
        return Refer(what)

    def _color(self) -> AskColor:
        """Take "is the car on the left" after "what colour"."""
        if not self.take_one(("is", "are")):
            raise ParseError("It tells the colour of things in the picture, and of nothing else.")
        return AskColor(self.whole(choose=True))

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
            phrase = NounPhrase(members=self.meant(listed, choose=False), text=phrase.text)
        phrase.determiner = phrase.determiner or "the"
        if not self._tail(NounList([phrase])):
            raise self.unexpected()
        return Refer(self._of_these(phrase))

    def _what_is(self, asked: str, *, plural: bool) -> Refer:
        """Take what follows "what is": a predicate, or what is pointed at."""
        if self.take_one(lexicon.PRESENT) or not self.peek():
            return Refer(Concept("person" if asked == "who" else THING))
        begin = self.at
        phrase = NounPhrase(noun=self._asked_about(asked))
        phrase.number = "plural" if plural else "either"
        self.restrictions(phrase)
        if self.at > begin:
            phrase.relations = [_straight(relating) for relating in phrase.relations]
            return Refer(self.meant(NounList([phrase]), choose=True))
        if asked == "who" or self.matches_any(lexicon.ORDERS) or self._is_bare_order():
            self.predicate(phrase)
            return Refer(self._of_these(phrase))
        return Refer(self.whole(choose=True))

    def _is_bare_order(self) -> bool:
        """Whether "the larger one" comes next, and then what it is chosen from."""
        begin = self.at
        self.take("the")
        ordered = self.take_phrase(lexicon.ORDERS)
        self.take_one(lexicon.ONE)
        bare = bool(ordered) and self.peek() == ","
        self.at = begin
        return bare

    def _asked_about(self, asked: str) -> str | None:
        """The noun of "who", "what" and "which"; in a chat "which" is one of those before."""
        if asked == "which" and (self.antecedent is not None or self.lost):
            return None
        return "person" if asked == "who" else THING

    def _of_these(self, phrase: NounPhrase) -> Node:
        """Take ", the dog or the cat" after "which animal is larger"."""
        begin = self.at
        if phrase.order and self.take(",") and self.peek() in lexicon.DETERMINERS:
            these = self.meant(self.list(), choose=True, noun=phrase.noun)
            if not all(_is_kind_of(head, phrase) for head in heads(these)):
                raise ParseError(f'It cannot tell whether each is one "{phrase.text}".')
            return Ranked(these, phrase.order)
        self.at = begin
        return self.meant(NounList([phrase]), choose=True)

    def _tail(self, listed: NounList) -> bool:
        """Take the verb after what is asked about: "are there", "are left of the tree"."""
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


def _straight(relating: RelationPhrase) -> RelationPhrase:
    """What is "under the tree" is not all that is farther down in the picture."""
    straight: dict[Relation, Relation] = {"above": "over", "below": "under"}
    return replace(relating, relation=straight.get(relating.relation, relating.relation))
