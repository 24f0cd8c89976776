"""ReasonSeg: questions that need reasoning before anything can be segmented.

Paper: LISA (arXiv 2308.00692). An image `val/14402637_6e286f0b44_o.jpg`, and beside it a JSON::

    {"text": ["the part that can transmit traction and braking torque, coming into contact with
               the ground"],
     "is_sentence": false,
     "shapes": [{"label": "target", "points": [[160.48, 488.57], [130.48, 500.0], ...]},
                {"label": "ignore", "points": [...]}]}

The first text is the question, `is_sentence` separates long from short ones. Shapes are painted as
LISA's reader paints them: the largest first, so that smaller ones overwrite it; whole pixels; the
outline belongs to the shape; labels with "ignore" are not scored, "flag" is dropped.

Also read: the tables of the Seg-Zero line (parquet with `image`, `text`, `mask`), which have no
ignored pixels and no length: Ricky06662/ReasonSeg_val and _test, and those of StAR (arXiv
2603.14382): the relabelled test set sj9909/ReasonSeg_refine (ReasonSeg-R) and ReasonSeg-X,
sj9909/ReasonSegX_val and _test, whose reasoning types become tags.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.benchmarks.tables import TableRow, find_tables, table_rows
from sam3_agent.evals.dataset_io import collect, folder, image_size
from sam3_agent.evals.json_io import field, read_json, text
from sam3_agent.evals.mask_io import masks_of, polygon
from sam3_agent.evals.metrics import (
    Overlap,
    ReasonSegProtocol,
    Tally,
    joined,
    mask_overlap,
    reasonseg_tally,
)
from sam3_agent.extras import require
from sam3_agent.geometry import Size
from sam3_agent.rle import BoolArray, encode_mask

SOURCE = (
    "get ReasonSeg from https://github.com/dvlab-research/LISA (link in its README, for research "
    "only) and pass the folder that holds val/ and test/; or a clone of a table on "
    "huggingface.co/datasets: Ricky06662/ReasonSeg_val, Ricky06662/ReasonSeg_test, "
    "sj9909/ReasonSeg_refine (ReasonSeg-R), sj9909/ReasonSegX_test (ReasonSeg-X)"
)
MAX_SHAPES = 1000
"""Shapes of an image, each of which is painted into a picture of its own."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
PROTOCOLS: tuple[ReasonSegProtocol, ...] = ("lisa", "segzero")
NOTE = (
    "two scorings are in the literature, by the papers' own code: lisa (ignored pixels left out, "
    "nothing for nothing is 1) in LISA, X-SAM and EVOL-SAM3; segzero (ignored pixels are target, "
    "nothing for nothing is 0) in VisionReasoner; Seg-Zero has the same pixels and leaves nothing "
    "for nothing out; StAR has them with LISA's 1; the code behind SAM 3's numbers is not public"
)


def read(data: Path | None = None, split: str | None = None) -> ScoredBenchmark:
    """Reads ReasonSeg's `val` (default), `test` or `train`, or a table that holds one of them."""
    root = folder(data, "reasonseg", SOURCE)
    tables = find_tables(root, split)
    if not tables:
        require("cv2", purpose="ReasonSeg")
    samples, problems = collect(
        _table_samples(tables, root) if tables else _file_samples(root, split or "val")
    )
    dataset = _dataset(tables[0]) if tables else Dataset("reasonseg", split or "val")
    return ScoredBenchmark("reasonseg", samples, problems, tally, score, NOTE, dataset)


TABLES = (
    (re.compile(r"reasonsegx[_-](val|test)", re.IGNORECASE), "reasonseg-x"),
    (re.compile(r"reasonseg[_-](?:refine|r)(?![a-z])()", re.IGNORECASE), "reasonseg-r"),
    (re.compile(r"reasonseg[_-](val|test)", re.IGNORECASE), "reasonseg"),
)
"""The datasets that are published as tables, by the name of their folder."""


def _dataset(table: Path) -> Dataset | None:
    """Recognises the dataset of a table by its path; the innermost matching folder counts."""
    for part in reversed(table.resolve().parts):
        for pattern, name in TABLES:
            if found := pattern.search(part):
                # ReasonSeg-R is the relabelled test set
                return Dataset(name, found[1].lower() or "test")
    return None


def tally(rows: Sequence[Row]) -> Tally:
    """Tallies gIoU and cIoU under both protocols of the literature, `lisa_` and `segzero_`."""
    return joined(
        [
            (f"{one}_", reasonseg_tally([overlap(row, one) for row in rows], one))
            for one in PROTOCOLS
        ]
    )


def score(row: Row) -> float:
    """Returns the IoU of the unions under LISA's protocol."""
    return overlap(row, "lisa").iou(empty=1.0)


def overlap(row: Row, protocol: ReasonSegProtocol) -> Overlap:
    """Compares prediction and truth."""
    assert row.truth is not None
    return mask_overlap(row.pred, row.truth, row.ignore, protocol)


@dataclass(frozen=True, eq=False)
class Annotation:
    """One JSON: the question, whether it is long, and (ignored, (N, 2) x y) of each shape."""

    question: str
    long: bool
    shapes: Sequence[tuple[bool, npt.NDArray[np.float64]]]


def read_annotation(path: Path) -> Annotation:
    """Reads a JSON file of LISA's format, in UTF-8 or else cp1252."""
    content = read_json(path, "cp1252")
    texts = field(content, "text", list)
    if not texts:
        raise InputError("'text' is empty")
    shapes = []
    listed = field(content, "shapes", list)
    if len(listed) > MAX_SHAPES:
        raise InputError(f"it has {len(listed)} shapes, and at most {MAX_SHAPES} are read")
    for number, shape in enumerate(listed):
        try:
            label = field(shape, "label", str).lower()
            if label != "flag":  # a note of the annotators, often of two points
                shapes.append(("ignore" in label, polygon(field(shape, "points", list))))
        except InputError as error:
            raise InputError(f"shapes[{number}]: {error}") from error
    question = text({"text": texts[0]}, "text")
    return Annotation(question, field(content, "is_sentence", bool), shapes)


def rasterise(annotation: Annotation, size: Size) -> tuple[BoolArray, BoolArray]:
    """Paints target and ignored pixels, (H, W) bool each, as LISA's reader does."""
    require("cv2", purpose="ReasonSeg")
    import cv2

    def paint(canvas: npt.NDArray[np.uint8], corners: npt.NDArray[np.float64], value: int) -> None:
        # truncated and not rounded, as LISA does, and so equal to its masks in every pixel
        points = [corners.astype(np.int32)]
        cv2.polylines(canvas, points, True, value, 1)
        cv2.fillPoly(canvas, points, value)

    # each shape is painted alone, and its pixels are counted with its outline
    areas = []
    for _, corners in annotation.shapes:
        alone = np.zeros(size, np.uint8)
        paint(alone, corners, 1)
        areas.append(int(alone.sum()))
    canvas = np.zeros(size, np.uint8)
    for place in np.argsort(areas)[::-1]:  # of equal areas the one that LISA's argsort puts last
        ignored, corners = annotation.shapes[place]
        paint(canvas, corners, 255 if ignored else 1)
    return canvas == 1, canvas == 255


def _file_samples(root: Path, split: str) -> Iterator[tuple[str, Callable[[], Sample]]]:
    places = [root / split, root / "ReasonSeg" / split, root]
    for place in places:
        annotations = sorted(place.glob("*.json")) if place.is_dir() else []
        if annotations:
            break
    else:
        raise InputError(f"reasonseg: no JSON files in {root / split}. {SOURCE}")
    # what is left of them has no JSON file, and is reported as a broken record
    images = {path.stem: path for path in place.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    for path in annotations:
        image = images.pop(path.stem, path.with_suffix(".jpg"))
        yield str(path), partial(_file_sample, path, image, split)
    for left in sorted(images.values()):
        yield str(left), partial(_without_annotation, left)


def _file_sample(path: Path, image: Path, split: str) -> Sample:
    annotation = read_annotation(path)
    size = image_size(image)
    target, ignored = rasterise(annotation, size)
    # a target may rightly be empty, where an ignored shape covers it; it is broken where even alone
    # it has no pixel, since the image is then not the one that was annotated
    meant = replace(annotation, shapes=[shape for shape in annotation.shapes if not shape[0]])
    if meant.shapes and not target.any() and not rasterise(meant, size)[0].any():
        raise InputError(f"its target is outside the {size[1]}x{size[0]} pixels of the image")
    return Sample(
        id=path.stem,
        query=annotation.question,
        image=image,
        truth=masks_of([encode_mask(target)] if target.any() else [], size),
        ignore=encode_mask(ignored) if ignored.any() else None,
        tags={"split": split, "length": "long" if annotation.long else "short"},
    )


def _without_annotation(image: Path) -> Sample:
    raise InputError(f"there is no {image.with_suffix('.json').name} for it")


def _table_samples(
    tables: Sequence[Path], root: Path
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    name = (root if root.is_dir() else root.parent).resolve().name
    for row in table_rows(tables, ("image", "text", "mask"), SOURCE):
        yield row.where, partial(_table_sample, row, name)


def _table_sample(row: TableRow, split: str) -> Sample:
    if not row.has_image:
        raise InputError("it has no image")
    size = row.number_of("img_height"), row.number_of("img_width")
    target = row.mask("mask", size)
    ids = [str(row.get(name)) for name in ("image_id", "ann_id") if row.get(name) is not None]
    tags = {"split": split}
    if row.get("reasoning_type") is not None:
        tags["reasoning"] = str(row.get("reasoning_type"))
    about: dict[str, Any] = {"image": ids[0]} if ids else {}
    return Sample(
        id="-".join(dict.fromkeys(ids)) or row.where,
        query=text({"text": row.get("text")}, "text"),
        image=row.image,
        truth=masks_of([encode_mask(target)] if target.any() else [], size),
        tags=tags,
        about=about,
    )
