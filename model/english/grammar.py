"""Reading English questions about a picture into a query tree: `read("the leftmost red car")`.

    question  = count | existence | color | which | reference
    count     = "how many" list ["are there" | "are" predicate]
    existence = "is there" list | "is" phrase predicate | "any" list
    color     = "what color" ("is" | "are") list
    which     = "which" phrase ("is" | "are") predicate | "what is" (predicate | list)
    reference = ["find" | "where is" | ...] list
    list      = phrase {("," | "and" | "or") phrase} {"except" list}
    phrase    = [determiner] [count] [rank] [order] {attribute} noun {restriction}
    restriction = place | relation phrase | "that is" ["not"] predicate | "from the left"

What does not fit as a whole is Unreadable: nothing is guessed from a part of a sentence. The
words are in `lexicon`, the grammar of phrases in `phrase_grammar` and `concept_grammar`, and what
phrases and lists mean in `noun_phrases` and `noun_lists`.
"""

from sam3_agent.model.english import lexicon
from sam3_agent.model.english.noun_lists import NounList
from sam3_agent.model.english.noun_phrases import NounPhrase
from sam3_agent.model.english.phrase_grammar import PhraseReader
from sam3_agent.model.english.queries import (
    THING,
    Color,
    Concept,
    Count,
    Excluded,
    Exists,
    Node,
    Query,
    Ranked,
    Refer,
    Unreadable,
    heads,
)
from sam3_agent.model.english.reading import UnreadableError, tokens
from sam3_agent.model.vocabulary import CATEGORIES


def read(text: str) -> Query | Unreadable:
    """The query that an English question asks; Unreadable, with the reason, when it is no such."""
    try:
        return _Reader(tokens(text)).question()
    except UnreadableError as error:
        return Unreadable(str(error))


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
        if self.take("what", "color") or self.take("which", "color"):
            return self._color()
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
        self._tail(listed)
        what = self._without(listed.node(choose=False))
        self.take_phrase(lexicon.THERE)
        return Count(what)

    def _exists(self) -> Exists:
        listed = self._list()
        what = self._without(listed.node(choose=False))
        if not self.take_phrase(lexicon.THERE):
            self.take_one(lexicon.PRESENT)
        return Exists(what, listed.every, _least(listed))

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
        return Exists(listed.node(choose=False), listed.every, _least(listed))

    def _where(self) -> Refer:
        what = self._whole(choose=True)
        self.take_one(("is", "are"))
        self.take_one(("located", "situated"))
        return Refer(what)

    def _color(self) -> Color:
        """Take "is the car on the left" after "what colour"."""
        if not self.take_one(("is", "are")):
            raise UnreadableError(
                "It tells the colour of things in the picture, and of nothing else."
            )
        return Color(self._whole(choose=True))

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
        if not self._tail(NounList([phrase])):
            raise self.stuck()
        return Refer(self._of_these(phrase))

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
        if asked == "who" or self.matches_any(lexicon.ORDERS):
            self.predicate(phrase)
            return Refer(self._of_these(phrase))
        return Refer(self._whole(choose=True))

    def _of_these(self, phrase: NounPhrase) -> Node:
        """Take ", the dog or the cat" after "which animal is larger"."""
        begin = self.at
        if phrase.order and self.take(",") and self.peek() in lexicon.DETERMINERS:
            return Ranked(self._list().node(choose=True), phrase.order)
        self.at = begin
        return phrase.node()

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

    # lists

    def _whole(self, *, choose: bool) -> Node:
        """Take a list with its exceptions."""
        return self._without(self._list().node(choose=choose))

    def _without(self, whole: Node) -> Node:
        """Take "except ..." after what is meant."""
        while True:
            begin = self.at
            self.take(",")
            words = self.take_phrase(lexicon.EXCEPT)
            if not words:
                self.at = begin
                return whole
            listed = self._list()
            if "without" in words and not all(_is_of(whole, p) for p in listed.phrases):
                self.at = begin
                raise self.stuck()
            whole = Excluded(whole, listed.node(whole, choose=True))

    def _list(self) -> NounList:
        """Take phrases up to the end of the list."""
        both = self._both()
        found = NounList([self.phrase()])
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


def _least(listed: NounList) -> int:
    """How many of it must be there for a yes."""
    counts = [phrase.count for phrase in listed.phrases if phrase.count and not phrase.ordered]
    if counts and len(listed.phrases) > 1:
        raise UnreadableError("It checks one number at a time.")
    return counts[0] if counts else 1


def _is_of(whole: Node, part: NounPhrase) -> bool:
    """Whether a part is of the kinds that the whole has: "without" then leaves it out."""
    nouns = {head.noun for head in heads(whole)}
    among = any(part.noun in CATEGORIES.get(noun, ()) for noun in nouns)
    return part.elided or THING in nouns or part.noun in nouns or among
