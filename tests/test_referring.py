"""Referring queries: an independent parser of the English finds the same targets from masks."""

import re
from collections import Counter

import numpy as np
import pytest

from sam3_agent.evals.synthetic.concept_phrases import unrelated_words
from sam3_agent.evals.synthetic.query_kinds import KINDS
from sam3_agent.evals.synthetic.referring import (
    ReferringQuery,
    held_out_scenes,
    referring_queries,
)
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.vocabulary import CATEGORIES, COLORS, NOUNS

WORDS = (*NOUNS, *CATEGORIES, *unrelated_words("heldout"))
SINGULAR = {form: word for word in WORDS for form in (word, plural(word))}
ORDINALS = {"second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7}
EXTREMES = {
    "leftmost|on the far left|furthest to the left": (0, 1),
    "rightmost|on the far right|furthest to the right": (0, -1),
    "topmost|highest|at the top|closest to the top": (1, 1),
    "bottommost|lowest|at the bottom|closest to the bottom": (1, -1),
}
RELATIONS = {
    "to the left of|left of": (0, -1),
    "to the right of|right of": (0, 1),
    "above|higher than": (1, -1),
    "below|under": (1, 1),
}


class Reader:
    """Parses a query about one scene, by rules written for this test only."""

    def __init__(self, scene: SyntheticScene) -> None:
        self.scene = scene
        pixels = [np.nonzero(scene.mask(index)) for index in range(len(scene.objects))]
        self.area = [len(rows) for rows, _ in pixels]
        spans = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in pixels]
        self.boxes = np.array(spans, dtype=float)
        self.centre = np.stack([self.boxes[:, 0::2].mean(1), self.boxes[:, 1::2].mean(1)], axis=1)
        self.margin = 0.049 * np.array(scene.labels.shape[::-1])

    def named(self, phrase: str) -> list[int]:
        words = re.sub(r"^(the|an?|all the|all|every|any) ", "", phrase).split()
        color = words.pop(0) if words[0] in COLORS else None
        word = SINGULAR[" ".join(words)]
        nouns = CATEGORIES.get(word, (word,))
        return [
            index
            for index, obj in enumerate(self.scene.objects)
            if obj.noun in nouns and color in (None, obj.color)
        ]

    def targets(self, text: str) -> list[int]:
        """Finds the target objects of a query."""
        text = re.sub(r"^(find|show me|both) ", "", text.lower().rstrip(".?"))
        if found := re.fullmatch(r"(?:how many|count the) (.+?)( are there| can you see)?", text):
            return self.named(found[1])
        if found := re.fullmatch(r"(?:is there|are there any) (.+)", text):
            return self.named(re.sub("^an? ", "", found[1]))
        if found := re.fullmatch(r"(.+) (?:except|but|other than) (.+)", text):
            return self.excluded(found[1], found[2])
        if found := re.fullmatch(r"(.+) (?:and|as well as) (.+)", text):
            first, second = self.named(found[1]), self.named(found[2])
            assert first
            assert second
            assert not set(first) & set(second)
            return sorted(first + second)
        for read in (self.ranked, self.related, self.nearest, self.superlative):
            result = read(text)
            if result is not None:
                return result
        if found := re.fullmatch(r"the (\w+) that (?:is|are) (\w+)", text):
            return self.named(f"{found[2]} {found[1]}")
        return self.named(text)

    def excluded(self, whole: str, part: str) -> list[int]:
        everything = list(range(len(self.scene.objects)))
        members = everything if whole == "everything" else self.named(whole)
        if found := re.fullmatch(r"the (\w+) ones?", part):
            out = [index for index in members if self.scene.objects[index].color == found[1]]
            assert (len(out) > 1) == part.endswith("ones")
        else:
            out = self.named(part)
        assert out
        assert set(out) < set(members)
        return [index for index in members if index not in out]

    def ranked(self, text: str) -> list[int] | None:
        found = re.fullmatch(r"(?:the )?(\w+) (.+) from the (\w+)", text)
        rank = found and self.rank(found[1])
        if found and rank:
            name, side = found[2], found[3]
        elif found := re.fullmatch(r"the (.+) that is (\w+) from the (\w+)", text):
            name, rank, side = found[1], self.rank(found[2]), found[3]
        else:
            return None
        axis = 0 if side in ("left", "right") else 1
        order = sorted(self.named(name), key=lambda index: self.centre[index][axis])
        places = self.centre[order, axis]
        assert (np.diff(places) > self.margin[axis]).all()
        return [order[:: -1 if side in ("right", "bottom") else 1][(rank or 0) - 1]]

    @staticmethod
    def rank(word: str) -> int | None:
        digits = re.fullmatch(r"(\d)(nd|rd|th)", word)
        return int(digits[1]) if digits else ORDINALS.get(word)

    def related(self, text: str) -> list[int] | None:
        for words, (axis, sign) in RELATIONS.items():
            if found := re.fullmatch(rf"(.+?) (?:{words}) (.+)", text):
                members, (anchor,) = self.named(found[1]), self.named(found[2])
                ahead = sign * (self.centre[members, axis] - self.centre[anchor, axis])
                assert (np.abs(ahead) > self.margin[axis]).all()
                return [index for index, way in zip(members, ahead, strict=True) if way > 0]
        return None

    def nearest(self, text: str) -> list[int] | None:
        found = re.fullmatch(r"(.+) (?:next to|beside|nearest to|closest to) (.+)", text)
        if not found or found[2] in ("the top", "the bottom"):
            return None
        members, (anchor,) = self.named(found[1]), self.named(found[2])
        away = np.maximum(
            self.boxes[members, :2] - self.boxes[anchor, 2:],
            self.boxes[anchor, :2] - self.boxes[members, 2:],
        ).clip(0)
        gaps = np.linalg.norm(away, axis=1)
        order = np.argsort(gaps)
        assert gaps[order[1]] >= 1.49 * gaps[order[0]]
        assert gaps[order[1]] > gaps[order[0]]
        return [members[order[0]]]

    def superlative(self, text: str) -> list[int] | None:
        if found := re.fullmatch(r"(?:the )?(largest|biggest|smallest) (.+)", text):
            members = self.named(found[2])
            order = sorted(members, key=lambda index: self.area[index])
            order = order if found[1] == "smallest" else order[::-1]
            if len(order) > 1:
                sizes = sorted((self.area[order[0]], self.area[order[1]]))
                assert sizes[1] >= 1.24 * sizes[0]
            return order[:1]
        for words, (axis, step) in EXTREMES.items():
            found = re.fullmatch(rf"the (?:{words}) (.+)|the (.+) (?:{words})", text)
            if found:
                members = self.named(found[1] or found[2])
                order = sorted(members, key=lambda index: step * self.centre[index][axis])
                ends = self.centre[order[:2], axis]
                assert abs(ends[1] - ends[0]) > self.margin[axis]
                return order[:1]
        return None


@pytest.fixture(scope="module")
def asked() -> list[tuple[SyntheticScene, ReferringQuery]]:
    """Queries of every kind about small held-out scenes."""
    scenes = ((seed, compose(seed, size=(150, 200))) for seed in range(150))
    return [(scene, query) for seed, scene in scenes for query in referring_queries(scene, seed, 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_independent_parser_finds_the_same_targets_for_every_query(
    kind: str, asked: list[tuple[SyntheticScene, ReferringQuery]]
) -> None:
    chosen = [(scene, query) for scene, query in asked if query.kind == kind]
    assert len(chosen) >= 40
    for scene, query in chosen:
        found = Reader(scene).targets(query.text)
        names = [obj.name for obj in scene.objects]
        assert tuple(found) == query.targets, (query, found, names)


def test_only_no_target_queries_have_no_targets_and_only_counting_ones_a_number(
    asked: list[tuple[SyntheticScene, ReferringQuery]],
) -> None:
    for _, query in asked:
        assert (query.kind == "no_target") == (query.targets == ())
        counts = bool(re.match("how many|count", query.text.lower()))
        assert query.count == (len(query.targets) if counts else None)
        assert counts or query.kind != "counting"


def test_a_query_in_the_singular_has_one_target(
    asked: list[tuple[SyntheticScene, ReferringQuery]],
) -> None:
    singulars = [
        query
        for _, query in asked
        if query.kind in ("attribute", "superlative", "ordinal", "relation")
        and not query.text.startswith(("all", "every"))
        and (found := re.match(rf"the ((?:{'|'.join(COLORS)}) )?(\w+)", query.text))
        and found[2] in (*NOUNS, *CATEGORIES)
        and found[2] != "fish"
    ]
    assert len(singulars) > 100
    assert all(len(query.targets) == 1 for query in singulars)


def test_the_queries_of_a_scene_differ_and_repeat_with_the_seed() -> None:
    scene = compose(4, size=(150, 200))
    queries = referring_queries(scene, 1, 12)
    assert len({query.text for query in queries}) == len(queries) == 12
    assert queries == referring_queries(scene, 1, 12)
    assert queries != referring_queries(scene, 2, 12)


def test_the_kinds_take_turns_and_a_shorter_stream_is_the_beginning_of_a_longer_one() -> None:
    longer = list(held_out_scenes(5, 10))
    assert [query.kind for _, _, query in longer] == [*KINDS, *KINDS][:10]
    assert max(Counter(query.kind for _, _, query in longer).values()) == 2
    shorter = list(held_out_scenes(5, 3))
    for (seed, scene, query), (same_seed, same, same_query) in zip(shorter, longer, strict=False):
        assert (seed, query) == (same_seed, same_query)
        assert np.array_equal(scene.image, same.image)
    assert {seed for seed, _, _ in held_out_scenes(6, 3)}.isdisjoint(seed for seed, _, _ in longer)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("car", "cars"),
        ("red bus", "red buses"),
        ("butterfly", "butterflies"),
        ("key", "keys"),
        ("fish", "fish"),
        ("peach", "peaches"),
    ],
)
def test_plurals_are_english(phrase: str, expected: str) -> None:
    assert plural(phrase) == expected
