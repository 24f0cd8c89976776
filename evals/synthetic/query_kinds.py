"""The kinds of referring queries: which targets a scene allows, and how they are worded."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sam3_agent.evals.synthetic.concept_phrases import unrelated_words
from sam3_agent.evals.synthetic.scene_view import SceneView
from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

AREA_MARGIN = 1.25
"""Least ratio between the two areas that a superlative compares."""

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
NUMERALS = ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th")

DIRECTIONS = (
    (0, -1, ("to the left of", "left of")),
    (0, 1, ("to the right of", "right of")),
    (1, -1, ("above", "higher than")),
    (1, 1, ("below", "under")),
)
"""Relations: axis (0: x, 1: y), sign of the direction from the landmark, and wordings."""


@dataclass(frozen=True)
class QueryOption:
    """A set of targets that a scene allows, with equivalent wordings; count: of "how many"."""

    texts: tuple[str, ...]
    targets: tuple[int, ...]
    count: int | None = None


def _indefinite(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _attribute(view: SceneView) -> Iterator[QueryOption]:
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
        yield QueryOption(texts, members)


def _superlative(view: SceneView) -> Iterator[QueryOption]:
    for name, members in view.groups():
        # the next in size has to differ clearly; all others differ more
        by_area = sorted(members, key=lambda index: view.areas[index])
        if view.areas[by_area[1]] >= AREA_MARGIN * view.areas[by_area[0]]:
            yield QueryOption((f"the smallest {name}", f"smallest {name}"), (by_area[0],))
        if view.areas[by_area[-1]] >= AREA_MARGIN * view.areas[by_area[-2]]:
            yield QueryOption((f"the largest {name}", f"the biggest {name}"), (by_area[-1],))
        for axis, step, extremes, places in (
            (0, 1, ("leftmost",), ("on the far left", "furthest to the left")),
            (0, -1, ("rightmost",), ("on the far right", "furthest to the right")),
            (1, 1, ("topmost", "highest"), ("at the top", "closest to the top")),
            (1, -1, ("bottommost", "lowest"), ("at the bottom", "closest to the bottom")),
        ):
            first, second = view.in_order(members, axis)[::step][:2]
            if view.apart(first, second, axis):
                before = [f"the {extreme} {name}" for extreme in extremes]
                after = [f"the {name} {place}" for place in places]
                yield QueryOption((*before, *after), (first,))


def _ordinal(view: SceneView) -> Iterator[QueryOption]:
    for name, members in view.groups():
        for axis, sides in ((0, ("left", "right")), (1, ("top", "bottom"))):
            order = view.in_order(members, axis)
            # a rank depends on every pair of neighbours in the order
            if not all(view.apart(*pair, axis) for pair in itertools.pairwise(order)):
                continue
            for side, ranked in zip(sides, (order, order[::-1]), strict=True):
                # from the second on: the first one is the leftmost or topmost of the superlatives
                for rank, index in enumerate(ranked[1:], start=1):
                    word = ORDINALS[rank]
                    texts = (
                        f"the {word} {name} from the {side}",
                        f"{word} {name} from the {side}",
                        f"the {NUMERALS[rank]} {name} from the {side}",
                        f"the {name} that is {word} from the {side}",
                    )
                    yield QueryOption(texts, (index,))


def _relation(view: SceneView) -> Iterator[QueryOption]:
    for landmark, anchor in view.singles():
        for name, members in view.concepts.items():
            if anchor in members:
                continue
            for axis, sign, wordings in DIRECTIONS:
                targets = view.beyond(members, anchor, axis, sign)
                # a relation that holds for all of them, or for none, tells nothing apart
                if targets and len(targets) < len(members):
                    subject = name if len(targets) == 1 else plural(name)
                    texts = tuple(f"the {subject} {words} the {landmark}" for words in wordings)
                    yield QueryOption(texts, targets)
            nearest = view.nearest(members, anchor)
            if nearest is not None:
                gap = view.gap(nearest, anchor)
                # far away, but nearer than the others, is only "closest to"
                near = ("next to", "beside", "nearest to") if gap < view.close else ("closest to",)
                yield QueryOption(
                    tuple(f"the {name} {words} the {landmark}" for words in near), (nearest,)
                )


def _exclusion(view: SceneView) -> Iterator[QueryOption]:
    for whole, members in view.groups():
        for part, left_out in view.concepts.items():
            rest = tuple(index for index in members if index not in left_out)
            # "all ... except" needs two that are left, and an exception that is a part of the whole
            if len(rest) < 2 or len(rest) + len(left_out) != len(members):
                continue
            # "all cars except the red one" rather than "except the red car"
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
            yield QueryOption(texts, rest)
    # rarely, so that these do not outnumber the other exclusions
    if len(view.objects) > 2 and view.rng.random() < 0.15:
        for name, index in view.singles():
            rest = tuple(other for other in range(len(view.objects)) if other != index)
            yield QueryOption((f"everything except the {name}", f"everything but the {name}"), rest)


def _union(view: SceneView) -> Iterator[QueryOption]:
    for first, firsts in view.concepts.items():
        for second, seconds in view.concepts.items():
            # "the red cars and the cars" would name some of them twice
            if first == second or set(firsts) & set(seconds):
                continue
            one, other = view.the(first), view.the(second)
            texts = (
                f"{one} and {other}",
                f"{one} as well as {other}",
                f"both {one} and {other}",
                f"Find {one} and {other}.",
            )
            yield QueryOption(texts, tuple(sorted(firsts + seconds)))


def _counting(view: SceneView) -> Iterator[QueryOption]:
    for name, members in view.concepts.items():
        yield QueryOption(_count_texts(name), members, len(members))


def _no_target(view: SceneView) -> Iterator[QueryOption]:
    for number, name in enumerate(_absent_concepts(view)):
        texts = [
            f"the {name}",
            f"all {plural(name)}",
            f"is there {_indefinite(name)}?",
            f"Are there any {plural(name)}?",
            f"the largest {name}",
        ]
        texts += [f"the {name} to the left of the {anchor}" for anchor, _ in view.singles()][:1]
        yield QueryOption(tuple(texts), ())
        if number % 4 == 0:
            yield QueryOption(_count_texts(name), (), 0)
    on_the_wrong_side = [
        QueryOption(tuple(f"the {name} {words} the {landmark}" for words in wordings), ())
        for landmark, anchor in view.singles()
        for name, member in view.singles()
        for axis, sign, wordings in DIRECTIONS
        # there is such an object, but on the other side; None would be too close to call
        if member != anchor and view.beyond((member,), anchor, axis, sign) == ()
    ]
    yield from view.some(on_the_wrong_side, 4)


def _absent_concepts(view: SceneView) -> Iterator[str]:
    """Yields names of nothing in the scene, most of them close to an object in it."""
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


KINDS: dict[str, Callable[[SceneView], Iterator[QueryOption]]] = {
    "attribute": _attribute,
    "superlative": _superlative,
    "ordinal": _ordinal,
    "relation": _relation,
    "exclusion": _exclusion,
    "union": _union,
    "counting": _counting,
    "no_target": _no_target,
}
"""The kinds of query, each with the function that yields its options."""
