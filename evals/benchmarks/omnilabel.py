"""OmniLabel: boxes for category names and free-form descriptions, some of which have no target.

Paper: arXiv 2304.11463. One JSON such as `dataset_all_val_v0.1.4.json`; boxes x y w h in pixels::

    {"images": [{"id": 8357, "file_name": "object365/patch1/objects365_v1_00062506.jpg"}],
     "descriptions": [{"id": 3453, "text": "The trumpets not in the middle", "image_ids": [8357],
                       "anno_info": {"type": "object_description"}},
                      {"id": 8574, "text": "Person", "image_ids": [8357],
                       "anno_info": {"type": "object_category"}}, ...],
     "annotations": [{"id": 71605, "image_id": 8357, "bbox": [661.2, 258.6, 39.1, 95.0],
                      "description_ids": [8819, 3453]}, ...]}

Every pair of image and text is a sample. Only boxes are annotated, so no sample has masks as truth.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark, Dataset, Row, Sample
from sam3_agent.evals.dataset_io import collect, folder, image_in, image_size
from sam3_agent.evals.json_io import field, is_number, read_json, text
from sam3_agent.evals.metrics import (
    DescribedPair,
    Interval,
    average_precisions,
    box_f1,
    precision_intervals,
)

SOURCE = (
    "get the annotations and the list of images (COCO, Objects365, OpenImages, each with its own "
    "licence) from https://www.omnilabel.org/dataset/download, and pass the folder that holds the "
    "JSON and the folders named in it; only the validation set has public annotations"
)


class OmniLabel(Benchmark):
    """The benchmark; its average precisions are no functions of sums, so it has no tally."""

    name: str = "omnilabel"
    samples: Sequence[Sample] = ()
    problems: Sequence[str] = ()
    dataset: Dataset | None = None

    def __init__(
        self, samples: Sequence[Sample], problems: Sequence[str], dataset: Dataset | None = None
    ) -> None:
        self.samples = samples
        self.problems = problems
        self.dataset = dataset

    def score(self, row: Row) -> float:
        """Returns the F1 of the boxes at IoU 0.5; 1 for a right empty prediction."""
        return box_f1(described(row))

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        """Computes OmniLabel's AP and AR, see `metrics.average_precisions`; NaN for its -1."""
        # boxes with equal scores are ranked in the order of the images' ids, as by the evaluator
        in_order = sorted(rows, key=lambda row: int(row.about["image_id"]))
        values = average_precisions(described(row) for row in in_order)
        defined = {name: math.nan if value == -1 else value for name, value in values.items()}
        return {**defined, "n": len(rows)}

    def intervals(self, rows: Sequence[Row]) -> dict[str, Interval]:
        """Computes intervals of AP, AP-categ, AP-descr, AP-descr-pos; draws whole images."""
        pairs = [described(row) for row in rows]
        return precision_intervals(pairs, [row.about["image_id"] for row in rows])


def read(data: Path | None = None, split: str | None = None) -> OmniLabel:
    """Reads the JSON file in the folder; of several, a split (such as `coco`) selects by name."""
    root = folder(data, "omnilabel", SOURCE)
    path = _annotations(root, split)
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "descriptions"} <= content.keys():
        raise InputError(f"{path} is no OmniLabel file (images or descriptions missing). {SOURCE}")
    if "annotations" not in content:
        raise InputError(f"{path} has no annotations: it is a test set. {SOURCE}")
    samples, problems = collect(_samples(path, content))
    # the published numbers are of the images of all three sources together
    whole = Dataset("omnilabel", "val") if "_all_val" in path.name else None
    return OmniLabel(samples, problems, whole)


def described(row: Row) -> DescribedPair:
    """Returns the predicted and the true boxes of a row."""
    boxes = row.pred.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return DescribedPair(
        kind=row.about["kind"],
        words=len(row.query.split()),
        truth=np.array(row.about["boxes"], np.float64).reshape(-1, 4),
        crowd=np.array(row.about["crowd"], np.bool_),
        pred=boxes,
        scores=row.pred.scores.astype(np.float64),
    )


def _annotations(root: Path, split: str | None) -> Path:
    if root.is_file():
        return root
    found = sorted(root.glob("*.json"))
    if not found:
        raise InputError(f"omnilabel: no JSON file in {root}. {SOURCE}")
    chosen = [path for path in found if (split or "val") in path.name] if len(found) > 1 else found
    everything = [path for path in chosen if "_all_" in path.name]
    if len(chosen) != 1 and len(everything) != 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"omnilabel: --split must name one of {names}")
    return (everything if len(chosen) != 1 else chosen)[0]


def _samples(path: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Sample]]]:
    try:
        images = {field(one, "id", int): one for one in field(content, "images", list)}
        if len(images) < len(content["images"]):
            raise InputError("the id of an image is there twice")
        boxes: dict[tuple[int, int], list[Any]] = {}
        for one in field(content, "annotations", list):
            for description in field(one, "description_ids", list):
                boxes.setdefault((field(one, "image_id", int), description), []).append(one)
        asked = sorted(
            (image, place)
            for place, one in enumerate(field(content, "descriptions", list))
            for image in field(one, "image_ids", list)
        )
    except (InputError, TypeError) as error:
        raise InputError(f"{path} is no OmniLabel file: {error}") from error
    for image, place in asked:
        record = content["descriptions"][place]
        where = f"{path} descriptions[{place}] of image {image}"
        yield where, partial(_sample, path, images.get(image), record, boxes)


def _sample(
    path: Path, image: Any, record: Any, all_boxes: Mapping[tuple[int, int], Sequence[Any]]
) -> Sample:
    if image is None:
        raise InputError("there is no such image in the file")
    boxes = all_boxes.get((image["id"], field(record, "id", int)), ())
    file = image_in([path.parent], field(image, "file_name", str))
    image_size(file)  # raises where it cannot be read
    kinds = {"object_description": "description", "object_category": "category"}
    kind = kinds.get(field(field(record, "anno_info", dict), "type", str))
    if kind is None:
        raise InputError(f"its type is {record['anno_info']['type']!r}")
    return Sample(
        id=f"{image['id']}-{record['id']}",
        query=text(record, "text"),
        image=file,
        truth=None,
        tags={"kind": kind, "means": "something" if boxes else "nothing"},
        about={
            "image": image["file_name"],
            "image_id": image["id"],
            "kind": kind,
            "boxes": [_box(one) for one in boxes],
            "crowd": [bool(one.get("iscrowd", 0)) for one in boxes],
        },
    )


def _box(record: Any) -> list[float]:
    box = field(record, "bbox", list)
    name = f"annotation {record.get('id')!r:.40}"
    if len(box) != 4 or not all(map(is_number, box)):
        raise InputError(f"{name}: its box is {box!r:.200}, not [x, y, w, h]")
    if min(box[2:]) <= 0:
        raise InputError(f"{name}: its box is {box!r:.200}, without an area")
    return box
