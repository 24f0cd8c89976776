"""Metrics of referring segmentation, on unions of masks: ReasonSeg, RefCOCO, gRefCOCO."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sam3_agent.evals.metrics.bootstrap import Columns, Tally, as_original, ratio
from sam3_agent.evals.metrics.iou import Overlap, ReasonSegProtocol, pixel_overlap
from sam3_agent.rle import BoolArray

REFCOCO_PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
GREFCOCO_PRECISIONS = (0.7, 0.8, 0.9)


def reasonseg(
    samples: Iterable[tuple[BoolArray, BoolArray, BoolArray | None]],
    protocol: ReasonSegProtocol = "lisa",
) -> dict[str, float]:
    """Computes gIoU (mean IoU) and cIoU (sum of intersections over sum of unions), both 0..1.

    A sample is (pred, truth, ignore or None), each (H, W) bool; they are read one at a time. The
    literature has two protocols: `lisa` leaves ignored pixels out and counts an empty union as IoU
    1 (LISA, arXiv 2308.00692); `segzero`, the line of Seg-Zero, counts ignored pixels as target
    and an empty union as IoU 0, as VisionReasoner (arXiv 2505.12081) does. Seg-Zero's own code
    (arXiv 2503.06520) leaves such a sample out of both values.
    """
    overlaps = [pixel_overlap(pred, truth, ignore, protocol) for pred, truth, ignore in samples]
    return as_original(reasonseg_tally(overlaps, protocol).value())


def reasonseg_tally(overlaps: Sequence[Overlap], protocol: ReasonSegProtocol = "lisa") -> Tally:
    """Tallies the overlaps under that protocol."""
    # nothing answered where nothing is true: the one other point in which the protocols differ
    empty = 1.0 if protocol == "lisa" else 0.0
    return Tally(
        _columns([(overlap.iou(empty), *overlap, 1) for overlap in overlaps], 4),
        lambda sums: {"giou": ratio(sums[0], sums[3]), "ciou": ratio(sums[1], sums[2])},
    )


def refcoco(samples: Iterable[tuple[BoolArray, BoolArray]]) -> dict[str, float]:
    """Computes RefCOCO's cIoU (or oIoU), mIoU and the share of samples with IoU >= X, all 0..1.

    A sample is (pred, truth), each (H, W) bool. An empty union has IoU 0, as in LAVT (arXiv
    2112.02244) and later work.
    """
    overlaps = [pixel_overlap(pred, truth) for pred, truth in samples]
    return as_original(refcoco_tally(overlaps).value())


def refcoco_tally(overlaps: Sequence[Overlap]) -> Tally:
    """Tallies the overlaps."""

    def finish(sums: Columns) -> dict[str, float]:
        return {
            "ciou": ratio(sums[0], sums[1]),
            "miou": ratio(sums[2], sums[3]),
            **{
                f"pr@{least}": ratio(sums[4 + place], sums[3])
                for place, least in enumerate(REFCOCO_PRECISIONS)
            },
        }

    rows = [
        (*overlap, overlap.iou(), 1, *(overlap.iou() >= least for least in REFCOCO_PRECISIONS))
        for overlap in overlaps
    ]
    return Tally(_columns(rows, 4 + len(REFCOCO_PRECISIONS)), finish)


class TargetOverlap(NamedTuple):
    """An overlap, and whether prediction and truth are "no target"."""

    overlap: Overlap
    pred_is_no_target: bool
    truth_is_no_target: bool


def grefcoco(samples: Iterable[tuple[BoolArray, BoolArray, bool, bool]]) -> dict[str, float]:
    """Computes gRefCOCO's metrics as the evaluator of ReLA (arXiv 2306.00968), all 0..1.

    A sample is (pred, truth, pred_is_no_target, truth_is_no_target). A right "no target" has IoU 1
    and adds nothing to cIoU; a missed one has IoU 0 and adds its union; a false one has an
    empty intersection, whatever its mask. n_acc and t_acc: the accuracy on samples without and with
    a target, both 0 where every sample has one; pr@X over the samples with a target. 0 where the
    original divides by zero.
    """
    overlaps = [
        TargetOverlap(pixel_overlap(pred, truth), bool(pred_none), bool(truth_none))
        for pred, truth, pred_none, truth_none in samples
    ]
    tally = grefcoco_tally(overlaps)
    out = as_original(tally.finish(tally.columns.sum(axis=0)))
    # ReLA prints both accuracies as 0 for a set without no-target samples, whatever its t_acc is
    if not any(one.truth_is_no_target for one in overlaps):
        out["t_acc"] = 0.0
    return out


def grefcoco_tally(overlaps: Sequence[TargetOverlap]) -> Tally:
    """Tallies the overlaps; t_acc is defined also where every sample has a target."""

    def finish(sums: Columns) -> dict[str, float]:
        iou, intersection, union, count, absent, right_absent, present, right_present = sums[:8]
        return {
            "giou": ratio(iou, count),
            "ciou": ratio(intersection, union),
            "n_acc": ratio(right_absent, absent),
            "t_acc": ratio(right_present, present),
            **{
                f"pr@{least}": ratio(sums[8 + place], present)
                for place, least in enumerate(GREFCOCO_PRECISIONS)
            },
        }

    return Tally(_columns([_target_row(one) for one in overlaps], 11), finish)


def _target_row(one: TargetOverlap) -> tuple[float, ...]:
    # the columns: IoU, intersection, union, 1; no target, right; target, right; IoU >= .7, .8, .9
    if one.truth_is_no_target:
        right = one.pred_is_no_target
        # an empty truth makes the union all that was predicted
        return (right, 0, 0 if right else one.overlap.union, 1, 1, right, 0, 0, 0, 0, 0)
    # ReLA decides "no target" apart from the mask, so that a missed target may still have pixels
    missed = one.pred_is_no_target
    overlap = Overlap(0, one.overlap.union) if missed else one.overlap
    precise = [overlap.iou() >= least for least in GREFCOCO_PRECISIONS]
    return (overlap.iou(), *overlap, 1, 0, 0, 1, not missed, *precise)


def _columns(rows: Sequence[tuple[float, ...]], width: int) -> Columns:
    return np.array(rows, np.float64).reshape(-1, width)
