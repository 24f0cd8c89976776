"""SA-Co Gold and Silver: noun phrases, each with every instance in the image, or with none.

Paper: SAM 3 (arXiv 2511.16719). One file for each subset and, in Gold, for each of three
annotators, such as `gold_wiki_common_merged_a_release_test.json`: COCO's format, an "image" being
a pair of image and phrase, boxes relative to the image's size::

    {"images": [{"id": 10000000, "text_input": "chili", "width": 600, "height": 600,
                 "file_name": "1/1001/metaclip_1_1001_c122868928880ae52b33fae1.jpeg",
                 "is_instance_exhaustive": 1, ...}],
     "annotations": [{"id": 1, "image_id": 10000000, "iscrowd": 0, "category_id": 1,
                      "bbox": [0.443, 0.0, 0.108, 0.058],
                      "segmentation": {"size": [600, 600], "counts": "`kk42fb01O1..."}}],
     "categories": [{"id": 1, "name": "object"}]}

A pair that an annotator marked as not exhaustive is left out, as the authors do.

The authors' evaluator drops predictions with a score below 0.5, because a detector scores every
candidate. An agent answers with the masks that it chose, some of them found at a lower threshold:
every answered mask counts. In the predictions for that evaluator its score is at least 0.5, and its
own score is `raw_score`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.dataset_io import check_size, collect, folder, image_in, image_size
from sam3_agent.evals.json_io import field, read_json, text
from sam3_agent.evals.mask_io import coco_mask, instance, masks_of
from sam3_agent.evals.metrics import (
    LEAST_SCORE,
    ConceptSample,
    Tally,
    averaged,
    best_annotator,
    concept_tally,
    local_f1,
)
from sam3_agent.extras import require
from sam3_agent.geometry import Size
from sam3_agent.masks import Masks
from sam3_agent.rle import RLE, rles_from_records

SOURCES = {
    "gold": (
        "get the annotations from huggingface.co/datasets/facebook/SACo-Gold or "
        "universe.roboflow.com/sa-co-gold (SAM License; the images are MetaCLIP's and SA-1B's), "
        "and pass the folder that holds them and the images"
    ),
    "silver": (
        "get the annotations from huggingface.co/datasets/facebook/SACo-Silver or "
        "universe.roboflow.com/sa-co-silver (images of ten datasets, each with its own licence), "
        "and pass the folder that holds them and the images"
    ),
}
NAMES = {
    "gold": re.compile(r"gold_(?P<subset>.+)_merged_(?P<annotator>[abc])(_release)?_test\.json"),
    "silver": re.compile(r"silver_(?P<subset>.+)_merged(_release)?_test(?P<annotator>)\.json"),
}
NOTE = (
    "every answered mask counts, whatever its score; in predictions_<subset>.json, written for the "
    "authors' evaluator, it has at least the score 0.5, and its own as raw_score"
)


def read(
    data: Path | None = None, split: str | None = None, *, part: str = "gold"
) -> ScoredBenchmark:
    """Reads Gold or Silver: all subsets, or the one named by `split` (such as wiki_common)."""
    require("scipy", purpose="the metric of concepts")
    name = f"saco-{part}"
    root = folder(data, name, SOURCES[part])
    subsets: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.json")):
        if match := NAMES[part].fullmatch(path.name):
            subsets.setdefault(match["subset"], []).append(path)
    if not subsets:
        raise InputError(f"{name}: no {part}_<subset>_merged_... .json in {root}. {SOURCES[part]}")
    if split is not None and split not in subsets:
        raise InputError(f"{name}: {root} has no {split!r}, only {', '.join(subsets)}")
    images = _ImageFolders(root)
    samples, problems = collect(
        record
        for subset, paths in subsets.items()
        if split in (None, subset)
        for record in _samples(subset, paths, images)
    )
    whole = Dataset(name, split)
    return ScoredBenchmark(name, samples, problems, tally, score, NOTE, whole, predictions)


read_silver = partial(read, part="silver")


def tally(rows: Sequence[Row]) -> Tally:
    """Tallies cgf1, pmf1 and il_mcc, averaged unweighted over the subsets."""
    samples = concept_tally(concept(row) for row in rows)
    # the paper's headline is the mean of the subsets, however large each of them is
    return averaged(samples, [row.tags["split"] for row in rows])


def score(row: Row) -> float:
    """Returns the pair's own F1 over all IoU thresholds; 1 for a right empty prediction."""
    sample = concept(row)
    return float(local_f1(sample).mean()) if sum(sample.iou.shape) else 1.0


def concept(row: Row) -> ConceptSample:
    """Compares the row with the annotator with whom it agrees best."""
    assert row.truth is not None
    size = row.truth.size
    truths = [row.truth, *(_unpacked(rles, size) for rles in row.about.get("others", ()))]
    return best_annotator([ConceptSample(row.pred.overlap(truth)) for truth in truths])


def predictions(rows: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Makes the predictions file of each subset for the authors' evaluator; boxes are relative.

    A mask has at least the score from which that evaluator counts it.
    """
    out: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = out.setdefault(f"predictions_{row.tags['split']}.json", [])
        height, width = row.pred.size
        # relative boxes, as in the ground truth: the evaluator compares both as they are
        boxes = row.pred.boxes / np.array([width, height, width, height], np.float32)
        columns = boxes.tolist(), row.pred.scores.tolist(), row.pred.rle()
        for box, score, rle in zip(*columns, strict=True):
            x0, y0, x1, y1 = box
            own.append(
                {
                    "image_id": row.about["pair"],
                    "category_id": row.about["category"],
                    "segmentation": rle,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": max(score, LEAST_SCORE),
                    "raw_score": score,
                }
            )
    return out


def _unpacked(rles: Sequence[Mapping[str, Any]], size: Size) -> Masks:
    return masks_of(rles_from_records(rles, size), size)


class _ImageFolders:
    """The folders to search for images: the root, those in it, and "image" folders in these."""

    def __init__(self, root: Path) -> None:
        below = [path for path in sorted([*root.glob("*"), *root.glob("*/*")]) if path.is_dir()]
        self.roots = [
            root,
            *(path for path in below if "image" in path.name or path.parent == root),
        ]
        self.size = cache(image_size)

    def find(self, name: str) -> Path:
        return image_in(self.roots, name)


@dataclass(frozen=True, eq=False)
class _Annotator:
    """One file: its pairs with their annotations, without crowds and unknown categories.

    category: the first one; the pair identifies the phrase, so any category is right.
    """

    pairs: Mapping[Any, Any]
    truths: Mapping[Any, Sequence[Any]]
    category: Any

    def complete(self, pair: Any) -> bool:
        record = self.pairs.get(pair)
        # a pair that is missing in a file is reported by `_sample`, and not passed over here
        return record is None or bool(record.get("is_instance_exhaustive", 1))

    def rles(self, pair: Any, size: Size) -> list[RLE]:
        out = []
        for annotation in self.truths.get(pair, ()):
            try:
                out.append(instance(coco_mask(annotation.get("segmentation"), size)))
            except InputError as error:
                raise InputError(f"annotation {annotation.get('id')}: {error}") from error
        return out


def _annotator(path: Path) -> _Annotator:
    content = read_json(path)
    try:
        pairs = {one["id"]: one for one in field(content, "images", list)}
        categories = [one["id"] for one in field(content, "categories", list)]
        truths: dict[Any, list[Any]] = {}
        known = set(categories)
        for one in field(content, "annotations", list):
            if not one.get("iscrowd") and one["category_id"] in known:
                truths.setdefault(one["image_id"], []).append(one)
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no SA-Co file: {error}") from error
    if not pairs:
        raise InputError(f"{path} has no images")
    if len(pairs) < len(content["images"]):
        raise InputError(f"{path}: the id of an image is there twice")
    if not categories:
        raise InputError(f"{path} has no categories")
    return _Annotator(pairs, truths, categories[0])


def _samples(
    subset: str, paths: Sequence[Path], images: _ImageFolders
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    annotators = [_annotator(path) for path in paths]
    for pair, record in annotators[0].pairs.items():
        # a pair that one annotator left incomplete is left out for all, as the authors do
        if all(annotator.complete(pair) for annotator in annotators):
            where = f"{paths[0]} image {pair}"
            yield where, partial(_sample, subset, pair, record, annotators, images)


def _sample(
    subset: str, pair: Any, record: Any, annotators: Sequence[_Annotator], images: _ImageFolders
) -> Sample:
    size = field(record, "height", int), field(record, "width", int)
    image = images.find(field(record, "file_name", str))
    check_size(image, size, images.size(image))
    if any(pair not in annotator.pairs for annotator in annotators):
        raise InputError("an annotator's file lacks it")
    truth, *others = (masks_of(annotator.rles(pair, size), size) for annotator in annotators)
    return Sample(
        id=f"{subset}-{pair}",
        query=text(record, "text_input"),
        image=image,
        truth=truth,
        tags={"split": subset, "kind": "positive" if len(truth) else "negative"},
        about={
            "image": str(record["file_name"]),
            "pair": pair,
            "category": annotators[0].category,
            # in the row, so that a run can be scored again without the annotators' files
            "others": [masks.rle() for masks in others],
        },
    )
