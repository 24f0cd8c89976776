"""The best choice among masks, given the ground truth."""

from sam3_agent.evals.metrics import mask_overlap
from sam3_agent.masks import Masks


def best_subset(found: Masks, truth: Masks) -> list[int]:
    """Returns the indexes of those masks of `found` whose union has the highest IoU with `truth`.

    Greedy: adds or removes one mask as long as that raises the IoU, which is exact where the masks
    do not overlap and close to it elsewhere. Empty where the truth is.
    """
    if not len(truth) or not len(found):
        return []
    target = truth.union()
    chosen: list[int] = []
    best = 0.0
    # masks without a common pixel can only lower the IoU
    touching = [i for i in range(len(found)) if mask_overlap(found[[i]], target).intersection]
    while True:
        moves = [[*chosen, i] for i in touching if i not in chosen]
        # a mask that helped at first may later be in the way of two better ones
        if len(chosen) > 1:
            moves += [[i for i in chosen if i != removed] for removed in chosen]
        ious = [mask_overlap(found[move], target).iou() for move in moves]
        if not ious or max(ious) <= best:
            return sorted(chosen)
        best = max(ious)
        chosen = moves[ious.index(best)]
