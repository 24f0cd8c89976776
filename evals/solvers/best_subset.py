"""The best choice among masks, for one who knows the truth."""

from collections.abc import Sequence

from pycocotools import mask as coco

from sam3_agent.masks import Masks
from sam3_agent.rle import RLE


def best_subset(found: Masks, truth: Masks) -> list[int]:
    """Indexes of those masks of `found` whose union has the highest IoU with that of `truth`.

    A mask is added or left out as long as that raises the IoU: exact where the masks do not
    overlap, else close to it. Nothing when the truth is empty.
    """
    if not len(truth) or not len(found):
        return []
    target = _union(truth.rles)
    chosen: list[int] = []
    best = 0.0
    inside = [i for i in range(len(found)) if _iou([found.rles[i]], target) > 0]
    while True:
        moves = [[*chosen, i] for i in inside if i not in chosen]
        moves += [[i for i in chosen if i != out] for out in chosen if len(chosen) > 1]
        ious = [_iou([found.rles[i] for i in move], target) for move in moves]
        if not ious or max(ious) <= best:
            return sorted(chosen)
        best = max(ious)
        chosen = moves[ious.index(best)]


def _union(rles: Sequence[RLE]) -> RLE:
    merged: RLE = coco.merge(list(rles))
    return merged


def _iou(rles: Sequence[RLE], target: RLE) -> float:
    return float(coco.iou([_union(rles)], [target], [0])[0, 0])
