"""SA-Co's metrics (arXiv 2511.16719, section 3) of open-vocabulary concept segmentation."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.evals.json_io import is_number, read_json
from sam3_agent.evals.mask_io import coco_mask
from sam3_agent.evals.metrics.bootstrap import Columns, Tally, as_original
from sam3_agent.extras import require
from sam3_agent.geometry import Size
from sam3_agent.rle import RLE, checked_size

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
LEAST_SCORE = 0.5
"""The evaluator drops predictions with a lower score."""

Kind = Literal["segm", "bbox"]

# added to the denominators of instances and of images, as in the original
INSTANCE_EPSILON = 1e-4
IMAGE_EPSILON = 1e-6


@dataclass(frozen=True, eq=False)
class ConceptSample:
    """One (image, phrase) pair: iou is (P, T), of P predictions (score >= 0.5) with T truths."""

    iou: npt.NDArray[np.float64]


def cgf1(samples: Iterable[ConceptSample]) -> dict[str, float]:
    """Computes SA-Co's classification-gated F1, cgf1 = 100 x pmf1 x il_mcc.

    pmf1: micro F1 over the pairs with at least one truth, after optimal matching, averaged over IoU
    .50:.05:.95. il_mcc: Matthews correlation of image-level presence (any prediction against any
    truth), 0 as in the original where all pairs have a truth or none has.
    """
    return as_original(concept_tally(samples).value())


def concept_tally(samples: Iterable[ConceptSample]) -> Tally:
    """Tallies what `cgf1` computes; pmf1 needs pairs with a truth, il_mcc also some without."""

    def finish(sums: Columns) -> dict[str, float]:
        out = _metrics(sums)
        tp, fp, tn, fn = sums[-4:]
        pmf1 = float(out["positive_micro_F1"].mean()) if tp + fn else math.nan
        il_mcc = float(out["IL_MCC"]) if tp + fn and fp + tn else math.nan
        return {"cgf1": 100 * pmf1 * il_mcc, "pmf1": pmf1, "il_mcc": il_mcc}

    return Tally(_columns(samples), finish)


def saco(
    truth_paths: Path | str | Sequence[Path | str], pred_path: Path | str, kind: Kind = "segm"
) -> dict[str, float]:
    """Computes all values of the SA-Co evaluator on COCO-style files, by its names (0..1).

    truth_paths: one file for each annotator; pair by pair, the one that agrees best is scored.
    kind: `segm` compares masks; `bbox` compares boxes in the unit that both files have.

    As in the original, pairs that any annotator left incomplete are left out, predictions of other
    images than those of the pairs are not read, crowd truths and predictions of an unknown
    category are dropped, and positive_macro_F1 is -1 when nothing was predicted for any pair with
    a truth. Raises InputError for files that are not of this kind.
    """
    paths = [truth_paths] if isinstance(truth_paths, Path | str) else list(truth_paths)
    annotators = [_Annotations(Path(path)) for path in paths]
    if not annotators:
        raise InputError("SA-Co needs at least one file of ground truth")
    left_out = {pair for one in annotators for pair in one.incomplete}
    pairs = [pair for pair in annotators[0].pairs if pair not in left_out]
    predictions = _predictions(Path(pred_path), set(pairs), kind)
    samples = [
        best_annotator([one.sample(pair, predictions.get(pair, ()), kind) for one in annotators])
        for pair in pairs
    ]
    out = _metrics(_columns(samples).sum(axis=0))
    prefix = f"cgF1_eval_{kind}_"
    values = {prefix + name: float(value.mean()) for name, value in out.items()}
    for level in (0.5, 0.75):
        place = int(np.argmin(np.abs(IOU_THRESHOLDS - level)))
        for name, value in out.items():
            if value.ndim:
                values[f"{prefix}{name}@{level}"] = float(value[place])
    return values


def local_f1(sample: ConceptSample) -> Columns:
    """Computes the (10,) F1 of one pair by IoU threshold; undefined where either side is empty."""
    predictions, truths = sample.iou.shape
    return _f1(_matched(sample), predictions, truths)


def best_annotator(annotators: Sequence[ConceptSample]) -> ConceptSample:
    """Selects the pair of the annotator with whom the predictions agree best."""
    chosen = annotators[0]
    for other in annotators[1:]:
        # of equally good annotators the first stays, as in the original
        if not sum(other.iou.shape):
            chosen = other  # no truth and no prediction: perfect
        elif sum(chosen.iou.shape) and local_f1(other).mean() > local_f1(chosen).mean():
            chosen = other
    return chosen


def _matched(sample: ConceptSample) -> Columns:
    """Counts the pairs of the optimal matching that reach each IoU threshold: (10,)."""
    require("scipy", purpose="the metric of concepts")
    from scipy.optimize import linear_sum_assignment

    if not sample.iou.size:
        return np.zeros(len(IOU_THRESHOLDS))
    # one assignment by IoU serves all thresholds, as in the original: it is not made anew for each
    iou = sample.iou[linear_sum_assignment(sample.iou, maximize=True)]
    matched: Columns = (iou[:, None] >= IOU_THRESHOLDS).sum(axis=0).astype(np.float64)
    return matched


def _f1(matched: Columns, predictions: float, truths: float) -> Columns:
    # the original adds the term in all three denominators, so a perfect F1 is a little below 1
    precision = matched / (predictions + INSTANCE_EPSILON)
    recall = matched / (truths + INSTANCE_EPSILON)
    f1: Columns = 2 * precision * recall / (precision + recall + INSTANCE_EPSILON)
    return f1


def _columns(samples: Iterable[ConceptSample]) -> Columns:
    """Makes the (N, 27) columns of the tally.

    Matched (10), F1 where there are truths and predictions (10), predictions, truths, predictions
    where there are truths, and the image-level tp, fp, tn, fn.
    """
    rows = []
    for sample in samples:
        predictions, truths = sample.iou.shape
        matched = _matched(sample)
        found, present = predictions > 0, truths > 0
        tp, fp, tn, fn = (
            found and present,
            found > present,
            not found and not present,
            present > found,
        )
        # the macro F1 is a mean over pairs that have both, hence columns of its own
        local = _f1(matched, predictions, truths) if tp else np.zeros(len(IOU_THRESHOLDS))
        counts = [predictions, truths, predictions if present else 0, tp, fp, tn, fn]
        rows.append(np.concatenate([matched, local, counts]))
    return np.array(rows, np.float64).reshape(-1, 2 * len(IOU_THRESHOLDS) + 7)


def _metrics(sums: Columns) -> dict[str, npt.NDArray[np.float64]]:
    """Computes each metric by its original name: (10,) by IoU threshold, or () by image."""
    matched, local = sums[:10], sums[10:20]
    predictions, truths, positive_predictions, tp, fp, tn, fn = sums[20:]
    precision = matched / (predictions + INSTANCE_EPSILON)
    recall = matched / (truths + INSTANCE_EPSILON)
    il_precision, il_recall = tp / (tp + fp + IMAGE_EPSILON), tp / (tp + fn + IMAGE_EPSILON)
    # without negatives (or positives) the root is 0, and the small term makes the coefficient 0
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    il_mcc = (tp * tn - fp * fn) / (spread + IMAGE_EPSILON)
    # predictions for a phrase that names nothing count against presence alone, not in the F1
    micro_f1 = _f1(matched, positive_predictions, truths)
    return {
        "cgF1": micro_f1 * il_mcc,
        "precision": precision,
        "recall": recall,
        "F1": _f1(matched, predictions, truths),
        "positive_macro_F1": local / tp if tp else np.full(len(IOU_THRESHOLDS), -1.0),
        "positive_micro_F1": micro_f1,
        "positive_micro_precision": matched / (positive_predictions + INSTANCE_EPSILON),
        "IL_precision": np.asarray(il_precision),
        "IL_recall": np.asarray(il_recall),
        "IL_F1": np.asarray(
            2 * il_precision * il_recall / (il_precision + il_recall + IMAGE_EPSILON)
        ),
        "IL_FPR": np.asarray(fp / (fp + tn + IMAGE_EPSILON)),
        "IL_MCC": np.asarray(il_mcc),
    }


class _Annotations:
    """One annotator's file: its (image, phrase) pairs with their truths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json(path)
        try:
            self.pairs = {one["id"]: one for one in content["images"]}
            self.sizes = {
                pair: checked_size((int(one["height"]), int(one["width"])))
                for pair, one in self.pairs.items()
            }
            self.incomplete = {
                pair for pair, one in self.pairs.items() if not one.get("is_instance_exhaustive", 1)
            }
            self.categories = {category["id"] for category in content["categories"]}
            self._truths: dict[Any, list[Mapping[str, Any]]] = {}
            for one in content["annotations"]:
                # the original reads neither crowds nor categories that the file does not list
                if not one.get("iscrowd") and one["category_id"] in self.categories:
                    self._truths.setdefault(one["image_id"], []).append(one)
        except (
            ArithmeticError,
            AttributeError,
            InputError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            raise InputError(f"{path} is no SA-Co file: {error!r}") from error

    def sample(
        self, pair: Any, predictions: Sequence[Mapping[str, Any]], kind: Kind
    ) -> ConceptSample:
        if predictions and pair not in self.pairs:
            raise InputError(f"{self.path} lacks the image {pair!r} of the first annotator's file")
        found = [one for one in predictions if one["category_id"] in self.categories]
        there = self._truths.get(pair, [])
        if not found or not there:
            # the shape says how many there are, which is all that counts where nothing can match
            return ConceptSample(np.zeros((len(found), len(there))))
        if kind == "bbox":
            shapes = [
                np.array([_box(one, self.sizes[pair]) for one in side]) for side in (found, there)
            ]
            return ConceptSample(np.asarray(coco.iou(shapes[0], shapes[1], [0] * len(there))))
        rles = [[_rle(one, self.sizes[pair]) for one in side] for side in (found, there)]
        return ConceptSample(np.asarray(coco.iou(rles[0], rles[1], [0] * len(there))))


def _predictions(path: Path, pairs: Set[Any], kind: Kind) -> dict[Any, list[Mapping[str, Any]]]:
    """Reads the predictions with score >= 0.5 of these pairs; others are not checked."""
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: predictions must be a list")
    by_pair: dict[Any, list[Mapping[str, Any]]] = {}
    for number, one in enumerate(content):
        try:
            if _image_of(one) in pairs and _score(one, kind) >= LEAST_SCORE:
                by_pair.setdefault(one["image_id"], []).append(one)
        except (InputError, TypeError) as error:
            raise InputError(f"{path}: [{number}]: {error}") from error
    return by_pair


def _image_of(one: Any) -> Any:
    if not isinstance(one, dict) or "image_id" not in one:
        raise InputError("image_id is missing")
    return one["image_id"]


def _score(one: Mapping[str, Any], kind: Kind) -> float:
    """Returns the score of a prediction after checking its fields."""
    if not {"category_id", "score"} <= set(one):
        raise InputError("category_id or score is missing")
    score = one["score"]
    if not is_number(score):
        raise InputError(f"its score is {score!r:.80}, and must be a number")
    if "segmentation" not in one and (kind == "segm" or "bbox" not in one):
        raise InputError("it has no segmentation")
    hash(one["category_id"])
    return float(score)


def _box(one: Mapping[str, Any], size: Size) -> Sequence[float]:
    """Returns x y w h as in the file, or else that of the mask, in pixels."""
    box = one.get("bbox") or coco.toBbox(_rle(one, size)).tolist()
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise InputError(
            f"a box of image {one['image_id']!r} is {box!r:.200}, and must be [x, y, w, h]"
        )
    return box


def _rle(one: Mapping[str, Any], size: Size) -> RLE:
    """Reads the mask of an annotation or prediction: polygons, plain or compressed RLE."""
    try:
        return coco_mask(one.get("segmentation"), size)
    except InputError as error:
        raise InputError(f"a mask of image {one['image_id']!r}: {error}") from error
