"""Reading one noun phrase: "the two largest red dogs on the left that are not next to the tree"."""

from dataclasses import replace

from sam3_agent.model.offline import lexicon
from sam3_agent.model.offline.concept_parser import ConceptParser
from sam3_agent.model.offline.inflection import number
from sam3_agent.model.offline.lexicon import (
    ALL,
    COLORS,
    FILLERS,
    LAST,
    NUMBERS,
    ONE,
    ORDERS,
    ORDINALS,
    PLACES,
    RELATIONS,
    SIZES,
    THE,
)
from sam3_agent.model.offline.noun_lists import NounList
from sam3_agent.model.offline.noun_phrase import NounPhrase, RelationPhrase
from sam3_agent.model.offline.query_tree import AnyOf, Concept, Node, Order, Place, Relation
from sam3_agent.model.offline.tokenizer import ParseError

MAX_DEPTH = 6
"""Noun phrases inside one another."""


class PhraseParser(ConceptParser):
    """Takes noun phrases from a question.

    antecedent: what a noun that is left out stands for, from the question before in a chat.
    lost: there was a question before, and it is not known what it meant.
    """

    def __init__(
        self, words: list[str], antecedent: Node | None = None, *, lost: bool = False
    ) -> None:
        super().__init__(words)
        self.antecedent = antecedent
        self.lost = lost
        self._depth = 0
        self.splits_at_and = False
        """Whether an "and" after an anchor belongs to a list outside ("both ... and ...")."""

    def meant(self, listed: NounList, *, choose: bool, noun: str | None = None) -> Node:
        """What a list of the question means; see `NounPhrase.node`.

        noun: what one that is left out stands for, before anything of an earlier question.
        """
        if noun is not None and not any(phrase.same or phrase.other for phrase in listed.phrases):
            return listed.node(Concept(noun), choose=choose)
        if self.lost and any(phrase.elided for phrase in listed.phrases):
            raise ParseError("The question before was not understood, and this one needs it.")
        return listed.node(self.antecedent, choose=choose)

    def phrase(self, noun: str | None = None) -> NounPhrase:
        """Take a noun phrase; of one whose `noun` is known, what comes after the noun.

        Raises ParseError when none comes next.
        """
        if self._depth == MAX_DEPTH:
            raise ParseError("It is too deeply nested.")
        self._depth += 1
        try:
            phrase = NounPhrase(noun=noun)
            if noun is None:
                self._named(phrase)
            self.restrictions(phrase)
            return phrase
        finally:
            self._depth -= 1

    def _named(self, phrase: NounPhrase) -> None:
        begin = self.at
        self._determiner(phrase)
        self._order_words(phrase)
        if not self._members(phrase):
            self.noun(phrase)
        if self.at == begin:
            raise self.unexpected()
        phrase.text = " ".join(self.words[begin : self.at])

    def restrictions(self, phrase: NounPhrase) -> None:
        """Take all that follows a noun and says which of them: places, relations, clauses."""
        while self._clause(phrase) or self._rank_after_noun(phrase) or self._whereabouts(phrase):
            pass

    def predicate(self, phrase: NounPhrase) -> None:
        """Take what follows "is" or "are" and add it to the phrase.

        Raises ParseError when it is none of a place, relation, rank, order or attribute.
        """
        if self.take("neither"):
            self._neither(phrase)
            return
        negated = self.take("not")
        target = NounPhrase(determiner="the", text=phrase.text) if negated else phrase
        begin = self.at
        if not (self._whereabouts(target) or self._order_predicate(target)):
            self._attribute_predicate(target, negated)
        if negated:
            target.text = " ".join(self.words[begin : self.at])
            phrase.left_out.append(target)

    def _neither(self, phrase: NounPhrase) -> None:
        """Take "[neither] red nor blue": what is none of these."""
        for last in (False, True):
            target = NounPhrase(determiner="the", text=phrase.text)
            begin = self.at
            if not self._whereabouts(target):
                self._attribute_predicate(target, negated=True)
            target.text = " ".join(self.words[begin : self.at])
            phrase.left_out.append(target)
            if not last and not self.take("nor"):
                raise self.unexpected()

    # before the noun

    def _determiner(self, phrase: NounPhrase) -> None:
        if word := self.take_one(ALL):
            phrase.determiner = "all"
            if self.peek() == "of" and word == "some":
                raise ParseError('"some of" does not say which.')
            self.take_phrase((("of",), ("one", "of")))
            self.take_one(THE)
        elif self.take("both"):
            phrase.determiner, phrase.count = "the", 2
            self.take("of")
            self.take_one(THE)
        elif self.take_one(THE):
            phrase.determiner = "the"
        elif self.take_one(lexicon.AN):
            phrase.determiner = "a"
        if phrase.determiner in ("the", "all"):
            phrase.same = self.take("same")
            phrase.other = not phrase.same and self.take("other")

    def _order_words(self, phrase: NounPhrase) -> None:
        """Take counts, ranks, superlatives and words of place and size."""
        if phrase.same and self.peek() in ONE:
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
            if not phrase.size and self.peek() in SIZES and (self._more_follows(1) or adjectives):
                phrase.size_word = self.take_one(SIZES)
                phrase.size = SIZES[phrase.size_word]
                if adjectives:
                    self.take(",")
                continue
            break

    def number(self) -> int:
        """Take a whole number in digits or words; 0 when none comes next."""
        word = self.peek()
        number = int(word) if word.isdecimal() and len(word) < 4 else NUMBERS.get(word, 0)
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
        if words := self.take_phrase(LAST):
            return LAST[words], True
        if word := self.take_one(ORDINALS):
            return ORDINALS[word], False
        return None

    def _order(self) -> Order | None:
        if words := self.take_phrase(ORDERS):
            if self.peek() == "than":
                self.at -= len(words)
                raise self.unexpected()
            return ORDERS[words]
        begin = self.at
        words = self.take_phrase(PLACES)
        if words and self._more_follows(0):
            return PLACES[words]
        self.at = begin
        return None

    def _more_follows(self, offset: int) -> bool:
        """Whether a noun follows, or stands further on in a list: "the left and the right dog"."""
        here = self.peek(offset)
        shared = here in ("and", "or", ",") and self.peek(offset + 1) not in ("", ",")
        return self.plain(offset) or here in ONE or shared

    def _members(self, phrase: NounPhrase) -> bool:
        """Take the rest of "the larger [of the two dogs]"."""
        if phrase.order is None and phrase.rank is None:
            return False
        begin = self.at
        self.take_one(ONE)
        if not (self.take("of") or self.take("among") or self.take("out", "of")):
            self.at = begin
            return False
        members = self.phrase()
        listed = NounList([members])
        while members.number == "singular" and (joint := self.take_one(("and", "or"))):
            listed.joints.append(joint)
            listed.phrases.append(self.phrase())
        phrase.members = self.meant(listed, choose=len(listed.phrases) > 1)
        phrase.number = "singular" if phrase.count is None else "plural"
        phrase.side_from = members.side_from
        return True

    # after the noun

    def _clause(self, phrase: NounPhrase) -> bool:
        """Take "that is left of the tree"."""
        if self.peek() not in ("that", "which", "who"):
            return False
        if self.peek(1) not in ("is", "are"):
            raise self.unexpected()
        self.at += 2
        self.predicate(phrase)
        return True

    def _rank_after_noun(self, phrase: NounPhrase) -> bool:
        """Take "second from the left", or "from the left" after "the second dog"."""
        begin = self.at
        self.take_one(("counting", "counted", "starting"))
        rank = (phrase.rank, phrase.from_end) if phrase.rank else self._rank()
        if rank and phrase.side_from is None and self.take("from"):
            self.take("the")
            words = self.take_phrase(PLACES)
            self.take_phrase(lexicon.PLACE_NOUNS)
            if words and PLACES[words] in lexicon.OPPOSITE:
                phrase.rank, phrase.from_end = rank
                phrase.side_from = PLACES[words]
                return True
        self.at = begin
        return False

    def _whereabouts(self, phrase: NounPhrase) -> bool:
        """Take a place or a relation."""
        begin = self.at
        while self.take_one(FILLERS):
            pass
        posture = self.take_one(lexicon.POSTURES)
        if not posture and (place := self._place()):
            phrase.places.append(place)
            return True
        directly = not self.matches_any(RELATIONS) and self.take_one(lexicon.DIRECTLY)
        relating = self._relation(phrase.noun)
        if relating and not (posture and relating.relation not in ("on", "inside")):
            if directly and phrase.number == "plural":
                self.at = begin
                raise self.unexpected()
            nearest = relating.nearest or bool(directly)
            phrase.relations.append(replace(relating, nearest=nearest))
            return True
        self.at = begin
        return False

    def _place(self) -> tuple[Place, bool] | None:
        """Take "on the far left": the place, and whether the far end of it is meant."""
        begin = self.at
        furthest = bool(self.take_phrase(lexicon.FURTHEST))
        preposition = furthest or bool(self.take_phrase(lexicon.PLACE_PREPOSITIONS))
        if preposition:
            self.take("the")
        far = bool(self.take_phrase(lexicon.FAR)) or furthest
        words = self.take_phrase(PLACES)
        if preposition:
            self.take_phrase(lexicon.PLACE_NOUNS)
        elif not set(words) <= {"left", "right", "top", "bottom", "upper", "lower"}:
            words = ()
        goes_on = self.peek() == "of" or self.plain() or self.peek() in ONE
        if words and not goes_on:
            return PLACES[words], far
        self.at = begin
        return None

    def _relation(self, noun: str | None) -> RelationPhrase | None:
        """Take "to the left of the tree"."""
        begin = self.at
        words = self.take_phrase(RELATIONS)
        if not words:
            return None
        relation = RELATIONS[words]
        anchors = [self.phrase()]
        only_one = False
        while self.peek() in ("and", "or") and not self.splits_at_and:
            conjunction, back = self.peek(), self.at
            self.at += 1
            another = self._another_anchor(plain=relation != "between")
            bare = another and not another.determiner and another.number == "plural"
            if another is None or (bare and anchors[0].determiner):
                self.at = back
                break
            only_one = only_one or conjunction == "or"
            anchors.append(another)
        if words == ("in",) and any(anchor.noun in lexicon.CLOTHES for anchor in anchors):
            self.at = begin
            raise ParseError(
                f'It cannot read "{" ".join(self.words[begin:])}": '
                "what someone wears takes looking at the picture."
            )
        anchor, every = self._anchor(relation, anchors, only_one, noun)
        return RelationPhrase(relation, anchor, every, words in lexicon.NEAREST)

    def _another_anchor(self, *, plain: bool) -> NounPhrase | None:
        """Take a second anchor, "the cat"; if `plain`, not one that may be an item of a list."""
        begin = self.at
        try:
            phrase = self.phrase()
        except ParseError:
            phrase = None
        single = phrase and phrase.determiner != "all" and not phrase.count
        if phrase and single and not (plain and phrase.restricted):
            return phrase
        self.at = begin
        return None

    def _anchor(
        self, relation: Relation, anchors: list[NounPhrase], only_one: bool, noun: str | None
    ) -> tuple[Node, bool]:
        """What the anchors mean, and whether the relation must hold to every thing of them."""
        directed = relation not in ("near", "inside", "on", "touching")
        nodes: list[Node] = []
        for anchor in anchors:
            if anchor.elided and not anchor.restricted and len(anchors) > 1:
                raise ParseError(f'It cannot tell of what "{anchor.text}" is said.')
            one = anchor.number == "singular" and anchor.determiner in ("the", "") and directed
            if one and not anchor.count:
                anchor.count = 1
            keep = directed or anchor.restricted or anchor.count is not None
            choose = keep and anchor.determiner != "a"
            own = noun if anchor.one or anchor.ordered else None
            nodes.append(self.meant(NounList([anchor]), choose=choose, noun=own))
        if relation == "between" and len(anchors) == 1 and (anchors[0].wanted() or 2) < 2:
            raise ParseError('"between" needs two things.')
        if len(nodes) > 1:
            return AnyOf(tuple(nodes)), not only_one
        return nodes[0], directed and anchors[0].determiner != "a"

    # predicates

    def _order_predicate(self, phrase: NounPhrase) -> bool:
        """Take "[is] the largest" or "[is] second from the left"."""
        begin = self.at
        self.take("the")
        if phrase.rank is None and phrase.order is None:
            self._order_words(phrase)
            if phrase.size_word:
                raise self.unexpected()
            if phrase.order or phrase.rank:
                self.take_one(ONE)
                self._rank_after_noun(phrase)
                return True
        self.at = begin
        return False

    def _attribute_predicate(self, phrase: NounPhrase, negated: bool) -> None:
        """Take "[is] dark red" or "[is not] a dog"."""
        begin = self.at
        article = self.take_one(lexicon.AN)
        words = self.adjectives() or ([self.take_one([self.peek()])] if self.plain() else [])
        if self.peek() == "and" and words[-1:] and words[-1] in COLORS and self.peek(1) in COLORS:
            self.at += 1
            words += ["and", *self.adjectives()]
        is_noun = bool(article) or (bool(words) and number(words[-1]) == "plural")
        if words and not is_noun and not self.plain() and self.peek() not in lexicon.DETERMINERS:
            phrase.attributes[:0] = words
            return
        self.at = begin
        if not (negated and is_noun):
            raise self.unexpected()
        what = self.phrase()
        phrase.noun, phrase.attributes = what.noun, what.attributes
        phrase.relations, phrase.places = what.relations, what.places
        phrase.determiner = "all"
