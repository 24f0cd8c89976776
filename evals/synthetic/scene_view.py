"""Geometry of a synthetic scene: sides, orders and nearness of objects, with margins.

Left and right go by box centre x, above and below by centre y, "next to" by the gap between boxes.
Where two objects are too close to call, there is no result.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from sam3_agent.evals.synthetic.scenes import SyntheticScene
from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.vocabulary import CATEGORIES

ORDER_MARGIN = 0.05
"""Least distance between two centres in an order, as a share of the image's width or height."""
RELATION_MARGIN = 0.08
"""Least distance between an object's centre and its landmark's, as a share likewise."""
NEARNESS_MARGIN = 1.5
"""Least ratio between the gaps to the second nearest and to the nearest object."""

T = TypeVar("T")


class SceneView:
    """The concepts, areas and places of a scene's objects, as queries compare them."""

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
        """(x, y) of every object's box, as shares of the image's width and height."""
        self.close = 0.15 * min(height, width)
        """The gap in pixels up to which objects are "next to" each other."""

    def groups(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yields the concepts that name several objects."""
        return ((name, members) for name, members in self.concepts.items() if len(members) > 1)

    def singles(self) -> Iterator[tuple[str, int]]:
        """Yields the concepts that name one object, without categories, which are odd landmarks."""
        for name, members in self.concepts.items():
            if len(members) == 1 and name not in CATEGORIES:
                yield name, members[0]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Draws up to `count` of the options."""
        return [options[int(index)] for index in self.rng.permutation(len(options))[:count]]

    def the(self, name: str) -> str:
        """Returns a concept with its article, in the plural where it names several objects."""
        return f"the {name if len(self.concepts[name]) == 1 else plural(name)}"

    def beyond(
        self, members: tuple[int, ...], anchor: int, axis: int, sign: int
    ) -> tuple[int, ...] | None:
        """Returns the members on one side of the anchor; None if one is too close to call."""
        # one doubtful member spoils the set: it might be a target or not
        if not all(self.apart(index, anchor, axis, RELATION_MARGIN) for index in members):
            return None
        start = self.centres[anchor][axis]
        return tuple(index for index in members if sign * (self.centres[index][axis] - start) > 0)

    def in_order(self, members: tuple[int, ...], axis: int) -> list[int]:
        """Sorts members by their centres, left to right (axis 0) or top to bottom (1)."""
        return sorted(members, key=lambda index: self.centres[index][axis])

    def apart(self, first: int, second: int, axis: int, margin: float = ORDER_MARGIN) -> bool:
        """Whether two centres are at least `margin` apart along an axis."""
        distance = abs(self.centres[first][axis] - self.centres[second][axis])
        return distance >= margin

    def nearest(self, members: tuple[int, ...], anchor: int) -> int | None:
        """Returns the member that is nearest to the anchor by a clear margin; None without one."""
        if len(members) < 2:
            return None
        gaps = {index: self.gap(index, anchor) for index in members}
        near, second = sorted(members, key=gaps.__getitem__)[:2]
        clear = self.close / 3
        # a ratio alone says nothing where the nearest one touches the anchor (a gap of 0)
        if gaps[second] < max(NEARNESS_MARGIN * gaps[near], gaps[near] + clear):
            return None
        return near

    def gap(self, first: int, second: int) -> float:
        """Computes the distance in pixels between two boxes; 0 where they touch or overlap."""
        one, other = self.objects[first].box, self.objects[second].box
        x = max(one[0] - other[2], other[0] - one[2], 0)
        y = max(one[1] - other[3], other[1] - one[3], 0)
        return float(np.hypot(x, y))
