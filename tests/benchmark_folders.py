"""Small valid folders of every benchmark, and what tests of benchmarks need beside them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent.evals import benchmarks
from sam3_agent.evals.benchmark import Benchmark, Row, Sample
from sam3_agent.masks import Masks

SIZE = (20, 30)
SQUARE = [[5, 5], [14, 5], [14, 14], [5, 14]]
FLAT = [5, 5, 15, 5, 15, 15, 5, 15]


def square(size: tuple[int, int] = SIZE, x: int = 5) -> Any:
    mask = np.zeros(size, np.bool_)
    mask[5:15, x : x + 10] = True
    return mask


def packed(*dense: Any) -> Masks:
    return Masks.from_dense(np.array(dense)) if dense else Masks.empty(SIZE)


def box_masks(size: tuple[int, int], *boxes: Any, scores: Any = None, phrases: Any = None) -> Masks:
    """Rectangular masks of a (height, width) image."""
    dense = np.zeros((len(boxes), *size), np.bool_)
    for one, (x0, y0, x1, y1) in zip(dense, boxes, strict=True):
        one[y0:y1, x0:x1] = True
    return Masks.from_dense(dense, scores, phrases)


def rle(dense: Any) -> dict[str, Any]:
    return packed(dense).rle()[0]


def answered(sample: Sample, pred: Masks) -> Row:
    return Row(
        id=sample.id,
        query=sample.query,
        truth=sample.truth,
        ignore=sample.ignore,
        tags=sample.tags,
        about=json.loads(json.dumps(dict(sample.about))),  # a row comes back from a file
        pred=pred,
        found=pred,
        text="",
        status="answered",
        error=None,
        usage={},
        messages=(),
    )


def picture(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), "gray").save(path)
    return path


def write_table(path: Path, rows: list[dict[str, Any]], **options: Any) -> None:
    """Writes rows as a parquet file; skips the test without pyarrow."""
    table, parquet = pytest.importorskip("pyarrow").Table, pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.from_pylist(rows), path, **options)


def dump(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read(name: str, data: Path | None, split: str | None = None) -> Benchmark:
    return benchmarks.read(name, data, split)


# -- valid folders: the truth of the first sample is the square -----------------------------------


def reasonseg(root: Path) -> None:
    picture(root / "val/a.jpg")
    dump(root / "val/a.json", {
        "text": ["what is square?", "another wording"], "is_sentence": True,
        "shapes": [{"label": "target", "points": SQUARE},
                   {"label": "Ignore", "points": [[16, 0], [18, 0], [18, 2]]},
                   {"label": "flag", "points": [[0, 0], [9, 0]]}]})  # fmt: skip


INSTANCES = {
    "images": [{"id": 7, "file_name": "x.jpg", "width": 30, "height": 20}],
    "annotations": [
        {"id": 3, "image_id": 7, "segmentation": [FLAT], "iscrowd": 0},
        {"id": 4, "image_id": 7, "segmentation": rle(square(x=18)), "iscrowd": 1},
    ],
    "categories": [],
}
SENTENCES = [{"sent_id": 1, "sent": "the square"}, {"sent_id": 2, "sent": "box on the left"}]


def python2(value: Any) -> bytes:
    """A pickle as Python 2 wrote it, its text as bytes: how REFER's files are."""
    if isinstance(value, str):
        return b"U" + bytes([len(value)]) + value.encode()
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little")
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    return b"}(" + b"".join(python2(key) + python2(one) for key, one in value.items()) + b"u"


def refcoco(root: Path, dataset: str = "refcoco", by: str = "unc") -> None:
    picture(root / "images/mscoco/images/train2014/x.jpg")
    dump(root / dataset / "instances.json", INSTANCES)
    ref = {"ref_id": 9, "ann_id": 3, "image_id": 7, "split": "val", "sentences": SENTENCES}
    refs = [ref, {**ref, "ref_id": 10, "ann_id": 4, "split": "testA"}]
    (root / dataset / f"refs({by}).p").write_bytes(b"\x80\x02" + python2(refs) + b".")


def grefcoco(root: Path) -> None:
    refcoco(root)
    ref = {"image_id": 7, "split": "val", "sentences": SENTENCES[:1]}
    dump(root / "grefcoco/instances.json", INSTANCES)
    dump(root / "grefcoco/grefs(unc).json", [
        {**ref, "ref_id": 1, "ann_id": [3], "no_target": False},
        {**ref, "ref_id": 2, "ann_id": [3, 4], "no_target": False},
        {**ref, "ref_id": 3, "ann_id": [-1], "no_target": True}])  # fmt: skip


def saco_file(dense: Any, **more: Any) -> dict[str, Any]:
    pair = {"text_input": "square", "file_name": "1/x.jpg", "width": 30, "height": 20}
    return {
        "images": [{**pair, "id": n, "is_instance_exhaustive": n < 3} for n in (1, 2, 3)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": rle(dense)}
        ],
        "categories": [{"id": 1, "name": "object"}],
    }


def saco_gold(root: Path) -> None:
    picture(root / "images/1/x.jpg")
    for annotator, x in (("a", 5), ("b", 9), ("c", 18)):
        dump(root / f"gold_toys_merged_{annotator}_release_test.json", saco_file(square(x=x)))


def saco_silver(root: Path) -> None:
    picture(root / "images/1/x.jpg")
    dump(root / "annotations/silver_toys_merged_test.json", saco_file(square()))


def omnilabel(root: Path) -> None:
    picture(root / "coco/x.jpg")
    kinds = {1: ("object_category", "square"), 2: ("object_description", "the red square")}
    dump(root / "dataset_all_val_v0.1.3.json", {
        "images": [{"id": 7, "file_name": "coco/x.jpg"}],
        "descriptions": [{"id": n, "text": text, "image_ids": [7], "anno_info": {"type": kind}}
                         for n, (kind, text) in kinds.items()],
        "annotations": [{"id": 1, "image_id": 7, "bbox": [5, 5, 10, 10],
                         "description_ids": [1]}]})  # fmt: skip


def counting(root: Path) -> None:
    picture(root / "x.jpg")
    lines = [{"image": "x.jpg", "question": "How many squares?", "count": 1},
             {"image": "x.jpg", "label": "dogs", "count": 0}]  # fmt: skip
    (root / "counts.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def jsonl(root: Path) -> None:
    picture(root / "x.jpg")
    Image.fromarray((square() * 255).astype(np.uint8)).save(root / "m.png")
    line = {"image": "x.jpg", "query": "the square"}
    shapes = [rle(square()), FLAT, [FLAT], [[[5, 5], [15, 5], [15, 15], [5, 15]]], "m.png",
              {"size": list(SIZE), "counts": _runs(square())}]  # fmt: skip
    lines = [
        {**line, "id": n, "masks": [shape], "tags": {"kind": "there"}}
        for n, shape in enumerate(shapes)
    ]
    lines.append({**line, "masks": [], "ignore": rle(square(x=18))})
    (root / "own.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")


def _runs(dense: Any) -> list[int]:
    flat = np.asfortranarray(dense).ravel(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    return [int(run) for run in np.diff(np.array([0, *edges, flat.size]))]


FOLDERS: dict[str, Callable[[Path], None]] = {
    "reasonseg": reasonseg,
    "refcoco": refcoco,
    "refcoco+": lambda root: refcoco(root, "refcoco+"),
    "refcocog": lambda root: refcoco(root, "refcocog", "umd"),
    "refcocog-google": lambda root: refcoco(root, "refcocog", "google"),
    "grefcoco": grefcoco,
    "saco-gold": saco_gold,
    "saco-silver": saco_silver,
    "omnilabel": omnilabel,
    "counting": counting,
    "jsonl": jsonl,
}
