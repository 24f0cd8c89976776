"""Broken files of benchmarks: each error names the file and the fault."""

import contextlib
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent.errors import InputError
from tests.benchmark_folders import (
    FLAT,
    FOLDERS,
    INSTANCES,
    SIZE,
    answered,
    dump,
    packed,
    picture,
    read,
    rle,
    square,
)
from tests.broken_json import broken

FUZZ = int(os.environ.get("FUZZ", "60"))
"""Broken files for each benchmark; more find rarer faults."""

Break = Callable[[Path], Any]


def edit(name: str, change: Callable[[Any], Any]) -> Break:
    """Change the JSON of a file in place."""

    def apply(root: Path) -> None:
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))

    return apply


def line(**change: Any) -> Break:
    """Put a line in the middle of the user's own file, whole but for a change."""

    def apply(root: Path) -> None:
        path = root / "own.jsonl"
        lines = path.read_text().splitlines()
        whole = {"image": "x.jpg", "query": "q", "masks": [], "id": "new"}
        lines.insert(1, json.dumps(whole | change))
        path.write_text("\n".join(lines))

    return apply


def text(name: str, content: str) -> Break:
    return lambda root: (root / name).write_text(content)


def masked(name: str, pixels: Any, **options: Any) -> Break:
    """Put a line into the user's own file whose mask is a picture of these values."""

    def apply(root: Path) -> None:
        Image.fromarray(pixels).save(root / name, **options)
        line(masks=[name])(root)

    return apply


def reasonseg(*points: Any) -> Break:
    """Adds val/b.jpg and val/b.json with a shape of these points, and one that is ignored."""

    def apply(root: Path) -> None:
        picture(root / "val/b.jpg")
        shapes = [{"label": "target", "points": points}]
        shapes.append({"label": "ignore", "points": ([1, 1], [9, 1], [9, 9])})
        dump(root / "val/b.json", {"text": ["x"], "is_sentence": True, "shapes": shapes})

    return apply


def reasonseg_text(content: str) -> Break:
    return lambda root: (picture(root / "val/b.jpg"), (root / "val/b.json").write_text(content))


SILVER = "annotations/silver_toys_merged_test.json"
OMNILABEL = "dataset_all_val_v0.1.3.json"


def saco_annotation(*points: float) -> Break:
    """Adds an annotation of these points to the second image."""
    one = {"id": 5, "image_id": 2, "category_id": 1, "segmentation": [points]}
    return edit(SILVER, lambda whole: whole["annotations"].append(one))


def soft(dtype: Any = np.uint8) -> Any:
    """The square, its outline half as bright."""
    out = np.zeros(SIZE, dtype)
    out[4:16, 4:16] = np.iinfo(dtype).max // 2
    out[square()] = np.iinfo(dtype).max
    return out


def two_valued(dtype: Any = np.uint8) -> Any:
    return square().astype(dtype) * np.iinfo(dtype).max


def second(root: Path, name: str, source: str) -> None:
    (root / name).write_bytes((root / source).read_bytes())


PROBLEMS: list[tuple[str, Break, str]] = [
    ("jsonl", line(image="gone.jpg"), r"own.jsonl:2: there is no image .*gone.jpg"),
    ("jsonl", line(image="own.jsonl"), r"own.jsonl:2: .* is no image that can be read"),
    ("jsonl", line(image=3), r"own.jsonl:2: 'image' is int, and must be str"),
    ("jsonl", line(query="  "), r"own.jsonl:2: 'query' is empty"),
    ("jsonl", line(masks=None), r"own.jsonl:2: 'masks' is NoneType, and must be list"),
    ("jsonl", line(masks=[[[1, 1], [2, 2]]]), r"2: masks\[0\]: a polygon has 2 points"),
    ("jsonl", line(masks=[[[1, 1, 2, 2]]]), r"2: masks\[0\]: a polygon has 2 points"),
    ("jsonl", line(masks=[[1, 1, 2, 2, 3]]), r"2: masks\[0\]: a polygon must be \[x, y"),
    ("jsonl", line(masks=[[1, 1, 2, "b"]]), r"masks\[0\]: .* coordinates that are no numbers"),
    ("jsonl", line(masks=[[1, 1, 2, 2, float("nan"), 1]]), r"coordinate that is not finite"),
    ("jsonl", line(masks=[[1, 1, 2, 2, 1e300, 1]]), r"a polygon has the coordinate 1e\+300"),
    ("jsonl", line(masks=[rle(square((30, 20)))]), r"size \[30, 20\] .*, the image \[20, 30\]"),
    ("jsonl", line(masks=[{"size": [20, 30], "counts": "12"}]), r"does not cover the 30x20"),
    ("jsonl", line(masks=[{"size": [20, 30], "counts": "\u00ffoo"}]), r"masks\[0\]: its RLE"),
    ("jsonl", line(masks=[{"size": [20, 30], "counts": ""}]), r"masks\[0\]: its RLE"),
    ("jsonl", line(masks=[{"size": [20, 30], "counts": [600.5]}]), r"runs that are no whole"),
    ("jsonl", line(masks=[{"size": [20, 30], "counts": [700, -100]}]), r"not in 0..600 pixels"),
    ("jsonl", line(masks=["gone.png"]), r"masks\[0\]: there is no mask .*gone.png"),
    ("jsonl", line(masks=[7]), r"masks\[0\]: it is neither an RLE, nor a polygon"),
    ("jsonl", masked("black.png", np.zeros(SIZE, np.uint8)), r"masks\[0\]: it marks no pixel"),
    ("jsonl", line(masks=[rle(square() & False)]), r"masks\[0\]: it marks no pixel of the image"),
    ("jsonl", line(masks=[[50, 5, 60, 5, 60, 15]]), r"masks\[0\]: it marks no pixel"),
    ("jsonl", line(masks=[[5, -30, 15, -30, 15, -9]]), r"masks\[0\]: it marks no pixel"),
    ("jsonl", line(masks=[[5, 5, 10, 5, 25, 5]]), r"masks\[0\]: it marks no pixel"),
    ("jsonl", line(masks=[FLAT, [3, 3, 9, 9, 15, 15]]), r"masks\[1\]: it marks no pixel"),
    ("jsonl", line(masks=[[[5, 5], [5, 5], [5, 5]]]), r"a polygon without area or outside"),
    ("jsonl", masked("m.jpg", two_valued()), r"m.jpg has \d+ pixels between black and the mask"),
    ("jsonl", masked("m.webp", two_valued(), quality=30), r"m.webp has \d+ pixels between"),
    ("jsonl", masked("soft.png", soft()), r"soft.png has 44 pixels between black and the mask"),
    ("jsonl", masked("deep.png", soft(np.uint16)), r"deep.png has 44 pixels between"),
    ("jsonl", masked("rgb.png", np.stack([soft()] * 3, 2)), r"rgb.png has 44 pixels between"),
    ("jsonl", masked("float.tiff", soft().astype(np.float32)), r"float.tiff has 44 pixels"),
    ("jsonl", masked("size.png", two_valued()[:, :29]), r"size.png is 29x20 pixels, the image"),
    ("jsonl", line(id=3), r"own.jsonl:5: the id '3' is there twice"),
    (
        "reasonseg",
        lambda root: picture(root / "val/b.jpg"),
        r"val/b.jpg: there is no b.json for it",
    ),
    (
        "reasonseg",
        lambda root: dump(root / "val/b.json", {"text": ["x"], "is_sentence": False, "shapes": []}),
        r"val/b.json: there is no image .*b.jpg",
    ),
    (
        "reasonseg",
        reasonseg([1, 1], [2, 2]),
        r"b.json: shapes\[0\]: a polygon has 2 points, and needs three",
    ),
    ("reasonseg", reasonseg_text("{\n1}"), r"b.json: .*b.json:2: not JSON"),
    ("reasonseg", reasonseg_text(""), r"b.json is empty"),
    (
        "reasonseg",
        reasonseg([40, 1], [50, 1], [50, 9]),
        r"b.json: its target is outside the 30x20 pixels of the image",
    ),
    (
        "grefcoco",
        edit("grefcoco/instances.json",
             lambda whole: whole["annotations"][1].update(segmentation=[[3, 3, 9, 9, 15, 15]])),
        r"\[1\].sentences\[0\]: annotation 4: it marks no pixel of the image",
    ),
    (
        "grefcoco",
        edit("grefcoco/grefs(unc).json", lambda refs: refs[1].update(ann_id=[3, 99])),
        r"grefs\(unc\).json \[1\].sentences\[0\]: its annotation 99 is not in .*instances.json",
    ),
    (
        "grefcoco",
        edit("grefcoco/grefs(unc).json", lambda refs: refs[2].update(no_target=False)),
        r"\[2\].sentences\[0\]: 'no_target' is False, but 'ann_id' is \[-1\]",
    ),
    (
        "grefcoco",
        edit("grefcoco/grefs(unc).json", lambda refs: refs[2].update(ref_id=1)),
        r"\[2\].sentences\[0\]: the id '1-1' is there twice",
    ),
    (
        "grefcoco",
        edit("grefcoco/instances.json", lambda whole: whole["annotations"][1].update(image_id=8)),
        r"annotation 4 belongs to image 8",
    ),
    (
        "saco-silver",
        edit(SILVER,
             lambda whole: whole["images"][1].update(file_name="gone.jpg")),
        r"silver_toys_merged_test.json image 2: there is no image gone.jpg",
    ),
    (
        "saco-silver",
        edit(SILVER,
             lambda whole: whole["images"][1].update(width=31)),
        r"image 2: .*x.jpg is 30x20 pixels, annotated as 31x20",
    ),
    ("saco-silver", saco_annotation(1, 2, 3, 4), r"image 2: annotation 5: a polygon has 2 points"),
    (
        "saco-silver",
        saco_annotation(40, 2, 50, 2, 50, 9),
        r"image 2: annotation 5: it marks no pixel of the image",
    ),
    (
        "omnilabel",
        edit(OMNILABEL,
             lambda whole: whole["annotations"][0].update(bbox=[1, 1, 9, 0])),
        r"descriptions\[0\] of image 7: annotation 1: its box is \[1, 1, 9, 0\], without an area",
    ),
    (
        "omnilabel",
        edit(OMNILABEL,
             lambda whole: whole["annotations"][0].update(bbox=[1, 1, float("nan"), 1])),
        r"descriptions\[0\] of image 7: annotation 1: its box is \[1, 1, nan, 1\]",
    ),
    (
        "counting",
        text("counts.jsonl", '{"image": "x.jpg", "label": "a", "count": 1}\n{"image": "x.jpg"}'),
        r"counts.jsonl:2: 'number' is missing",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "break_file", "message"), PROBLEMS, ids=lambda one: str(one)[:60])
def test_a_broken_record_is_named_and_the_others_are_read(
    tmp_path: Path, name: str, break_file: Break, message: str
) -> None:
    FOLDERS[name](tmp_path)
    whole = {sample.id for sample in read(name, tmp_path).samples}
    break_file(tmp_path)
    benchmark = read(name, tmp_path)
    (problem,) = benchmark.problems
    assert re.search(message, problem), problem
    left = {sample.id for sample in benchmark.samples}
    assert left
    assert left <= whole | {"line 8"}


REFUSED: list[tuple[str, Break, str]] = [
    ("jsonl", text("own.jsonl", ""), r"own.jsonl is empty"),
    ("jsonl", text("own.jsonl", "[1]\n"), r"none of 1 records .*own.jsonl:1: it is list"),
    ("jsonl", text("own.jsonl", "{oops\n"), r"own.jsonl:1: not JSON: .* at column 2"),
    ("jsonl", lambda root: second(root, "more.jsonl", "own.jsonl"), r"holds 2 .jsonl files"),
    ("reasonseg", text("val/a.json", "[]"), r"none of 1 records .* it is list"),
    ("reasonseg", text("val/a.json", json.dumps(INSTANCES)), r"'text' is missing"),
    ("refcoco", text("refcoco/refs(unc).p", ""), r"refs\(unc\).p is empty"),
    ("refcoco", text("refcoco/refs(unc).p", "hello"), r"is no pickle of plain values"),
    ("refcoco", text("refcoco/instances.json", ""), r"instances.json is empty"),
    ("refcoco", text("refcoco/instances.json", "[{}]"), r"instances.json: no COCO instances"),
    ("refcoco", lambda root: (root / "refcoco/instances.json").unlink(), r"cannot be read"),
    (
        "refcoco",
        lambda root: (root / "images/mscoco/images/train2014/x.jpg").unlink(),
        r"none of 2 records .* there is no image x.jpg in .*train2014",
    ),
    (
        "refcoco",
        lambda root: picture(root / "images/mscoco/images/train2014/x.jpg", (30, 30)),
        r"x.jpg is 30x30 pixels, annotated as 30x20",
    ),
    (
        "refcoco",
        edit("refcoco/instances.json", lambda whole: whole["images"].append(whole["images"][0])),
        r"instances.json: an id in 'images' is there twice",
    ),
    ("grefcoco", text("grefcoco/grefs(unc).json", "{}"), r"holds no list of references"),
    ("saco-silver", text(SILVER, "[]"), r"is no SA-Co file"),
    ("omnilabel", text(OMNILABEL, json.dumps(INSTANCES)), "is no OmniLabel"),
    (
        "omnilabel",
        edit(OMNILABEL, lambda whole: whole["images"].append(whole["images"][0])),
        r"the id of an image is there twice",
    ),
    (
        "omnilabel",
        edit(OMNILABEL, lambda whole: whole.pop("annotations")),
        r"has no annotations: it is a test set",
    ),
    ("counting", text("counts.jsonl", '{"image": "x.jpg"}'), r"counts.jsonl:1: 'number' is miss"),
    ("counting", text("test.parquet", "no"), r"test.parquet is no parquet file"),
]


@pytest.mark.parametrize(("name", "break_file", "message"), REFUSED, ids=lambda one: str(one)[:60])
def test_files_that_cannot_be_this_benchmarks_are_refused(
    tmp_path: Path, name: str, break_file: Break, message: str
) -> None:
    FOLDERS[name](tmp_path)
    break_file(tmp_path)
    with pytest.raises(InputError, match=message):
        read(name, tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("other", FOLDERS)
def test_the_folder_of_another_benchmark_is_refused(tmp_path: Path, name: str, other: str) -> None:
    if FOLDERS[name] is FOLDERS[other] or {name, other} <= {"refcoco", "grefcoco"}:
        return
    FOLDERS[other](tmp_path)
    with pytest.raises(InputError):
        read(name, tmp_path)


@pytest.mark.parametrize("name", FOLDERS)
def test_any_invalid_value_in_a_file_is_an_input_error(tmp_path: Path, name: str) -> None:
    FOLDERS[name](tmp_path)
    rng = np.random.default_rng(11)
    files = [
        path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".json", ".jsonl", ".p")
    ]
    for _ in range(FUZZ):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        if path.suffix == ".p":
            path.write_bytes(pickle.dumps(broken(pickle.loads(whole), rng)))
        elif path.suffix == ".jsonl":
            lines = [json.loads(line) for line in whole.decode().splitlines() if line]
            path.write_text("\n".join(map(json.dumps, broken(lines, rng))))
        else:
            path.write_text(json.dumps(broken(json.loads(whole), rng)))
        with contextlib.suppress(InputError):
            benchmark = read(name, tmp_path)
            rows = [answered(one, one.truth or packed()) for one in benchmark.samples]
            benchmark.metrics(rows)
            assert all(0 <= benchmark.score(row) <= 1 for row in rows)
        path.write_bytes(whole)
