"""Metrics as pure functions, equal to the original implementations."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sam3_agent.rle import BoolArray

Protocol = Literal["lisa", "segzero"]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)


def reasonseg(
    samples: Iterable[tuple[BoolArray, BoolArray, BoolArray | None]], protocol: Protocol = "lisa"
) -> dict[str, float]:
    """gIoU (mean of the IoUs) and cIoU (sum of intersections over sum of unions), both 0..1.

    A sample is (pred, truth, ignore or None), each (H, W) bool. The literature has two protocols:
    `lisa` leaves ignored pixels out and counts an empty union as IoU 1 (LISA, arXiv 2308.00692);
    `segzero` counts ignored pixels as target and an empty union as IoU 0 (Seg-Zero, arXiv
    2503.06520, and VisionReasoner).
    """
    ious, intersections, unions = [], 0, 0
    for pred, truth, ignore in samples:
        if ignore is not None and protocol == "lisa":
            pred, truth = pred & ~ignore, truth & ~ignore
        elif ignore is not None:
            truth = truth | ignore
        intersection = int(np.count_nonzero(pred & truth))
        union = int(np.count_nonzero(pred | truth))
        empty = 1.0 if protocol == "lisa" else 0.0
        ious.append(intersection / union if union else empty)
        intersections += intersection
        unions += union
    return {
        "giou": float(np.mean(ious)) if ious else 0.0,
        "ciou": intersections / unions if unions else 0.0,
        "n": len(ious),
    }


@dataclass(frozen=True, eq=False)
class ConceptSample:
    """One (image, phrase) pair: iou is (P, T), of P predictions (score >= 0.5) with T truths."""

    iou: npt.NDArray[np.float64]


def cgf1(samples: Iterable[ConceptSample]) -> dict[str, float]:
    """SA-Co's classification-gated F1 (arXiv 2511.16719, section 3; its evaluator's constants).

    cgf1 = 100 x pmf1 x il_mcc. pmf1: micro F1 over the pairs with at least one truth, after optimal
    matching, averaged over IoU .50:.05:.95. il_mcc: Matthews correlation of image-level presence
    (any prediction against any truth).
    """
    from scipy.optimize import linear_sum_assignment

    matched = np.zeros(len(IOU_THRESHOLDS))
    predictions = truths = 0
    presence = np.zeros((2, 2))
    for sample in samples:
        found, there = sample.iou.shape
        presence[int(there > 0), int(found > 0)] += 1
        if there:
            best = sample.iou[linear_sum_assignment(sample.iou, maximize=True)]
            matched += (best[:, None] >= IOU_THRESHOLDS).sum(axis=0)
            predictions += found
            truths += there
    precision = matched / (predictions + 1e-4)
    recall = matched / (truths + 1e-4)
    pmf1 = float(np.mean(2 * precision * recall / (precision + recall + 1e-4)))
    (tn, fp), (fn, tp) = presence
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    il_mcc = float((tp * tn - fp * fn) / (spread + 1e-6))
    return {"cgf1": 100 * pmf1 * il_mcc, "pmf1": pmf1, "il_mcc": il_mcc}
