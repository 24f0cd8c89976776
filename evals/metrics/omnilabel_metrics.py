"""OmniLabel's average precision of boxes for categories and free-form descriptions.

Paper: arXiv 2304.11463. All (image, text) pairs of a group share one precision-recall curve; the
headline AP is the harmonic mean of the AP over categories and the AP over descriptions.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.evals.json_io import MAX_VALUE, read_json
from sam3_agent.evals.metrics.bootstrap import Interval, draws, interval

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_DETECTIONS = 100

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DescribedPair:
    """One text and one image.

    kind: a category's name or a free-form description. words: the number of words of the text.
    truth: (T, 4) boxes x y w h; crowd: (T,) bool, boxes that are not scored when missed.
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
    """Computes the 13 values of omnilabeltools (0..1, -1 for a group without truth).

    Both arguments are in its formats, or paths of such JSON files.

    truth: {"images", "descriptions", "annotations"}. predictions: [{"image_id", "bbox" [x, y, w,
    h], "description_ids", "scores"}]. See `average_precisions` for the names.
    """
    content = read_json(Path(truth)) if isinstance(truth, str | Path) else truth
    found = read_json(Path(predictions)) if isinstance(predictions, str | Path) else predictions
    try:
        pairs = list(_pairs(content, found))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"no OmniLabel ground truth and predictions: {error!r}") from error
    for pair in pairs:
        # NaN compares as false
        if not all(
            (np.abs(one) <= MAX_VALUE).all() for one in (pair.truth, pair.pred, pair.scores)
        ):
            raise InputError("OmniLabel: a box or score is not finite, or too large")
    return average_precisions(pairs)


def average_precisions(pairs: Iterable[DescribedPair]) -> dict[str, float]:
    """Computes OmniLabel's metrics over pairs, in the order of the images' ids.

    `AP` (harmonic mean), `AP-<group>` over IoU .50:.05:.95, `AP50-` and `AP75-` for one IoU, `AR-`
    the mean recall; groups: categ, descr, descr-pos (descriptions with a target in their image),
    descr-S, -M, -L (up to 3, 4 to 8, and more words).
    """
    # a pair with neither is a right "nothing", and changes neither precision nor recall
    scored = [pair for pair in pairs if len(pair.truth) or len(pair.pred)]
    matches = [_match(pair) for pair in scored]
    curves = {name: _curve(_rank(scored, matches, name)) for name in GROUPS}
    categ, descr = curves["categ"], curves["descr"]
    return {
        "AP": _harmonic_mean(categ, descr),
        **{f"AP-{name}": float(curve.precision.mean()) for name, curve in curves.items()},
        "AP50-descr": float(descr.precision[0].mean()),
        "AP75-descr": float(descr.precision[5].mean()),
        "AP50-categ": float(categ.precision[0].mean()),
        "AP75-categ": float(categ.precision[5].mean()),
        "AR-descr": float(descr.recall.mean()),
        "AR-categ": float(categ.recall.mean()),
    }


def precision_intervals(
    pairs: Sequence[DescribedPair], images: Sequence[Hashable], resamples: int = 200, seed: int = 0
) -> dict[str, Interval]:
    """Computes bootstrap 95 % intervals of AP, AP-categ, -descr and -descr-pos over whole images.

    images: (N,) the image of each pair. An average precision is no function of sums over samples,
    so every resample needs a new curve; hence fewer resamples.
    """
    places = {image: place for place, image in enumerate(dict.fromkeys(images))}
    kept = [
        (pair, places[image])
        for pair, image in zip(pairs, images, strict=True)
        if len(pair.truth) or len(pair.pred)
    ]
    scored = [pair for pair, _ in kept]
    matches = [_match(pair) for pair in scored]
    ranked = {name: _rank(scored, matches, name) for name in ("categ", "descr", "descr-pos")}
    owner = np.array([place for _, place in kept], int)
    drawn: dict[str, list[float]] = {}
    for weights in draws(len(places), resamples, seed):
        curves = {name: _curve(one, weights[owner]) for name, one in ranked.items()}
        values = {f"AP-{name}": float(curve.precision.mean()) for name, curve in curves.items()}
        values["AP"] = _harmonic_mean(curves["categ"], curves["descr"])
        for name, value in values.items():
            if value >= 0:  # a resample without a truth has no precision
                drawn.setdefault(name, []).append(value)
    return {name: interval(values) for name, values in drawn.items()}


def box_f1(pair: DescribedPair) -> float:
    """Computes the F1 of one pair's boxes at IoU 0.5 (0..1); 1 where truth and pred are empty."""
    match = _match(pair)
    right = int((match.matched & ~match.ignored)[0].sum())
    found = int((~match.ignored)[0].sum())
    return 2 * right / (found + match.truths) if found + match.truths else 1.0


@dataclass(frozen=True, eq=False)
class _Match:
    """The P best predictions of a pair: (10, P) matched and ignored by IoU threshold, (P,) scores.

    truths: the number of truths that are scored.
    """

    matched: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    scores: Floats
    truths: int


@dataclass(frozen=True, eq=False)
class _Curve:
    """(10, 101) precision at each recall and (10,) recall, all -1 without a truth."""

    precision: Floats
    recall: Floats
    truths: float


def _match(pair: DescribedPair) -> _Match:
    """Matches greedily as COCO does: by descending score, each to the truth that it overlaps most.

    A scored truth is preferred to a crowd, and matched once; a crowd matches any number, and what
    it matches is ignored.
    """
    # a stable sort as in pycocotools: of equal scores the first in the file stays first
    order = np.argsort(-pair.scores, kind="mergesort")[:MOST_DETECTIONS]
    # crowds go last, as in COCO's evaluator, where a match with a truth that counts ends the search
    counting_first = np.argsort(pair.crowd, kind="mergesort")
    truth, crowd = pair.truth[counting_first], pair.crowd[counting_first]
    matched = np.zeros((len(IOU_THRESHOLDS), len(order)), np.bool_)
    ignored = np.zeros_like(matched)
    if len(order) and len(truth):
        iou = np.asarray(coco.iou(pair.pred[order], truth, crowd.astype(np.uint8)))
        # at each threshold every prediction, the best first, matches one truth that is left
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
    """Returns the truth that a prediction with these overlaps matches; of equal ones the last."""
    # a hair below 1, as in pycocotools: an IoU of 1 may be off by rounding
    reach = overlaps >= min(threshold, 1 - 1e-10)
    for open_ones in (reach & ~taken & ~crowd, reach & crowd):
        if open_ones.any():
            most = overlaps[open_ones].max()
            return int(np.flatnonzero(open_ones & (overlaps == most))[-1])
    return None


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The D predictions of a group by descending score: (10, D), and the pair (D,) of each."""

    matched: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    owner: npt.NDArray[np.int64]
    truths: Floats


def _rank(pairs: Sequence[DescribedPair], matches: Sequence[_Match], group: str) -> _Ranked:
    chosen = [place for place, pair in enumerate(pairs) if GROUPS[group](pair)]
    truths = np.zeros(len(pairs))
    truths[chosen] = [matches[place].truths for place in chosen]
    if not chosen:
        none = np.zeros((len(IOU_THRESHOLDS), 0), np.bool_)
        return _Ranked(none, none, np.zeros(0, np.int64), truths)
    own = [matches[place] for place in chosen]
    order = np.argsort(-np.concatenate([match.scores for match in own]), kind="mergesort")
    return _Ranked(
        np.concatenate([match.matched for match in own], axis=1)[:, order],
        np.concatenate([match.ignored for match in own], axis=1)[:, order],
        np.repeat(chosen, [len(match.scores) for match in own])[order],
        truths,
    )


def _curve(ranked: _Ranked, weights: Floats | None = None) -> _Curve:
    """Computes the precision-recall curve when pair n counts weights[n] times, once by default."""
    truths = float(ranked.truths.sum() if weights is None else ranked.truths @ weights)
    precision = np.full((len(IOU_THRESHOLDS), len(RECALLS)), -1.0)
    recall = np.full(len(IOU_THRESHOLDS), -1.0)
    if not truths:
        return _Curve(precision, recall, truths)
    times = 1.0 if weights is None else weights[ranked.owner]
    # from the best score down: how many are right and wrong so far; matches with crowds are neither
    right = np.cumsum((ranked.matched & ~ranked.ignored) * times, axis=1)
    wrong = np.cumsum((~ranked.matched & ~ranked.ignored) * times, axis=1)
    recalls = right / truths
    precisions = right / (wrong + right + np.spacing(1))
    # the precision at a recall is the highest at this or any larger recall, and 0 beyond the last
    envelope = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    for level in range(len(IOU_THRESHOLDS)):
        # at each of the 101 recalls the first place in the ranking that reaches it
        places = np.searchsorted(recalls[level], RECALLS, side="left")
        precision[level] = padded[level, places]
        recall[level] = recalls[level, -1] if recalls.shape[1] else 0.0
    return _Curve(precision, recall, truths)


def _harmonic_mean(categ: _Curve, descr: _Curve) -> float:
    if not (categ.truths and descr.truths):
        return -1.0
    means = float(categ.precision.mean()), float(descr.precision.mean())
    # the small term is that of omnilabeltools, where both means may be 0
    return 2 * means[0] * means[1] / (means[0] + means[1] + 1e-5)


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
