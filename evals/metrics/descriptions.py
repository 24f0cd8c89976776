"""OmniLabel's average precision of boxes for categories and free-form descriptions.

Paper: arXiv 2304.11463. All (image, text) pairs of a group share one precision-recall curve; the
headline AP is the harmonic mean of the AP over categories and the AP over descriptions.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.errors import InputError

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DescribedPair:
    """One text asked of one image.

    kind: a category's name or a free-form description. words: how many the text has.
    truth: (T, 4) boxes x y w h; crowd: (T,) bool, those that count for nothing when missed.
    pred: (P, 4) boxes x y w h in the same unit; scores: (P,).
    """

    kind: Literal["category", "description"]
    words: int
    truth: Floats
    crowd: npt.NDArray[np.bool_]
    pred: Floats
    scores: Floats


GROUPS: dict[str, Callable[[DescribedPair], bool]] = {
    "categ": lambda pair: pair.kind == "category",
    "descr": lambda pair: pair.kind == "description",
    "descr-pos": lambda pair: pair.kind == "description" and len(pair.truth) > 0,
    "descr-S": lambda pair: pair.kind == "description" and pair.words <= 3,
    "descr-M": lambda pair: pair.kind == "description" and 4 <= pair.words <= 8,
    "descr-L": lambda pair: pair.kind == "description" and pair.words >= 9,
}


def omnilabel(
    truth: Path | str | Mapping[str, Any], predictions: Path | str | Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """The 13 values of omnilabeltools (0..1, -1 for a group without truth), from its two formats.

    truth: {"images", "descriptions", "annotations"}. predictions: [{"image_id", "bbox" [x, y, w,
    h], "description_ids", "scores"}]. See `average_precisions` for the names.
    """
    content = _read(truth) if isinstance(truth, str | Path) else truth
    if not {"images", "descriptions", "annotations"} <= set(content):
        raise InputError("no OmniLabel ground truth: images, descriptions or annotations missing")
    found = _read(predictions) if isinstance(predictions, str | Path) else predictions
    return average_precisions(_pairs(content, found))


def average_precisions(pairs: Iterable[DescribedPair]) -> dict[str, float]:
    """OmniLabel's metrics over pairs, in the order of the images' ids.

    `AP` (harmonic mean), `AP-<group>` over IoU .50:.05:.95, `AP50-` and `AP75-` for one IoU, `AR-`
    the mean of the recalls; groups: categ, descr, descr-pos (descriptions that mean something in
    their image), descr-S, -M, -L (up to 3, 4 to 8, and more words).
    """
    asked = list(pairs)
    matches = [_match(pair) for pair in asked]
    curves = {
        name: _curve([match for pair, match in zip(asked, matches, strict=True) if holds(pair)])
        for name, holds in GROUPS.items()
    }
    categ, descr = curves["categ"], curves["descr"]
    means = categ.precision.mean(), descr.precision.mean()
    mean = 2 * means[0] * means[1] / (means[0] + means[1] + 1e-5)
    return {
        "AP": float(mean) if categ.there and descr.there else -1.0,
        **{f"AP-{name}": float(curve.precision.mean()) for name, curve in curves.items()},
        "AP50-descr": float(descr.precision[0].mean()),
        "AP75-descr": float(descr.precision[5].mean()),
        "AP50-categ": float(categ.precision[0].mean()),
        "AP75-categ": float(categ.precision[5].mean()),
        "AR-descr": float(descr.recall.mean()),
        "AR-categ": float(categ.recall.mean()),
    }


def box_f1(pair: DescribedPair) -> float:
    """F1 of one pair's boxes at IoU 0.5 (0..1); 1 where nothing is and nothing was found."""
    match = _match(pair)
    right = int((match.matched & ~match.ignored)[0].sum())
    found = int((~match.ignored)[0].sum())
    return 2 * right / (found + match.there) if found + match.there else 1.0


@dataclass(frozen=True, eq=False)
class _Match:
    """Of the P best predictions of a pair: (10, P) matched and ignored, (P,) scores."""

    matched: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    scores: Floats
    there: int


@dataclass(frozen=True, eq=False)
class _Curve:
    """(10, 101) precision at each recall and (10,) recall, all -1 without a truth."""

    precision: Floats
    recall: Floats
    there: int


def _match(pair: DescribedPair) -> _Match:
    """Greedy matching as in COCO: by falling score, each to the truth that it overlaps most.

    A truth that counts is taken before a crowd, and only once; a crowd takes any number, and what
    it takes is ignored.
    """
    order = np.argsort(-pair.scores, kind="mergesort")[:MOST_DETECTIONS]
    counting_first = np.argsort(pair.crowd, kind="mergesort")
    truth, crowd = pair.truth[counting_first], pair.crowd[counting_first]
    matched = np.zeros((len(IOU_THRESHOLDS), len(order)), np.bool_)
    ignored = np.zeros_like(matched)
    if len(order) and len(truth):
        iou = np.asarray(coco.iou(pair.pred[order], truth, crowd.astype(np.uint8)))
        for level, threshold in enumerate(IOU_THRESHOLDS):
            taken = np.zeros(len(truth), np.bool_)
            for place, overlaps in enumerate(iou):
                target = _target(overlaps, taken, crowd, threshold)
                if target is not None:
                    taken[target] = matched[level, place] = True
                    ignored[level, place] = crowd[target]
    return _Match(matched, ignored, pair.scores[order], int((~crowd).sum()))


def _target(
    overlaps: Floats,
    taken: npt.NDArray[np.bool_],
    crowd: npt.NDArray[np.bool_],
    threshold: float,
) -> int | None:
    """The truth to which a prediction with these overlaps goes; of equals the last."""
    reach = overlaps >= min(threshold, 1 - 1e-10)
    for open_ones in (reach & ~taken & ~crowd, reach & crowd):
        if open_ones.any():
            most = overlaps[open_ones].max()
            return int(np.flatnonzero(open_ones & (overlaps == most))[-1])
    return None


def _curve(matches: Sequence[_Match]) -> _Curve:
    there = sum(match.there for match in matches)
    precision = np.full((len(IOU_THRESHOLDS), len(RECALLS)), -1.0)
    recall = np.full(len(IOU_THRESHOLDS), -1.0)
    if not there:
        return _Curve(precision, recall, there)
    order = np.argsort(-np.concatenate([match.scores for match in matches]), kind="mergesort")
    matched = np.concatenate([match.matched for match in matches], axis=1)[:, order]
    ignored = np.concatenate([match.ignored for match in matches], axis=1)[:, order]
    right = np.cumsum(matched & ~ignored, axis=1)
    wrong = np.cumsum(~matched & ~ignored, axis=1)
    recalls = right / there
    precisions = right / (wrong + right + np.spacing(1))
    envelope = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    for level in range(len(IOU_THRESHOLDS)):
        places = np.searchsorted(recalls[level], RECALLS, side="left")
        precision[level] = padded[level, places]
        recall[level] = recalls[level, -1] if recalls.shape[1] else 0.0
    return _Curve(precision, recall, there)


def _pairs(
    content: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> Iterable[DescribedPair]:
    truths: dict[tuple[Any, Any], list[tuple[Sequence[float], bool]]] = {}
    for box in content["annotations"]:
        for text in box["description_ids"]:
            crowd = bool(box.get("iscrowd", 0))
            truths.setdefault((box["image_id"], text), []).append((box["bbox"], crowd))
    found: dict[tuple[Any, Any], list[tuple[Sequence[float], float]]] = {}
    for number, box in enumerate(predictions):
        if len(box["description_ids"]) != len(box["scores"]):
            raise InputError(f"prediction {number}: description_ids and scores differ in length")
        for text, score in zip(box["description_ids"], box["scores"], strict=True):
            found.setdefault((box["image_id"], text), []).append((box["bbox"], score))
    asked = [
        (image, description)
        for description in content["descriptions"]
        for image in description["image_ids"]
    ]
    known = {image["id"] for image in content["images"]}
    for image, description in sorted(asked, key=lambda one: one[0]):
        if image not in known:
            continue
        there = truths.get((image, description["id"]), [])
        answered = found.get((image, description["id"]), [])
        free = description["anno_info"]["type"] == "object_description"
        yield DescribedPair(
            kind="description" if free else "category",
            words=len(description["text"].split()),
            truth=_boxes([box for box, _ in there]),
            crowd=np.array([crowd for _, crowd in there], np.bool_),
            pred=_boxes([box for box, _ in answered]),
            scores=np.array([score for _, score in answered], np.float64),
        )


def _boxes(boxes: Sequence[Sequence[float]]) -> Floats:
    return np.array(boxes, np.float64).reshape(-1, 4)


def _read(path: Path | str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
