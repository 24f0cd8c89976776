"""Reading English questions about a picture into a query tree: `read("the leftmost red car")`.

    question  = count | existence | which | reference
    count     = "how many" list ["are there" | "are" predicate]
    existence = "is there" list | "is" phrase predicate | "any" list
    which     = "which" phrase ("is" | "are") predicate | "what is" (predicate | list)
    reference = ["find" | "where is" | ...] list
    list      = phrase {("," | "and" | "or") phrase} {"except" list}
    phrase    = [determiner] [count] [rank] [order] {attribute} noun {restriction}
    restriction = place | relation phrase | "that is" ["not"] predicate | "from the left"

What does not fit as a whole is Unreadable: nothing is guessed from a part of a sentence. The
words are in `lexicon`, phrases in `phrase_grammar`, and what they mean in `noun_phrases`.
"""

from dataclasses import dataclass

from sam3_agent.model import lexicon
from sam3_agent.model.noun_phrases import NounPhrase, share_nouns
from sam3_agent.model.phrase_grammar import PhraseReader
from sam3_agent.model.queries import (
    THING,
    Concept,
    Count,
    Excluded,
    Exists,
    Node,
    Query,
    Refer,
    Union,
    Unreadable,
)
from sam3_agent.model.reading import UnreadableError, tokens


def read(text: str) -> Query | Unreadable:
    """The query that an English question asks; Unreadable, with the reason, when it is no such."""
    try:
        return _Reader(tokens(text)).question()
    except UnreadableError as error:
        return Unreadable(str(error))


@dataclass(frozen=True)
class _List:
    """Noun phrases in a row, and what joins them: "and", "or" and ","."""

    phrases: list[NounPhrase]
    joints: list[str]

    @property
    def every(self) -> bool:
        """Whether all of the phrases are meant, not any of them."""
        return "and" in self.joints

    def node(self, antecedent: Node | None = None, *, choose: bool) -> Node:
        """What the list means; see `NounPhrase.node`."""
        share_nouns(self.phrases, set(self.joints) != {","}, antecedent)
        nodes = [phrase.node(antecedent, choose=choose) for phrase in self.phrases]
        return nodes[0] if len(nodes) == 1 else Union(tuple(nodes))


class _Reader(PhraseReader):
    """Takes a whole question."""

    def question(self) -> Query:
        query = self._question()
        while self.take_phrase(lexicon.POLITE_AT_END) or self.take(","):
            pass
        if self.peek():
            raise self.stuck()
        return query

    def _question(self) -> Query:
        while True:
            if self.take_phrase(lexicon.HOW_MANY) or self.take_phrase(lexicon.COUNTING):
                return self._how_many_are()
            if self.take_phrase(lexicon.EXISTENCE) or self._does_image_show():
                return self._exists()
            if self.take_phrase(lexicon.WHERE):
                return self._where()
            if not (self.take(",") or self._polite()):
                break
        if self.peek() in ("which", "what", "who"):
            return self._which()
        if self.take("is") or self.take("are"):
            return self._is()
        if self.peek() in lexicon.COMMANDS:
            raise UnreadableError(f'It only finds and counts, and cannot "{self.peek()}".')
        if self.peek() == "any":
            return self._exists()
        return Refer(self._whole(choose=True))

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
        listed = self._list()
        self._tail(listed.phrases)
        what = self._without(listed.node(choose=False))
        self.take_phrase(lexicon.THERE)
        return Count(what)

    def _exists(self) -> Exists:
        listed = self._list()
        what = self._without(listed.node(choose=False))
        if not self.take_phrase(lexicon.THERE):
            self.take_one(lexicon.PRESENT)
        return Exists(what, listed.every)

    def _does_image_show(self) -> bool:
        """Take "does the picture show"."""
        begin = self.at
        if self.take("does"):
            self.take_one(lexicon.THE)
            if self.take_one(lexicon.IMAGE) and self.take_one(lexicon.SHOWING):
                return True
        self.at = begin
        return False

    def _is(self) -> Exists:
        """Take "[is] the dog left of the tree", "[are] any dogs here"."""
        any_of_them = self.peek() in ("any", *lexicon.AN)
        listed = self._list()
        first, *others = listed.phrases
        if not self.take_one(lexicon.PRESENT) and self.peek() and not others:
            self.predicate(first)
        special = others or first.order or first.rank or first.number == "plural"
        if (first.restricted or first.attributes) and special and not any_of_them:
            raise UnreadableError(f'It cannot check what is said of "{first.text}".')
        return Exists(listed.node(choose=False), listed.every)

    def _where(self) -> Refer:
        what = self._whole(choose=True)
        self.take_one(("is", "are"))
        self.take_one(("located", "situated"))
        return Refer(what)

    def _which(self) -> Refer:
        asked = self.take_one(("which", "what", "who"))
        if verb := self.take_one(("is", "are")):
            return self._what_is(asked, plural=verb == "are")
        if self.take_phrase(lexicon.THERE) and not self.peek():
            return Refer(Concept(THING))
        if self.take("one") and (verb := self.take_one(("is", "are"))):
            return self._what_is(asked, plural=False)
        members = self.take("of")
        phrase = self.phrase()
        if phrase.noun in lexicon.PROPERTIES:
            raise UnreadableError(f"It tells where things are, not their {phrase.noun}.")
        if members:
            phrase = NounPhrase(members=phrase.node(choose=False), text=phrase.text)
        phrase.determiner = phrase.determiner or "the"
        self._tail([phrase], needed=True)
        return Refer(phrase.node())

    def _what_is(self, asked: str, *, plural: bool) -> Refer:
        """Take what follows "what is": a predicate, or what is pointed at."""
        if self.take_one(lexicon.PRESENT) or not self.peek():
            return Refer(Concept("person" if asked == "who" else THING))
        begin = self.at
        phrase = NounPhrase(noun="person" if asked == "who" else THING)
        phrase.number = "plural" if plural else "either"
        self.restrictions(phrase)
        if self.at > begin:
            return Refer(phrase.node())
        if asked == "who":
            self.predicate(phrase)
            return Refer(phrase.node())
        return Refer(self._whole(choose=True))

    def _tail(self, phrases: list[NounPhrase], *, needed: bool = False) -> None:
        """Take the verb after what is asked about: "are there", "are left of the tree"."""
        phrase = phrases[-1]
        found = bool(self.take_phrase(lexicon.THERE))
        if not found and (verb := self.take_one(("is", "are"))):
            found = True
            if verb == "is" and phrase.number == "either":
                phrase.number = "singular"
            if not self.take_one(lexicon.PRESENT) and self.peek():
                if len(phrases) > 1:
                    raise self.stuck()
                self.predicate(phrase)
        if found and len(phrases) == 1:
            self.restrictions(phrase)
        if needed and not found:
            raise self.stuck()

    # lists

    def _whole(self, *, choose: bool) -> Node:
        """Take a list with its exceptions."""
        return self._without(self._list().node(choose=choose))

    def _without(self, whole: Node) -> Node:
        """Take "except ..." after what is meant."""
        while True:
            begin = self.at
            self.take(",")
            if not self.take_phrase(lexicon.EXCEPT):
                self.at = begin
                return whole
            whole = Excluded(whole, self._list().node(whole, choose=True))

    def _list(self) -> _List:
        """Take phrases up to the end of the list."""
        both = self._both()
        found = _List([self.phrase()], [])
        while joint := self._joint():
            found.joints.append(joint)
            found.phrases.append(self.phrase())
        self.splits_at_and = False
        first, *others = found.phrases
        two = not others or (not first.determiner and bool(others[0].determiner))
        if both and two:
            first.determiner, first.count = "the", 2
        return found

    def _both(self) -> bool:
        """Take the "both" or "either" of a list; whether it was "both"."""
        if self.take("either"):
            return False
        listed = {"and", "as"} & set(self.words[self.at :])
        if self.peek(1) == "of" or not listed or not self.take("both"):
            return False
        self.splits_at_and = True
        return True

    def _joint(self) -> str:
        """Take what joins two phrases; "" at the end of the list."""
        begin = self.at
        comma = self.take(",")
        if not self.matches_any(lexicon.EXCEPT):
            if words := self.take_phrase(lexicon.AND):
                return "or" if words == ("or",) else "and"
            if comma and self.peek() and not self.matches_any(lexicon.POLITE_AT_END):
                return ","
        self.at = begin
        return ""
