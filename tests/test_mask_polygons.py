"""Outlines of masks as polygons: exact along pixel edges, with holes, or simplified."""

import time

import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.mask_polygons import MAX_EDGES, Polygon, mask_polygons
from sam3_agent.rle import BoolArray


def filled(polygons: list[Polygon], height: int, width: int) -> BoolArray:
    """The pixels of polygons: COCO fills each outline, holes are taken out."""
    out = np.zeros((height, width), np.bool_)
    for outline, *holes in polygons:
        one = coco.decode(coco.merge(coco.frPyObjects([outline], height, width))).astype(np.bool_)
        for hole in holes:
            one &= ~coco.decode(coco.merge(coco.frPyObjects([hole], height, width))).astype(
                np.bool_
            )
        assert not (out & one).any()
        out |= one
    return out


def corners(polygons: list[Polygon]) -> int:
    return sum(len(ring) // 2 for rings in polygons for ring in rings)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_polygons_of_any_mask_are_the_mask(share: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        height, width = rng.integers(1, 16, 2)
        mask = rng.random((height, width)) < share
        assert (filled(mask_polygons(mask), height, width) == mask).all()


def test_a_hole_belongs_to_its_polygon_and_an_island_in_it_is_another() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[0:7, 0:7] = True
    mask[1:6, 1:6] = False
    mask[3, 3] = True
    mask[8, 8] = True
    assert mask_polygons(mask, (10, 20)) == [
        [[10, 20, 17, 20, 17, 27, 10, 27], [11, 26, 16, 26, 16, 21, 11, 21]],
        [[13, 23, 14, 23, 14, 24, 13, 24]],
        [[18, 28, 19, 28, 19, 29, 18, 29]],
    ]
    assert mask_polygons(np.zeros((3, 3), np.bool_)) == []


def test_a_tolerance_leaves_out_corners_and_keeps_the_shape() -> None:
    y, x = np.mgrid[:300, :400]
    ring = (np.hypot(x - 200, y - 150) < 120) & (np.hypot(x - 190, y - 160) >= 40)
    exact, simple = mask_polygons(ring), mask_polygons(ring, tolerance=1.0)
    assert corners(simple) < corners(exact) / 5
    assert [len(rings) for rings in simple] == [2]
    again = filled(simple, 300, 400)
    assert (again & ring).sum() / (again | ring).sum() > 0.98
    # what would vanish is kept as it is
    dot = np.ones((1, 1), np.bool_)
    assert mask_polygons(dot, tolerance=50.0) == [[[0, 0, 1, 0, 1, 1, 0, 1]]]


def test_the_time_grows_with_the_outline_and_has_an_end() -> None:
    seconds = []
    for side in (100, 200):
        mask = np.random.default_rng(1).random((side, side)) < 0.5
        began = time.process_time()
        mask_polygons(mask, tolerance=1.0)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 12 * max(seconds[0], 0.02)
    with pytest.raises(InputError, match=f"more than the {MAX_EDGES}"):
        mask_polygons(np.indices((700, 700)).sum(axis=0) % 2 == 0)
