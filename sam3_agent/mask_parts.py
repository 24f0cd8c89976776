"""The connected parts of a mask, and masks without stray pixels or thicker by some pixels."""

import numpy as np

from sam3_agent.rle import BoolArray

STRAY_SHARE, STRAY_AREA = 0.1, 64
"""A connected part of a mask is stray below this share of the largest part and so many pixels."""


class Groups:
    """Items 0..count-1 in groups, at first each alone; all joins together take count log count.

    members: the items of each group.
    """

    def __init__(self, count: int) -> None:
        self.members = {i: [i] for i in range(count)}
        self._name = list(range(count))

    def of(self, item: int) -> list[int]:
        """The group of an item."""
        return self.members[self._name[item]]

    def join(self, first: int, second: int) -> None:
        """Make one group of the groups of two items."""
        names = {self._name[first], self._name[second]}
        if len(names) > 1:
            # the smaller group moves; of equal ones that of the later name
            other, kept = sorted(names, key=lambda name: (len(self.members[name]), -name))
            moved = self.members.pop(other)
            self.members[kept] += moved
            for item in moved:
                self._name[item] = kept


def without_stray_pixels(crop: BoolArray) -> BoolArray:
    """(h, w) bool: a mask without its stray parts, see STRAY_SHARE.

    Works on runs of pixels in a row: two runs in neighbouring rows are connected when they touch,
    be it at a corner.
    """
    below = crop.shape[1] + 1  # one false pixel ends each row, so that no run enters the next
    steps = np.diff(np.pad(crop, ((0, 0), (0, 1))).ravel().view(np.int8), prepend=0)
    starts, ends = np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)
    # the runs of the row below that touch run i are those from first[i] up to last[i]
    first = np.searchsorted(ends, starts + below).tolist()
    last = np.searchsorted(starts, ends + below, side="right").tolist()
    parts = Groups(len(starts))
    for run in range(len(starts)):
        for touching in range(first[run], last[run]):
            parts.join(run, touching)
    lengths = ends - starts
    sizes = {name: lengths[runs].sum() for name, runs in parts.members.items()}
    least = min(STRAY_AREA, STRAY_SHARE * max(sizes.values()))
    kept = crop.copy()
    for name, runs in parts.members.items():
        if sizes[name] < least:
            for run in runs:
                row, column = divmod(int(starts[run]), below)
                kept[row, column : column + int(lengths[run])] = False
    return kept


def dilated(crop: BoolArray, steps: int) -> BoolArray:
    """(h + 2 steps, w + 2 steps) bool: the pixels within so many rows and columns of a mask."""
    crop = np.pad(crop, steps)
    for axis in (0, 1):
        shifts = range(-steps, steps + 1)
        crop = np.logical_or.reduce([np.roll(crop, shift, axis) for shift in shifts])
    return crop


def eroded(crop: BoolArray, steps: int) -> BoolArray:
    """(h, w) bool: the pixels of a mask more than so many steps away from its edge."""
    inner = np.pad(crop, 1)
    for _ in range(steps):
        across = inner[1:-1, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        inner[1:-1, 1:-1] = across & inner[:-2, 1:-1] & inner[2:, 1:-1]
    return inner[1:-1, 1:-1]
