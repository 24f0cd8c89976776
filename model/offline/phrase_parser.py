"""Parses a noun phrase: "the two largest red dogs on the left that are not next to the tree"."""

from dataclasses import replace

from sam3_agent.model.offline import lexicon
from sam3_agent.model.offline.inflection import number
from sam3_agent.model.offline.modifier_parser import ModifierParser
from sam3_agent.model.offline.noun_lists import NounList
from sam3_agent.model.offline.noun_phrase import NounPhrase, RelationPhrase
from sam3_agent.model.offline.query_tree import AnyOf, Concept, Node, Place, Relation
from sam3_agent.model.offline.tokenizer import ParseError

MAX_DEPTH = 6
"""Noun phrases inside one another."""


class PhraseParser(ModifierParser):
    """Parses noun phrases.

    antecedent: what a left-out noun stands for, from the question before in a chat.
    lost: the question before could not be parsed.
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

    def resolve(self, listed: NounList, *, choose: bool, noun: str | None = None) -> Node:
        """The query tree of a list; see `NounPhrase.node`.

        noun: what a left-out noun stands for, in place of the antecedent.
        """
        if noun is not None and not any(phrase.same or phrase.other for phrase in listed.phrases):
            return listed.node(Concept(noun), choose=choose)
        if self.lost and any(phrase.elided for phrase in listed.phrases):
            raise ParseError("The question before was not understood, and this one needs it.")
        return listed.node(self.antecedent, choose=choose)

    def phrase(self) -> NounPhrase:
        """Parses a noun phrase; raises ParseError when none comes next."""
        if self._depth == MAX_DEPTH:
            raise ParseError("It is too deeply nested.")
        self._depth += 1
        try:
            phrase = NounPhrase()
            begin = self.at
            self._determiner(phrase)
            self._modifiers(phrase)
            if not self._members(phrase):
                self.noun(phrase)
            if self.at == begin:
                raise self.unexpected()
            phrase.text = " ".join(self.words[begin : self.at])
            self.restrictions(phrase)
            return phrase
        finally:
            self._depth -= 1

    def restrictions(self, phrase: NounPhrase) -> None:
        """Parses the places, relations and clauses after a noun."""
        while self._clause(phrase) or self._rank_after_noun(phrase) or self._location(phrase):
            pass

    def predicate(self, phrase: NounPhrase) -> None:
        """Parses what follows "is" or "are" and add it to the phrase.

        Raises ParseError when it is none of a place, relation, rank, order or attribute.
        """
        if self.take("neither"):
            self._negated(phrase, orders=False)
            if not self.take("nor"):
                raise self.unexpected()
            self._negated(phrase, orders=False)
        elif self.take("not"):
            self._negated(phrase, orders=True)
        elif not (self._location(phrase) or self._order_predicate(phrase)):
            self._attribute_predicate(phrase, negated=False)

    def _negated(self, phrase: NounPhrase, *, orders: bool) -> None:
        """Parses what a phrase must not fit; `orders`: superlatives and ranks too."""
        target = NounPhrase(determiner="the", text=phrase.text)
        begin = self.at
        if not (self._location(target) or (orders and self._order_predicate(target))):
            self._attribute_predicate(target, negated=True)
        target.text = " ".join(self.words[begin : self.at])
        phrase.left_out.append(target)

    def _members(self, phrase: NounPhrase) -> bool:
        """Parses the rest of "the larger [of the two dogs]"."""
        if phrase.order is None and phrase.rank is None:
            return False
        begin = self.at
        self.take_one(lexicon.ONE)
        if not (self.take("of") or self.take("among") or self.take("out", "of")):
            self.at = begin
            return False
        members = self.phrase()
        listed = NounList([members])
        while members.number == "singular" and (conjunction := self.take_one(("and", "or"))):
            listed.conjunctions.append(conjunction)
            listed.phrases.append(self.phrase())
        phrase.members = self.resolve(listed, choose=len(listed.phrases) > 1)
        phrase.number = "singular" if phrase.count is None else "plural"
        phrase.side_from = members.side_from
        return True

    # after the noun

    def _clause(self, phrase: NounPhrase) -> bool:
        """Parses "that is left of the tree"."""
        if self.peek() not in ("that", "which", "who"):
            return False
        if self.peek(1) not in ("is", "are"):
            raise self.unexpected()
        self.at += 2
        self.predicate(phrase)
        return True

    def _rank_after_noun(self, phrase: NounPhrase) -> bool:
        """Parses "second from the left", or "from the left" after "the second dog"."""
        begin = self.at
        self.take_one(("counting", "counted", "starting"))
        rank = (phrase.rank, phrase.from_end) if phrase.rank else self._rank()
        if rank and phrase.side_from is None and self.take("from"):
            self.take("the")
            words = self.take_phrase(lexicon.PLACES)
            self.take_phrase(lexicon.PLACE_NOUNS)
            if words and lexicon.PLACES[words] in lexicon.OPPOSITE:
                phrase.rank, phrase.from_end = rank
                phrase.side_from = lexicon.PLACES[words]
                return True
        self.at = begin
        return False

    def _location(self, phrase: NounPhrase) -> bool:
        """Parses a place or a relation."""
        begin = self.at
        while self.take_one(lexicon.FILLERS):
            pass
        posture = self.take_one(lexicon.POSTURES)
        if not posture and (place := self._place()):
            phrase.places.append(place)
            return True
        directly = not self.matches_any(lexicon.RELATIONS) and self.take_one(lexicon.DIRECTLY)
        relation_phrase = self._relation(phrase.noun)
        if relation_phrase and not (posture and relation_phrase.relation not in ("on", "inside")):
            if directly and phrase.number == "plural":
                self.at = begin
                raise self.unexpected()
            nearest = relation_phrase.nearest or bool(directly)
            phrase.relations.append(replace(relation_phrase, nearest=nearest))
            return True
        self.at = begin
        return False

    def _place(self) -> tuple[Place, bool] | None:
        """Parses "on the far left": the place, and whether its far end."""
        begin = self.at
        furthest = bool(self.take_phrase(lexicon.FURTHEST))
        preposition = furthest or bool(self.take_phrase(lexicon.PLACE_PREPOSITIONS))
        if preposition:
            self.take("the")
        far = bool(self.take_phrase(lexicon.FAR)) or furthest
        words = self.take_phrase(lexicon.PLACES)
        if preposition:
            self.take_phrase(lexicon.PLACE_NOUNS)
        elif not set(words) <= {"left", "right", "top", "bottom", "upper", "lower"}:
            words = ()
        goes_on = self.peek() == "of" or self.plain() or self.peek() in lexicon.ONE
        if words and not goes_on:
            return lexicon.PLACES[words], far
        self.at = begin
        return None

    def _relation(self, noun: str | None) -> RelationPhrase | None:
        """Parses "to the left of the tree"."""
        begin = self.at
        words = self.take_phrase(lexicon.RELATIONS)
        if not words:
            return None
        relation = lexicon.RELATIONS[words]
        # "and" may add an anchor ("left of the tree and the cat") or an item to the list that the
        # phrase is part of ("the dog left of the tree and cats"): a bare plural after "the tree",
        # and a phrase with restrictions of its own, are items of the outer list.
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
        """Parses a second anchor; if `plain`, not one that may be an item of a list."""
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
        """The node of the anchors, and whether the relation must hold to every object of it."""
        # A direction needs one point of reference, so "the tree" is one tree; near, in or on "the
        # trees" any of them will do.
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
            nodes.append(self.resolve(NounList([anchor]), choose=choose, noun=own))
        if relation == "between" and len(anchors) == 1 and (anchors[0].wanted() or 2) < 2:
            raise ParseError('"between" needs two things.')
        if len(nodes) > 1:
            return AnyOf(tuple(nodes)), not only_one
        return nodes[0], directed and anchors[0].determiner != "a"

    # predicates

    def _order_predicate(self, phrase: NounPhrase) -> bool:
        """Parses "[is] the largest" or "[is] second from the left"."""
        begin = self.at
        self.take("the")
        if phrase.rank is None and phrase.order is None:
            self._modifiers(phrase)
            if phrase.size_word:  # "is big" compares with nothing
                raise self.unexpected()
            if phrase.order or phrase.rank:
                self.take_one(lexicon.ONE)
                self._rank_after_noun(phrase)
                return True
        self.at = begin
        return False

    def _attribute_predicate(self, phrase: NounPhrase, negated: bool) -> None:
        """Parses "[is] dark red" or "[is not] a dog"."""
        begin = self.at
        article = self.take_one(lexicon.AN)
        words = self.adjectives() or ([self.take_one([self.peek()])] if self.plain() else [])
        colored = words and words[-1] in lexicon.COLORS
        if colored and self.peek() == "and" and self.peek(1) in lexicon.COLORS:
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
