"""Referring queries: English questions about a synthetic scene whose targets are known exactly.

Every query is unambiguous under plain readings: left and right go by box centre x, above and below
by centre y, size by visible area, "next to" by the gap between boxes. Where two things are too
close to call, no query is made.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sam3_agent.evals.synthetic.concept_phrases import unrelated_words
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES
from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS
from sam3_agent.segmenter import Box

ORDER_MARGIN = 0.05
"""Least distance between two centres in an order, as a share of the picture's width or height."""
RELATION_MARGIN = 0.08
"""Least distance between a thing's centre and its landmark's, as a share likewise."""
AREA_MARGIN = 1.25
"""Least ratio between the two areas that a superlative compares."""
NEARNESS_MARGIN = 1.5
"""Least ratio between the gaps to the second nearest and to the nearest thing."""

SCENES_PER_SEED = 1_000_000

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
NUMERALS = ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th")

DIRECTIONS = (
    (0, -1, ("to the left of", "left of")),
    (0, 1, ("to the right of", "right of")),
    (1, -1, ("above", "higher than")),
    (1, 1, ("below", "under")),
)
"""Relations: the axis (0: x, 1: y), the sign of the way from the landmark, and wordings."""

T = TypeVar("T")


@dataclass(frozen=True)
class ReferringQuery:
    """A question about a scene, the indexes of the things it means, and the number it asks for.

    `count` is None unless the query is a "how many" question.
    """

    text: str
    kind: str
    targets: tuple[int, ...]
    count: int | None = None


@dataclass(frozen=True)
class _Option:
    """One meaning that a scene allows, in several wordings."""

    texts: tuple[str, ...]
    targets: tuple[int, ...]
    count: int | None = None


def referring_queries(scene: SyntheticScene, seed: int, limit: int) -> list[ReferringQuery]:
    """Up to `limit` different queries about a scene, of as many kinds as it allows."""
    rng = np.random.default_rng([3, seed])
    found: dict[str, ReferringQuery] = {}
    kinds = [str(kind) for kind in rng.permutation(list(KINDS))]
    for _ in range(limit):
        for kind in kinds:
            query = _query(scene, kind, rng)
            if query and len(found) < limit:
                found.setdefault(query.text, query)
    return list(found.values())


def held_out_queries(
    seed: int, limit: int, styles: tuple[str, ...] = TRAIN_STYLES
) -> Iterator[tuple[SyntheticScene, ReferringQuery]]:
    """`limit` held-out scenes with one query each, the kinds taking turns.

    A smaller limit gives the beginning of the same stream.
    """
    return ((scene, query) for _, scene, query in held_out_scenes(seed, limit, styles))


def held_out_scenes(
    seed: int, limit: int, styles: tuple[str, ...] = TRAIN_STYLES
) -> Iterator[tuple[int, SyntheticScene, ReferringQuery]]:
    """`held_out_queries` with the seed that `compose` makes the scene of."""
    scene_seeds = itertools.count(seed * SCENES_PER_SEED)
    for kind in itertools.islice(itertools.cycle(KINDS), limit):
        for scene_seed in scene_seeds:
            scene = compose(scene_seed, styles=styles)
            query = _query(scene, kind, np.random.default_rng([4, scene_seed]))
            if query is not None:
                yield scene_seed, scene, query
                break


def _query(scene: SyntheticScene, kind: str, rng: np.random.Generator) -> ReferringQuery | None:
    options = list(KINDS[kind](_View(scene, rng)))
    if not options:
        return None
    option = options[int(rng.integers(len(options)))]
    text = option.texts[int(rng.integers(len(option.texts)))]
    return ReferringQuery(text, kind, option.targets, option.count)


class _View:
    """What the wording of queries needs to know about a scene."""

    def __init__(self, scene: SyntheticScene, rng: np.random.Generator) -> None:
        self.rng = rng
        self.objects = scene.objects
        names = sorted(set().union(*(obj.concepts for obj in scene.objects)))
        self.concepts = {name: tuple(scene.matching(name)) for name in names}
        self.areas: list[int] = [
            int(scene.mask(index).sum()) for index in range(len(scene.objects))
        ]
        height, width = scene.labels.shape
        self.centres: list[tuple[float, float]] = [
            ((box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height)
            for box in (obj.box for obj in scene.objects)
        ]
        """(x, y) of every thing's box, as shares of the picture's width and height."""
        self.close = 0.15 * min(height, width)
        """The gap (pixels) up to which "next to" sounds right."""

    def groups(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The concepts that name several things."""
        return ((name, members) for name, members in self.concepts.items() if len(members) > 1)

    def singles(self) -> Iterator[tuple[str, int]]:
        """The concepts that name one thing only; categories are left out, being odd landmarks."""
        for name, members in self.concepts.items():
            if len(members) == 1 and name not in CATEGORIES:
                yield name, members[0]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Up to `count` of the options, drawn at random."""
        return [options[int(index)] for index in self.rng.permutation(len(options))[:count]]

    def the(self, name: str) -> str:
        """A concept with its article, in the number that the scene asks for."""
        return f"the {name if len(self.concepts[name]) == 1 else plural(name)}"


def _indefinite(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _attribute(view: _View) -> Iterator[_Option]:
    for name, members in view.concepts.items():
        if " " not in name:
            continue
        color, noun = name.split()
        texts: tuple[str, ...]
        if len(members) == 1:
            texts = (
                f"the {name}",
                f"the {noun} that is {color}",
                f"find the {name}",
                f"Show me the {name}.",
            )
        else:
            texts = (
                f"the {plural(name)}",
                f"all {plural(name)}",
                f"all the {plural(name)}",
                f"every {name}",
                f"the {plural(noun)} that are {color}",
            )
        yield _Option(texts, members)


def _superlative(view: _View) -> Iterator[_Option]:
    for name, members in view.groups():
        by_area = sorted(members, key=lambda index: view.areas[index])
        if view.areas[by_area[1]] >= AREA_MARGIN * view.areas[by_area[0]]:
            yield _Option((f"the smallest {name}", f"smallest {name}"), (by_area[0],))
        if view.areas[by_area[-1]] >= AREA_MARGIN * view.areas[by_area[-2]]:
            yield _Option((f"the largest {name}", f"the biggest {name}"), (by_area[-1],))
        for axis, step, extremes, places in (
            (0, 1, ("leftmost",), ("on the far left", "furthest to the left")),
            (0, -1, ("rightmost",), ("on the far right", "furthest to the right")),
            (1, 1, ("topmost", "highest"), ("at the top", "closest to the top")),
            (1, -1, ("bottommost", "lowest"), ("at the bottom", "closest to the bottom")),
        ):
            first, second = _in_order(view, members, axis)[::step][:2]
            if _apart(view, first, second, axis):
                before = [f"the {extreme} {name}" for extreme in extremes]
                after = [f"the {name} {place}" for place in places]
                yield _Option((*before, *after), (first,))


def _ordinal(view: _View) -> Iterator[_Option]:
    for name, members in view.groups():
        for axis, sides in ((0, ("left", "right")), (1, ("top", "bottom"))):
            order = _in_order(view, members, axis)
            if not all(_apart(view, *pair, axis) for pair in itertools.pairwise(order)):
                continue
            for side, ranked in zip(sides, (order, order[::-1]), strict=True):
                for rank, index in enumerate(ranked[1:], start=1):
                    word = ORDINALS[rank]
                    texts = (
                        f"the {word} {name} from the {side}",
                        f"{word} {name} from the {side}",
                        f"the {NUMERALS[rank]} {name} from the {side}",
                        f"the {name} that is {word} from the {side}",
                    )
                    yield _Option(texts, (index,))


def _relation(view: _View) -> Iterator[_Option]:
    for landmark, anchor in view.singles():
        for name, members in view.concepts.items():
            if anchor in members:
                continue
            for axis, sign, wordings in DIRECTIONS:
                targets = _beyond(view, members, anchor, axis, sign)
                if targets and len(targets) < len(members):
                    subject = name if len(targets) == 1 else plural(name)
                    texts = tuple(f"the {subject} {words} the {landmark}" for words in wordings)
                    yield _Option(texts, targets)
            nearest = _nearest(view, members, anchor)
            if nearest is not None:
                gap = box_gap(view.objects[nearest].box, view.objects[anchor].box)
                near = ("next to", "beside", "nearest to") if gap < view.close else ("closest to",)
                yield _Option(
                    tuple(f"the {name} {words} the {landmark}" for words in near), (nearest,)
                )


def _exclusion(view: _View) -> Iterator[_Option]:
    for whole, members in view.groups():
        for part, left_out in view.concepts.items():
            rest = tuple(index for index in members if index not in left_out)
            if len(rest) < 2 or len(rest) + len(left_out) != len(members):
                continue
            if part.endswith(f" {whole}"):
                exception = f"the {part.split()[0]} {'one' if len(left_out) == 1 else 'ones'}"
            else:
                exception = view.the(part)
            texts = (
                f"all {plural(whole)} except {exception}",
                f"all the {plural(whole)} but {exception}",
                f"every {whole} except {exception}",
                f"all {plural(whole)} other than {exception}",
            )
            yield _Option(texts, rest)
    if len(view.objects) > 2 and view.rng.random() < 0.15:
        for name, index in view.singles():
            rest = tuple(other for other in range(len(view.objects)) if other != index)
            yield _Option((f"everything except the {name}", f"everything but the {name}"), rest)


def _union(view: _View) -> Iterator[_Option]:
    for first, firsts in view.concepts.items():
        for second, seconds in view.concepts.items():
            if first == second or set(firsts) & set(seconds):
                continue
            one, other = view.the(first), view.the(second)
            texts = (
                f"{one} and {other}",
                f"{one} as well as {other}",
                f"both {one} and {other}",
                f"Find {one} and {other}.",
            )
            yield _Option(texts, tuple(sorted(firsts + seconds)))


def _counting(view: _View) -> Iterator[_Option]:
    for name, members in view.concepts.items():
        yield _Option(_count_texts(name), members, len(members))


def _no_target(view: _View) -> Iterator[_Option]:
    for number, name in enumerate(_absent_concepts(view)):
        texts = [
            f"the {name}",
            f"all {plural(name)}",
            f"is there {_indefinite(name)}?",
            f"Are there any {plural(name)}?",
            f"the largest {name}",
        ]
        texts += [f"the {name} to the left of the {anchor}" for anchor, _ in view.singles()][:1]
        yield _Option(tuple(texts), ())
        if number % 4 == 0:
            yield _Option(_count_texts(name), (), 0)
    on_the_wrong_side = [
        _Option(tuple(f"the {name} {words} the {landmark}" for words in wordings), ())
        for landmark, anchor in view.singles()
        for name, member in view.singles()
        for axis, sign, wordings in DIRECTIONS
        if member != anchor and _beyond(view, (member,), anchor, axis, sign) == ()
    ]
    yield from view.some(on_the_wrong_side, 4)


def _absent_concepts(view: _View) -> Iterator[str]:
    """Names of nothing in the scene, most of them close to something in it."""
    nouns = sorted({obj.noun for obj in view.objects})
    wrong_colors = (f"{color} {noun}" for noun in nouns if noun in COLORABLE for color in COLORS)
    siblings = (
        sibling
        for family in CATEGORIES.values()
        for sibling in family
        if any(noun in family for noun in nouns)
    )
    close = [name for name in (*wrong_colors, *siblings) if name not in view.concepts]
    others = [name for name in (*NOUNS, *CATEGORIES) if name not in (*view.concepts, *close)]
    yield from view.some(close, 8)
    yield from view.some(others, 3)
    yield from view.some(unrelated_words("heldout"), 2)


def _count_texts(name: str) -> tuple[str, ...]:
    many = plural(name)
    return (
        f"how many {many} are there",
        f"How many {many} are there?",
        f"how many {many} can you see?",
        f"count the {many}",
    )


def _beyond(
    view: _View, members: tuple[int, ...], anchor: int, axis: int, sign: int
) -> tuple[int, ...] | None:
    """The members on one side of the anchor; None if one of them is too close to call."""
    if not all(_apart(view, index, anchor, axis, RELATION_MARGIN) for index in members):
        return None
    start = view.centres[anchor][axis]
    return tuple(index for index in members if sign * (view.centres[index][axis] - start) > 0)


def _in_order(view: _View, members: tuple[int, ...], axis: int) -> list[int]:
    return sorted(members, key=lambda index: view.centres[index][axis])


def _apart(view: _View, first: int, second: int, axis: int, margin: float = ORDER_MARGIN) -> bool:
    distance = abs(view.centres[first][axis] - view.centres[second][axis])
    return distance >= margin


def _nearest(view: _View, members: tuple[int, ...], anchor: int) -> int | None:
    """The one of several things that is nearest to the anchor by a clear margin."""
    if len(members) < 2:
        return None
    gaps = {index: box_gap(view.objects[index].box, view.objects[anchor].box) for index in members}
    near, second = sorted(members, key=gaps.__getitem__)[:2]
    clear = view.close / 3
    if gaps[second] < max(NEARNESS_MARGIN * gaps[near], gaps[near] + clear):
        return None
    return near


def box_gap(first: Box, second: Box) -> float:
    """The distance in pixels between two boxes (x0, y0, x1, y1); 0 if they touch or overlap."""
    x = max(first[0] - second[2], second[0] - first[2], 0)
    y = max(first[1] - second[3], second[1] - first[3], 0)
    return float(np.hypot(x, y))


KINDS: dict[str, Callable[[_View], Iterator[_Option]]] = {
    "attribute": _attribute,
    "superlative": _superlative,
    "ordinal": _ordinal,
    "relation": _relation,
    "exclusion": _exclusion,
    "union": _union,
    "counting": _counting,
    "no_target": _no_target,
}
"""The kinds of query, each with what makes them."""
