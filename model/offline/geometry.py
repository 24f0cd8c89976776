"""Orders and spatial relations of boxes: leftmost, largest, next to, between.

Left, right, above and below compare box centres, sizes mask areas, nearness the gap between boxes.
Lengths are pixels, x to the right and y down.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sam3_agent.geometry import Box, Size
from sam3_agent.model.offline.query_tree import Order, Place, Relation

SAME_BOX_IOU = 0.7
"""Masks whose boxes have at least this IoU are of the same object."""

NEAR_SHARE = 0.15
"""Objects are near each other up to a gap of this share of the picture's diagonal."""

REST_SHARE = 0.05
"""What is on an object may end so far above it, as a share of the picture's height."""


@dataclass(frozen=True)
class SceneObject:
    """A mask: its number, box (x0, y0, x1, y1), area in pixels and score in 0..1."""

    number: int
    box: Box
    area: int
    score: float

    @property
    def x(self) -> float:
        """The centre of the box."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        """The centre of the box."""
        return (self.box[1] + self.box[3]) / 2

    @property
    def width(self) -> float:
        """The width of the box."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """The height of the box."""
        return self.box[3] - self.box[1]


Objects: TypeAlias = Sequence[SceneObject]


def gap(one: SceneObject, other: SceneObject) -> float:
    """The distance between two boxes; 0 when they touch or overlap."""
    x = max(one.box[0] - other.box[2], other.box[0] - one.box[2], 0.0)
    y = max(one.box[1] - other.box[3], other.box[1] - one.box[3], 0.0)
    return math.hypot(x, y)


def same(one: SceneObject, other: SceneObject) -> bool:
    """Whether two masks are of the same object."""
    if one.number == other.number:
        return True
    shared = _shared(one, other)
    whole = one.width * one.height + other.width * other.height - shared
    return whole > 0 and shared / whole >= SAME_BOX_IOU


def distinct(objects: Iterable[SceneObject]) -> tuple[SceneObject, ...]:
    """Removes duplicates: of several masks of an object the first is kept."""
    kept: list[SceneObject] = []
    for obj in objects:
        if not any(same(obj, other) for other in kept):
            kept.append(obj)
    return tuple(kept)


def without(objects: Objects, others: Objects) -> tuple[SceneObject, ...]:
    """The objects that are the `same` as none of the others."""
    return tuple(obj for obj in objects if not any(same(obj, other) for other in others))


def ranked(objects: Objects, order: Order, size: Size) -> tuple[SceneObject, ...]:
    """The objects sorted by an order."""
    return tuple(sorted(objects, key=lambda obj: _ORDERS[order](obj, size)))


def placed(objects: Objects, place: Place, size: Size) -> tuple[SceneObject, ...]:
    """The objects whose centre is in a half or quarter of the picture, or its middle third."""
    return tuple(obj for obj in objects if _is_placed(obj, place, size))


def related(
    objects: Objects,
    relation: Relation,
    anchors: Objects,
    size: Size,
    *,
    every: bool = True,
) -> tuple[SceneObject, ...]:
    """The objects in a relation to every anchor, or to any, the nearest first.

    An anchor is not related to itself. "between" takes the anchors in pairs.
    """
    others = without(objects, anchors)
    if relation == "between":
        found = [obj for obj in others if _is_between(obj, anchors)]
    else:
        enough = all if every else any
        test = _RELATIONS[relation]
        found = [t for t in others if enough(test(t, anchor, size) for anchor in anchors)]
    return nearest(found, anchors, every=every)


def nearest(objects: Objects, anchors: Objects, *, every: bool) -> tuple[SceneObject, ...]:
    """The objects that are no anchors, by their gap to the nearest anchor, or to the farthest if
    `every`; equal gaps by the distance of centres."""
    chosen = max if every else min

    def distance(obj: SceneObject) -> tuple[float, float]:
        return (
            chosen(gap(obj, anchor) for anchor in anchors),
            chosen(math.hypot(obj.x - a.x, obj.y - a.y) for a in anchors),
        )

    return tuple(sorted(without(objects, anchors), key=distance))


def _shared(one: SceneObject, other: SceneObject) -> float:
    """The area that two boxes share."""
    width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    return max(width, 0.0) * max(height, 0.0)


def _corner(right: int, bottom: int) -> Callable[[SceneObject, Size], float]:
    """The distance to a corner, which is (0, 0) for the upper left."""
    return lambda obj, size: math.hypot(obj.x - right * size[1], obj.y - bottom * size[0])


_ORDERS: dict[Order, Callable[[SceneObject, Size], float]] = {
    "left": lambda obj, size: obj.x,
    "right": lambda obj, size: -obj.x,
    "top": lambda obj, size: obj.y,
    "bottom": lambda obj, size: -obj.y,
    "middle": lambda obj, size: math.hypot(obj.x - size[1] / 2, obj.y - size[0] / 2),
    "top left": _corner(0, 0),
    "top right": _corner(1, 0),
    "bottom left": _corner(0, 1),
    "bottom right": _corner(1, 1),
    "largest": lambda obj, size: -obj.area,
    "smallest": lambda obj, size: obj.area,
    "tallest": lambda obj, size: -obj.height,
    "shortest": lambda obj, size: obj.height,
    "widest": lambda obj, size: -obj.width,
    "narrowest": lambda obj, size: obj.width,
}


def _is_placed(obj: SceneObject, place: Place, size: Size) -> bool:
    height, width = size
    tests = {
        "left": obj.x < width / 2,
        "right": obj.x > width / 2,
        "top": obj.y < height / 2,
        "bottom": obj.y > height / 2,
        "middle": width / 3 <= obj.x <= 2 * width / 3 and height / 3 <= obj.y <= 2 * height / 3,
    }
    if place == "middle":
        return tests[place]
    return all(tests[side] for side in place.split())


def _is_near(obj: SceneObject, anchor: SceneObject, size: Size) -> bool:
    return gap(obj, anchor) <= NEAR_SHARE * math.hypot(*size)


def _is_inside(obj: SceneObject, anchor: SceneObject, size: Size) -> bool:
    """Most of its box is in the anchor's box, which is larger."""
    own = obj.width * obj.height
    return own < anchor.width * anchor.height and _shared(obj, anchor) >= 0.8 * own


def _is_on(obj: SceneObject, anchor: SceneObject, size: Size) -> bool:
    """The middle of its lower edge is in the anchor's box, or just above it."""
    x0, y0, x1, y1 = anchor.box
    bottom = obj.box[3]
    return x0 <= obj.x <= x1 and y0 - REST_SHARE * size[0] <= bottom <= y1 and obj.y < anchor.y


def _is_over(obj: SceneObject, anchor: SceneObject, size: Size) -> bool:
    """Its centre is higher, and the two overlap horizontally."""
    return obj.y < anchor.y and obj.box[0] < anchor.box[2] and anchor.box[0] < obj.box[2]


def _is_between(obj: SceneObject, anchors: Objects) -> bool:
    """Its centre is in the strip from one anchor to another."""
    return any(_is_in_strip(obj, *pair) for pair in itertools.combinations(anchors, 2))


def _is_in_strip(obj: SceneObject, one: SceneObject, other: SceneObject) -> bool:
    way, to = (other.x - one.x, other.y - one.y), (obj.x - one.x, obj.y - one.y)
    length = math.hypot(*way)
    if not length:
        return False
    # the centre in coordinates of the line between the anchors: along it, and off it to a side
    along = (way[0] * to[0] + way[1] * to[1]) / length
    beside = abs(way[0] * to[1] - way[1] * to[0]) / length
    # an object that touches or overlaps an anchor is beside it, not between
    first, last = (min(each.width, each.height, length / 2) / 2 for each in (one, other))
    widest = max(max(each.width, each.height) for each in (one, other))
    near = beside <= widest / 2 + max(obj.width, obj.height) / 4
    return near and first < along < length - last


_RELATIONS: dict[Relation, Callable[[SceneObject, SceneObject, Size], bool]] = {
    "left": lambda obj, anchor, size: obj.x < anchor.x,
    "right": lambda obj, anchor, size: obj.x > anchor.x,
    "above": lambda obj, anchor, size: obj.y < anchor.y,
    "below": lambda obj, anchor, size: obj.y > anchor.y,
    "over": _is_over,
    "under": lambda obj, anchor, size: _is_over(anchor, obj, size),
    "near": _is_near,
    "inside": _is_inside,
    "on": _is_on,
    "touching": lambda obj, anchor, size: gap(obj, anchor) <= 0.005 * math.hypot(*size),
    "larger": lambda obj, anchor, size: obj.area > anchor.area,
    "smaller": lambda obj, anchor, size: obj.area < anchor.area,
}
