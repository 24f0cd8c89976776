"""The best choice among masks, given the ground truth."""

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, merge_masks


def best_subset(found: Masks, truth: Masks) -> list[int]:
    """Returns the indexes of those masks of `found` whose union has the highest IoU with `truth`.

    Greedy: adds or removes one mask as long as that raises the IoU, which is exact where the masks
    do not overlap and close to it elsewhere. Empty where the truth is.
    """
    if not len(truth) or not len(found):
        return []
    choice = _Choice(found, truth.union())
    best = 0.0
    while True:
        # a mask that helped at first may later be in the way of two better ones
        removable = choice.chosen if len(choice.chosen) > 1 else []
        # masks without a common pixel can only lower the IoU
        moves = [i for i in choice.touching if i not in choice.order] + removable
        ious = choice.ious(moves)
        if not moves or ious.max() <= best:
            return sorted(choice.chosen)
        best = float(ious.max())
        choice.toggle(moves[int(ious.argmax())])


class _Choice:
    """Chosen masks, and how many pixels each mask adds to their union, or would take from it.

    A mask's own pixels are those that no other chosen mask has. They change only when a mask that
    it overlaps is chosen or removed, so that no step looks at all masks again.
    """

    def __init__(self, found: Masks, target: Masks) -> None:
        self.order: dict[int, None] = {}
        self._rles = list(found.rles)
        self._shared: list[RLE] = [
            coco.merge([rle, target.rles[0]], intersect=True) for rle in found.rles
        ]
        self._areas = found.areas()
        self._overlaps = np.array([coco.area(one) for one in self._shared], np.int64)
        self._own, self._own_shared = self._areas.copy(), self._overlaps.copy()
        self._near = found.overlap(found) > 0
        self._area, self._intersection = 0, 0
        self._target = int(target.areas()[0])
        self.touching = [int(i) for i in np.flatnonzero(self._overlaps)]

    @property
    def chosen(self) -> list[int]:
        """The indexes of the chosen masks in the order in which they were chosen."""
        return list(self.order)

    def ious(self, moves: list[int]) -> npt.NDArray[np.float64]:
        """(N,) IoU of the union with the target after each move: a mask added, or removed."""
        sign = np.array([-1 if i in self.order else 1 for i in moves], np.int64)
        shared = self._intersection + sign * self._own_shared[moves]
        either = self._area + sign * self._own[moves] + self._target - shared
        ious: npt.NDArray[np.float64] = shared / np.maximum(either, 1)
        return ious

    def toggle(self, move: int) -> None:
        """Adds a mask to the chosen ones, or removes it."""
        sign = -1 if move in self.order else 1
        self._area += sign * int(self._own[move])
        self._intersection += sign * int(self._own_shared[move])
        if sign > 0:
            self.order[move] = None
        else:
            del self.order[move]
        for i in np.flatnonzero(self._near[move]):
            others = [self._rles[j] for j in self.order if j != i and self._near[i, j]]
            self._own[i], self._own_shared[i] = self._areas[i], self._overlaps[i]
            if others:
                union = merge_masks(others)
                self._own[i] -= _common(self._rles[i], union)
                self._own_shared[i] -= _common(self._shared[i], union)


def _common(first: RLE, second: RLE) -> int:
    return int(coco.area(coco.merge([first, second], intersect=True)))
