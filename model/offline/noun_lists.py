"""A list of noun phrases that share nouns, determiners and restrictions."""

from dataclasses import dataclass, field

from sam3_agent.model.offline.lexicon import COLORS
from sam3_agent.model.offline.noun_phrase import NounPhrase
from sam3_agent.model.offline.query_tree import AnyOf, Node
from sam3_agent.model.offline.tokenizer import ParseError


@dataclass
class NounList:
    """Noun phrases and their conjunctions: "and", "or" and ","."""

    phrases: list[NounPhrase]
    conjunctions: list[str] = field(default_factory=list)

    @property
    def every(self) -> bool:
        """Whether all phrases are asked for, not any of them."""
        return "and" in self.conjunctions

    def node(self, antecedent: Node | None = None, *, choose: bool) -> Node:
        """The node of the list; see `NounPhrase.node`.

        Raises ParseError when it is unclear how far a word reaches.
        """
        bare = [_is_bare(phrase) for phrase in self.phrases]
        self._share_nouns(antecedent)
        if len(self.phrases) > 1:
            self._share_determiners(bare)
            if all(bare[1:]):
                self._share_places()
        nodes = [phrase.node(antecedent, choose=choose) for phrase in self.phrases]
        return nodes[0] if len(nodes) == 1 else AnyOf(tuple(nodes))

    def _share_nouns(self, antecedent: Node | None) -> None:
        """Fills in left-out nouns: "the red and the blue car", "a dog or a red one".

        A noun comes from a later phrase, with what follows it, else from the antecedent (left to
        `NounPhrase.node`), else from an earlier phrase.
        """
        for i, phrase in enumerate(self.phrases):
            if not phrase.elided:
                continue
            later = [other for other in self.phrases[i + 1 :] if other.noun is not None]
            earlier = [other for other in self.phrases[:i] if other.noun is not None]
            if later and not phrase.one:
                _take_noun(phrase, later[0])
                if not phrase.placed:
                    _take_places(phrase, later[0])
            elif antecedent is None and earlier:
                _take_noun(phrase, earlier[-1])
            else:
                continue
            if set(self.conjunctions) == {","}:
                raise ParseError(f'It cannot tell of what "{phrase.text}" is said.')

    def _share_determiners(self, bare: list[bool]) -> None:
        """Reads "the dog and cat" as "the cat"; "the largest dog and cat" is ambiguous."""
        for i in range(1, len(self.phrases)):
            phrase, before = self.phrases[i], self.phrases[i - 1]
            if bare[i]:
                if before.ordered:
                    raise ParseError(
                        f'It cannot tell how far "{before.text}" reaches over "{phrase.text}".'
                    )
                phrase.determiner = before.determiner

    def _share_places(self) -> None:
        """Reads "dogs and cats on the left" as dogs on the left too."""
        *others, last = self.phrases
        if last.placed and not any(phrase.placed for phrase in others):
            for phrase in others:
                _take_places(phrase, last)


def _is_bare(phrase: NounPhrase) -> bool:
    """Whether nothing precedes the concept."""
    return not (phrase.determiner or phrase.elided or phrase.count or phrase.ordered)


def _take_noun(phrase: NounPhrase, source: NounPhrase) -> None:
    phrase.noun = source.noun
    phrase.attributes += [word for word in source.attributes if word not in COLORS]
    if phrase.order or phrase.rank:
        phrase.number = "singular"
        if (source.order or source.rank) and source.count is None:
            source.number = "singular"
    elif not phrase.one:
        phrase.number = source.number
        phrase.determiner = phrase.determiner or source.determiner


def _take_places(phrase: NounPhrase, source: NounPhrase) -> None:
    phrase.places = list(source.places)
    phrase.relations = list(source.relations)
    phrase.left_out = list(source.left_out)
