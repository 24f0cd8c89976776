"""From the low-resolution mask of a model to a mask at image resolution.

Meta's code enlarges the logits of every mask to the whole image, bilinearly, pixel centres aligned
(torch's `align_corners=False`), and takes what is above zero. Here only the rectangle in which a
mask can be true is enlarged; the values inside are the same.
"""

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sam3_agent.errors import SegmenterError
from sam3_agent.geometry import Size
from sam3_agent.rle import RLE, BoolArray, encode_crop

FloatGrid: TypeAlias = npt.NDArray[np.float32]


def decode_mask(logits: FloatGrid, size: Size) -> RLE | None:
    """The RLE at image size (H, W) of one mask given as (h, w) logits; None when it is empty.

    Raises SegmenterError for logits that are no finite numbers.
    """
    refuse_not_finite("masks", logits)
    above = logits > 0
    if not above.any():
        return None
    rows = _Enlarger(size[0], above.max(axis=1))
    columns = _Enlarger(size[1], above.max(axis=0))
    patch = np.ascontiguousarray(logits[rows.source, columns.source].T)
    crop: BoolArray = rows.apply(columns.apply(patch).T) > 0
    if not crop.any():
        return None
    return encode_crop(crop, (columns.start, rows.start), size)


def refuse_not_finite(what: str, *values: Any) -> None:
    """Raises SegmenterError for arrays or tensors, of a model's output, with NaN or infinity.

    A sum is NaN or infinite if a value is, and costs a fortieth of looking at each value.
    """
    if not all(math.isfinite(float(array.sum())) for array in values):
        raise SegmenterError(
            f"the model computed {what} that are no finite numbers: its weights are damaged, or "
            "the device lacks precision; copy or download the checkpoint again, or use device='cpu'"
        )


class _Enlarger:
    """Linear interpolation along one axis, for the output positions that a mask can reach.

    start: the first of them. source: the input positions that they are made of.
    """

    def __init__(self, target: int, occupied: npt.NDArray[np.bool_]) -> None:
        length = len(occupied)
        first, last = np.flatnonzero(occupied)[[0, -1]]
        scale = target / length
        # a value above zero needs a neighbour above zero, at most one cell away
        self.start = max(0, int(np.floor((first - 0.5) * scale)) - 1)
        stop = min(target, int(np.ceil((last + 1.5) * scale)) + 1)
        position = (np.arange(self.start, stop, dtype=np.float32) + 0.5) / np.float32(scale) - 0.5
        position = position.clip(0, length - 1)
        low = position.astype(np.intp)
        high = np.minimum(low + 1, length - 1)
        self.source = slice(int(low[0]), int(high[-1]) + 1)
        self._low, self._high = low - low[0], high - low[0]
        self._weight = (position - low).astype(np.float32)[:, None]

    def apply(self, values: FloatGrid) -> FloatGrid:
        """The values at `source`, (k, n), to (stop - start, n)."""
        low: FloatGrid = values[self._low]
        low += (values[self._high] - low) * self._weight
        return low
