"""Benchmarks out of files: what is read, what it is scored by, and what is said of broken files."""

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
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.evals import benchmarks
from sam3_agent.evals.benchmark import Benchmark, Row, Sample
from sam3_agent.evals.benchmarks.reasonseg import rasterise, read_annotation
from sam3_agent.evals.shapes import coco_mask
from sam3_agent.masks import Masks
from tests.conftest import SHARED
from tests.junk import junked

SIZE = (20, 30)
FUZZ = int(os.environ.get("FUZZ", "60"))
SQUARE = [[5, 5], [14, 5], [14, 14], [5, 14]]
FLAT = [5, 5, 15, 5, 15, 15, 5, 15]


def square(size: tuple[int, int] = SIZE, x: int = 5) -> Any:
    mask = np.zeros(size, np.bool_)
    mask[5:15, x : x + 10] = True
    return mask


def packed(*dense: Any) -> Masks:
    return Masks.from_dense(np.array(dense)) if dense else Masks.empty(SIZE)


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
    Image.new("RGB", size[::-1], "gray").save(path)
    return path


def dump(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def read(name: str, data: Path | None, split: str | None = None) -> Benchmark:
    return benchmarks.read(name, data, split)


# -- folders that are whole: each has one sample named first, whose truth is the square -----------


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
    return [int(run) for run in np.diff([0, *edges, flat.size])]


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
HEADLINE = {
    "reasonseg": "lisa_giou",
    "grefcoco": "giou",
    "saco-gold": "pmf1",
    "saco-silver": "pmf1",
    "omnilabel": "AP-categ",
    "counting": "accuracy",
    "jsonl": "giou",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_truth_as_answer_scores_full_marks_and_nothing_does_not(
    tmp_path: Path, name: str
) -> None:
    FOLDERS[name](tmp_path)
    benchmark = read(name, tmp_path)
    assert benchmark.name == name
    assert not benchmark.problems
    assert len({sample.id for sample in benchmark.samples}) == len(benchmark.samples) > 0
    first = benchmark.samples[0]
    assert first.query.rstrip("?").endswith(("square", "squares"))
    if first.truth is not None:
        assert (first.truth.union() == square()).all()
    right, wrong = [], []
    for sample in benchmark.samples:
        truth = sample.truth
        if truth is None:
            truth = packed(square()) if sample is first else packed()
        right.append(answered(sample, truth))
        wrong.append(answered(sample, packed() if len(truth) else packed(square())))
    headline = HEADLINE.get(name, "miou")
    metrics = benchmark.metrics(right)
    assert metrics[headline] == pytest.approx(1, abs=2e-4)
    assert metrics["n"] == len(right)
    assert benchmark.metrics(wrong)[headline] == 0
    assert [benchmark.score(row) for row in right] == pytest.approx([1] * len(right), abs=2e-4)
    assert [benchmark.score(row) for row in wrong] == [0] * len(wrong)
    for metric, (low, high) in benchmark.intervals(right).items():
        assert low <= metrics[metric] <= high


@pytest.mark.parametrize("name", FOLDERS)
def test_without_data_the_error_says_where_to_get_it(tmp_path: Path, name: str) -> None:
    for data in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=r"https://|huggingface.co|write a file|holds 0"):
            read(name, data)


def test_there_is_a_list_of_names() -> None:
    with pytest.raises(InputError, match=r"no benchmark 'coco'; choose one of .*reasonseg,"):
        benchmarks.read("coco")


# -- what the files mean --------------------------------------------------------------------------


def test_reasonseg_takes_the_first_text_splits_by_length_and_ignores(tmp_path: Path) -> None:
    reasonseg(tmp_path)
    (sample,) = read("reasonseg", tmp_path).samples
    assert (sample.id, sample.query) == ("a", "what is square?")
    assert sample.tags == {"split": "val", "length": "long"}
    assert sample.ignore is not None
    assert int(coco.area(sample.ignore)) == 6
    found = packed(square(), square(x=18))
    benchmark = read("reasonseg", tmp_path)
    assert "lisa (" in benchmark.note
    assert "segzero (" in benchmark.note
    metrics = benchmark.metrics([answered(sample, found)])
    union = square() | square(x=18)
    ignored = coco.decode(sample.ignore).astype(bool)
    assert metrics["lisa_giou"] == 100 / (union & ~ignored).sum()
    target = square() | ignored
    assert metrics["segzero_giou"] == (union & target).sum() / (union | target).sum()


def test_a_smaller_shape_overwrites_a_larger_one_whatever_their_order(tmp_path: Path) -> None:
    hole = [[8, 8], [10, 8], [10, 10], [8, 10]]
    for order in (1, -1):
        shapes = [{"label": "target", "points": SQUARE}, {"label": "ignored", "points": hole}]
        path = dump(tmp_path / "a.json", {
            "text": ["x"], "is_sentence": False, "shapes": shapes[::order]})  # fmt: skip
        target, ignored = rasterise(read_annotation(path), SIZE)
        assert (int(target.sum()), int(ignored.sum())) == (91, 9)


def test_reasonseg_reads_cp1252_where_a_file_is_not_utf8(tmp_path: Path) -> None:
    content = {"text": ["the dog\u2019s toy"], "is_sentence": False, "shapes": []}
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode("cp1252"))
    assert read_annotation(path).question == "the dog\u2019s toy"


def lisa_cases() -> list[tuple[Path, dict[str, Any]]]:
    golden = SHARED / "golden/lisa_masks.json"
    if not golden.exists():
        return []
    cases = {}
    for case in json.loads(golden.read_text())["masks"]:
        for path in (SHARED / "data/lisa_format").glob(f"*/{Path(case['json']).name}"):
            cases[path] = case
    return list(cases.items())


@pytest.mark.skipif(not lisa_cases(), reason="needs ../shared")
@pytest.mark.parametrize(("path", "case"), lisa_cases(), ids=lambda one: getattr(one, "stem", ""))
def test_lisas_files_rasterise_to_the_golden_masks(path: Path, case: Any) -> None:
    annotation = read_annotation(path)
    assert annotation.question == case["text"][0]
    assert annotation.long == case["is_sentence"]
    target, ignored = rasterise(annotation, tuple(case["size"]))
    assert (target == coco.decode(case["target"]).astype(bool)).all()
    assert (ignored == coco.decode(case["ignore"]).astype(bool)).all()
    assert (target.sum(), ignored.sum()) == (case["target_px"], case["ignore_px"])


@pytest.mark.skipif(not lisa_cases(), reason="needs ../shared")
def test_a_folder_of_lisas_files_is_read(tmp_path: Path) -> None:
    benchmark = read("reasonseg", SHARED / "data/lisa_format/cityanchor")
    assert len(benchmark.samples) == 3
    assert not benchmark.problems
    assert benchmark.samples[0].truth is not None
    assert int(benchmark.samples[0].truth.areas()[0]) == 167120
    with pytest.raises(InputError, match=r"none of 2 records can be used; .* no image .*\.jpg"):
        read("reasonseg", SHARED / "data/lisa_format/reasonseg_val")


def test_reasonseg_tables_are_read_with_their_pictures(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    raw = picture(tmp_path / "a.png").read_bytes()
    rows = [
        {"image": {"bytes": raw, "path": "a.png"}, "text": "what is square?",
         "mask": square(x=5 + n).tolist(), "image_id": "a", "ann_id": str(n), "img_height": 20,
         "img_width": 30 if n else 31, "reasoning_type": "function"}
        for n in range(3)
    ]  # fmt: skip
    folder = tmp_path / "ReasonSegX_test"
    (folder / "data").mkdir(parents=True)
    path = folder / "data/test-00000-of-00001.parquet"
    parquet.write_table(table.Table.from_pylist([row | {"mask": "m"} for row in rows]), path)
    with pytest.raises(InputError, match="'mask' is missing, or is no list of lists"):
        read("reasonseg", folder)
    parquet.write_table(table.Table.from_pylist(rows), path, row_group_size=2)
    benchmark = read("reasonseg", folder)
    assert [sample.id for sample in benchmark.samples] == ["a-1", "a-2"]
    for n, sample in enumerate(benchmark.samples, start=1):
        assert sample.tags == {"split": "ReasonSegX_test", "reasoning": "function"}
        assert sample.truth is not None
        assert (sample.truth.union() == square(x=5 + n)).all()
        assert callable(sample.image)
        assert sample.image().shape == (20, 30, 3)
    assert benchmark.problems == [
        f"{path} row 0: its mask has 20 lines and 600 pixels, the image is 31x20"
    ]
    with pytest.raises(InputError, match="no table of 'val', only of test"):
        read("reasonseg", folder, "val")


def test_refcoco_has_a_sample_for_every_sentence_of_the_split(tmp_path: Path) -> None:
    refcoco(tmp_path)
    samples = read("refcoco", tmp_path).samples
    assert [(sample.id, sample.query) for sample in samples] == [
        ("9-1", "the square"), ("9-2", "box on the left")]  # fmt: skip
    assert samples[0].image == tmp_path / "images/mscoco/images/train2014/x.jpg"
    (crowd, _) = read("refcoco", tmp_path, "testA").samples
    assert crowd.truth is not None
    assert (crowd.truth.union() == square(x=18)).all()
    with pytest.raises(InputError, match=r"no split 'testB', only testA, val"):
        read("refcoco", tmp_path, "testB")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("ran").touch, ())

    refcoco(tmp_path)
    path = tmp_path / "refcoco/refs(unc).p"
    path.write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(InputError, match=r"refs\(unc\).p is refused: it wants to load"):
        read("refcoco", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_grefcoco_tells_one_several_and_none(tmp_path: Path) -> None:
    grefcoco(tmp_path)
    samples = read("grefcoco", tmp_path).samples
    assert [sample.tags["kind"] for sample in samples] == ["one", "several", "no target"]
    assert [len(sample.truth) for sample in samples if sample.truth is not None] == [1, 2, 0]


def test_saco_gold_scores_against_the_annotator_who_agrees_best(tmp_path: Path) -> None:
    saco_gold(tmp_path)
    benchmark = read("saco-gold", tmp_path)
    positive, negative = benchmark.samples  # the third is not exhaustive
    assert [one.tags["kind"] for one in benchmark.samples] == ["positive", "negative"]
    for x in (5, 9, 18):
        assert benchmark.score(answered(positive, packed(square(x=x)))) > 0.999
    assert benchmark.score(answered(positive, packed(square(x=0)))) < 0.1
    unsure = Masks.from_dense(np.array([square()]), scores=[0.49])
    assert benchmark.score(answered(negative, unsure)) == 1


def test_subsets_of_saco_count_alike_whatever_their_size(tmp_path: Path) -> None:
    saco_gold(tmp_path)
    for annotator in "abc":
        path = tmp_path / f"gold_toys_merged_{annotator}_release_test.json"
        (tmp_path / path.name.replace("toys", "food")).write_text(path.read_text())
    benchmark = read("saco-gold", tmp_path)
    food = [answered(one, one.truth or packed()) for one in benchmark.samples[:2]]
    toys = [answered(one, packed()) for one in benchmark.samples[2:]]
    whole = benchmark.metrics(food * 5 + toys)["pmf1"]
    assert whole == pytest.approx(benchmark.metrics(food * 5)["pmf1"] / 2)
    assert {row.tags["split"] for row in food} == {"food"}
    assert len(read("saco-gold", tmp_path, "toys").samples) == 2


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_metas_own_sample_and_omnilabels_are_read(tmp_path: Path) -> None:
    content = json.loads((SHARED / "data/saco/saco_gold_readme_sample.json").read_text())
    dump(tmp_path / "gold_wiki_common_merged_a_release_test.json", content)
    for image in content["images"]:
        picture(tmp_path / "images" / image["file_name"], (600, 600))
    samples = read("saco-gold", tmp_path).samples
    assert [(one.query, len(one.truth or ())) for one in samples] == [
        ("chili", 2), ("the fish ball", 0)]  # fmt: skip

    content = json.loads((SHARED / "data/omnilabel/8357.json").read_text())
    dump(tmp_path / "omni/8357.json", content)
    picture(tmp_path / "omni" / content["images"][0]["file_name"])
    samples = read("omnilabel", tmp_path / "omni").samples
    assert len(samples) == 369
    assert sum(len(one.about["boxes"]) for one in samples) == 8


def test_pixmo_pictures_are_found_by_their_hash(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    picture(tmp_path / "images/abc.png")
    rows = [
        {"image_url": "https://x/y.png", "image_sha256": digest, "count": 4, "label": "people"}
        for digest in ("abc", "def")
    ]
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/test-00000-of-00001.parquet"
    parquet.write_table(table.Table.from_pylist(rows), path)
    benchmark = read("counting", tmp_path, "test")
    (sample,) = benchmark.samples
    assert sample.query == "How many people are there in the image?"
    assert (sample.image, sample.about["count"]) == (tmp_path / "images/abc.png", 4)
    assert benchmark.problems == [
        f"{path} row 1: there is no {tmp_path}/images/def.*; it was at https://x/y.png"
    ]


def test_countbench_tables_have_their_pictures_inside(tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    raw = picture(tmp_path / "a.png").read_bytes()
    row = {"image": {"bytes": raw, "path": None}, "question": "How many cats?", "number": 3}
    parquet.write_table(table.Table.from_pylist([row]), tmp_path / "test.parquet")
    (sample,) = read("counting", tmp_path / "test.parquet").samples
    assert (sample.query, sample.about["count"]) == ("How many cats?", 3)
    assert callable(sample.image)
    assert sample.image().shape == (20, 30, 3)


def test_every_form_of_ones_own_masks_means_the_same(tmp_path: Path) -> None:
    jsonl(tmp_path)
    *there, nothing = read("jsonl", tmp_path).samples
    assert len(there) == 6
    for sample in there:
        assert sample.truth is not None
        assert (sample.truth.dense() == square()[None]).all()
        assert sample.tags == {"kind": "there"}
    assert [one.id for one in there] == ["0", "1", "2", "3", "4", "5"]
    assert nothing.id == "line 7"
    assert nothing.ignore is not None


# -- files that are broken ------------------------------------------------------------------------

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
    ("jsonl", line(masks=[{"size": [20, 30], "counts": [700, -100]}]), r"runs that are no whole"),
    ("jsonl", line(masks=["gone.png"]), r"masks\[0\]: there is no mask .*gone.png"),
    ("jsonl", line(masks=[7]), r"masks\[0\]: it is neither an RLE, nor a polygon"),
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
        lambda root: (
            picture(root / "val/b.jpg"),
            dump(root / "val/b.json", {"text": ["x"], "is_sentence": True, "shapes": [
                {"label": "target", "points": [[1, 1], [2, 2]]}]}),
        ),
        r"b.json: shapes\[0\]: a polygon has 2 points, and needs three",
    ),
    (
        "reasonseg",
        lambda root: (picture(root / "val/b.jpg"), (root / "val/b.json").write_text("{\n1}")),
        r"b.json: .*b.json:2: not JSON",
    ),
    (
        "reasonseg",
        lambda root: (picture(root / "val/b.jpg"), (root / "val/b.json").write_text("")),
        r"b.json is empty",
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
        edit("annotations/silver_toys_merged_test.json",
             lambda whole: whole["images"][1].update(file_name="gone.jpg")),
        r"silver_toys_merged_test.json image 2: there is no image gone.jpg",
    ),
    (
        "saco-silver",
        edit("annotations/silver_toys_merged_test.json",
             lambda whole: whole["images"][1].update(width=31)),
        r"image 2: .*x.jpg is 30x20 pixels, annotated as 31x20",
    ),
    (
        "saco-silver",
        edit("annotations/silver_toys_merged_test.json",
             lambda whole: whole["annotations"].append(
                 {"id": 5, "image_id": 2, "category_id": 1, "segmentation": [[1, 2, 3, 4]]})),
        r"image 2: annotation 5: a polygon has 2 points",
    ),
    (
        "omnilabel",
        edit("dataset_all_val_v0.1.3.json",
             lambda whole: whole["annotations"][0].update(bbox=[1, 1, float("nan"), 1])),
        r"descriptions\[0\] of image 7: annotation 1: its box is \[1, 1, nan, 1\]",
    ),
    (
        "counting",
        text("counts.jsonl", '{"image": "x.jpg", "label": "a", "count": 1}\n{"image": "x.jpg"}'),
        r"counts.jsonl:2: 'number' is missing",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm", "message"), PROBLEMS, ids=lambda one: str(one)[:60])
def test_a_broken_record_is_named_and_the_others_are_read(
    tmp_path: Path, name: str, harm: Break, message: str
) -> None:
    FOLDERS[name](tmp_path)
    whole = {sample.id for sample in read(name, tmp_path).samples}
    harm(tmp_path)
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
    ("saco-silver", text("annotations/silver_toys_merged_test.json", "[]"), r"is no SA-Co file"),
    ("omnilabel", text("dataset_all_val_v0.1.3.json", json.dumps(INSTANCES)), "is no OmniLabel"),
    (
        "omnilabel",
        edit("dataset_all_val_v0.1.3.json", lambda whole: whole.pop("annotations")),
        r"has no annotations: it is a test set",
    ),
    ("counting", text("counts.jsonl", '{"image": "x.jpg"}'), r"counts.jsonl:1: 'number' is miss"),
    ("counting", text("test.parquet", "no"), r"test.parquet is no parquet file"),
]


@pytest.mark.parametrize(("name", "harm", "message"), REFUSED, ids=lambda one: str(one)[:60])
def test_files_that_cannot_be_this_benchmarks_are_refused(
    tmp_path: Path, name: str, harm: Break, message: str
) -> None:
    FOLDERS[name](tmp_path)
    harm(tmp_path)
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
def test_no_value_whatever_in_a_file_is_more_than_bad_input(tmp_path: Path, name: str) -> None:
    FOLDERS[name](tmp_path)
    rng = np.random.default_rng(11)
    files = [
        path for path in sorted(tmp_path.rglob("*")) if path.suffix in (".json", ".jsonl", ".p")
    ]
    for _ in range(FUZZ):
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        if path.suffix == ".p":
            path.write_bytes(pickle.dumps(junked(pickle.loads(whole), rng)))
        elif path.suffix == ".jsonl":
            lines = [json.loads(line) for line in whole.decode().splitlines() if line]
            path.write_text("\n".join(map(json.dumps, junked(lines, rng))))
        else:
            path.write_text(json.dumps(junked(json.loads(whole), rng)))
        with contextlib.suppress(InputError):
            benchmark = read(name, tmp_path)
            rows = [answered(one, one.truth or packed()) for one in benchmark.samples]
            benchmark.metrics(rows)
            assert all(0 <= benchmark.score(row) <= 1 for row in rows)
        path.write_bytes(whole)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_cocos_own_polygons_and_crowds_become_the_masks_that_pycocotools_makes() -> None:
    content = json.loads((SHARED / "data/coco_val2014_100/instances_val2014_100.json").read_text())
    sizes = {one["id"]: (one["height"], one["width"]) for one in content["images"]}
    crowds = 0
    for one in content["annotations"]:
        size, shape = sizes[one["image_id"]], one["segmentation"]
        theirs = coco.frPyObjects(shape, *size)
        crowds += isinstance(shape, dict)
        theirs = theirs if isinstance(theirs, dict) else coco.merge(theirs)
        assert coco_mask(shape, size)["counts"] == theirs["counts"]
    assert len(content["annotations"]) > 800
    assert crowds > 0
