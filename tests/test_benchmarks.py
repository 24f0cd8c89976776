"""Benchmarks: what is read from their files, and how it is scored."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.evals import benchmarks
from sam3_agent.evals.benchmarks.reasonseg import rasterise, read_annotation
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.mask_io import coco_mask, png_mask
from sam3_agent.evals.metrics import saco
from sam3_agent.masks import Masks
from tests.benchmark_folders import (
    FOLDERS,
    SIZE,
    SQUARE,
    answered,
    dump,
    grefcoco,
    jsonl,
    packed,
    picture,
    read,
    reasonseg,
    refcoco,
    saco_gold,
    square,
    write_table,
)
from tests.conftest import SHARED

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
def test_the_truth_as_prediction_scores_one_and_an_empty_one_zero(
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
        assert (first.truth.coverage() == square()).all()
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
    with pytest.raises(
        InputError, match=r"no benchmark 'coco' .*'refcoco'.*; choose one of .*reasonseg,"
    ):
        benchmarks.read("coco")


# -- the content of the files----------------------------------------------------------------------


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
    raw = picture(tmp_path / "a.png").read_bytes()
    rows = [
        {"image": {"bytes": raw, "path": "a.png"}, "text": "what is square?",
         "mask": square(x=5 + n).tolist(), "image_id": "a", "ann_id": str(n), "img_height": 20,
         "img_width": 30 if n else 31, "reasoning_type": "function"}
        for n in range(3)
    ]  # fmt: skip
    folder = tmp_path / "ReasonSegX_test"
    path = folder / "data/test-00000-of-00001.parquet"
    write_table(path, [row | {"mask": "m"} for row in rows])
    with pytest.raises(InputError, match="'mask' is missing, or is no list of lists"):
        read("reasonseg", folder)
    write_table(path, rows, row_group_size=2)
    benchmark = read("reasonseg", folder)
    assert [sample.id for sample in benchmark.samples] == ["a-1", "a-2"]
    for n, sample in enumerate(benchmark.samples, start=1):
        assert sample.tags == {"split": "ReasonSegX_test", "reasoning": "function"}
        assert sample.truth is not None
        assert (sample.truth.coverage() == square(x=5 + n)).all()
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
    assert (crowd.truth.coverage() == square(x=18)).all()
    with pytest.raises(InputError, match=r"no split 'testB', only testA, val"):
        read("refcoco", tmp_path, "testB")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("ran").touch, ())

    refcoco(tmp_path)
    path = tmp_path / "refcoco/refs(unc).p"
    path.write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(InputError, match=r"refs\(unc\).p is refused: it loads"):
        read("refcoco", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_grefcoco_distinguishes_one_several_and_no_target(tmp_path: Path) -> None:
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
    assert benchmark.score(answered(negative, packed())) == 1


def test_a_mask_that_was_answered_counts_in_saco_whatever_its_score(tmp_path: Path) -> None:
    saco_gold(tmp_path)
    benchmark = read("saco-gold", tmp_path)
    positive, negative = benchmark.samples
    chosen = Masks.from_dense(np.array([square()]), scores=[0.31])
    assert benchmark.score(answered(positive, chosen)) > 0.999
    assert benchmark.score(answered(negative, chosen)) == 0
    rows = [answered(positive, chosen), answered(negative, packed())]
    assert benchmark.metrics(rows)["cgf1"] == pytest.approx(100, abs=0.02)


def test_the_predictions_file_of_saco_gives_the_authors_evaluator_the_same_numbers(
    tmp_path: Path,
) -> None:
    saco_gold(tmp_path)
    benchmark = read("saco-gold", tmp_path)
    assert isinstance(benchmark, ScoredBenchmark)
    assert benchmark.predictions is not None
    positive, negative = benchmark.samples
    masks = Masks.from_dense(np.array([square(x=11), square(x=0)]), scores=[0.31, 0.8])
    rows = [answered(positive, masks), answered(negative, packed())]
    written = benchmark.predictions(rows)
    assert list(written) == ["predictions_toys.json"]
    first, second = written["predictions_toys.json"]
    assert (first["score"], first["raw_score"]) == (0.5, pytest.approx(0.31))
    assert second["score"] == second["raw_score"] == pytest.approx(0.8)
    assert first["bbox"] == pytest.approx([11 / 30, 5 / 20, 10 / 30, 10 / 20])
    path = dump(tmp_path / "predictions.json", written["predictions_toys.json"])
    theirs = saco(sorted(tmp_path.glob("gold_toys_*.json")), path)
    ours = benchmark.metrics(rows)
    assert 0.1 < ours["pmf1"] < 0.9
    assert ours["pmf1"] == pytest.approx(theirs["cgF1_eval_segm_positive_micro_F1"], rel=1e-9)
    assert ours["il_mcc"] == pytest.approx(theirs["cgF1_eval_segm_IL_MCC"], rel=1e-9)
    assert ours["cgf1"] == pytest.approx(100 * theirs["cgF1_eval_segm_cgF1"], rel=1e-9)


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


def test_pixmo_images_are_found_by_their_hash(tmp_path: Path) -> None:
    picture(tmp_path / "images/abc.png")
    rows = [
        {"image_url": "https://x/y.png", "image_sha256": digest, "count": 4, "label": "people"}
        for digest in ("abc", "def")
    ]
    path = tmp_path / "data/test-00000-of-00001.parquet"
    write_table(path, rows)
    benchmark = read("counting", tmp_path, "test")
    (sample,) = benchmark.samples
    assert sample.query == "How many people are there in the image?"
    assert (sample.image, sample.about["count"]) == (tmp_path / "images/abc.png", 4)
    assert benchmark.problems == [
        f"{path} row 1: there is no {tmp_path}/images/def.*; it was at https://x/y.png"
    ]


def test_countbench_tables_have_their_pictures_inside(tmp_path: Path) -> None:
    raw = picture(tmp_path / "a.png").read_bytes()
    row = {"image": {"bytes": raw, "path": None}, "question": "How many cats?", "number": 3}
    write_table(tmp_path / "test.parquet", [row])
    (sample,) = read("counting", tmp_path / "test.parquet").samples
    assert (sample.query, sample.about["count"]) == ("How many cats?", 3)
    assert callable(sample.image)
    assert sample.image().shape == (20, 30, 3)


def test_rows_of_countbench_without_an_image_are_left_out_and_counted(tmp_path: Path) -> None:
    raw = picture(tmp_path / "a.png").read_bytes()
    whole = {"image": {"bytes": raw, "path": None}, "text": "three cats", "number": 3}
    gone = [{**whole, "image": None}, {**whole, "image": {"bytes": None, "path": "b.png"}}]
    path = tmp_path / "train.parquet"
    rows = [whole, gone[0], whole, whole, gone[1]]
    write_table(path, rows, row_group_size=2)
    benchmark = read("counting", path)
    assert benchmark.note == "2 of 5 rows have no image and are left out"
    assert not benchmark.problems
    assert [sample.id for sample in benchmark.samples] == ["train-0", "train-2", "train-3"]
    for sample in benchmark.samples:
        assert callable(sample.image)
        assert sample.image().shape == (20, 30, 3)
    write_table(path, [gone[1]])
    with pytest.raises(InputError, match=r"none of 1 rows in .* has an image"):
        read("counting", path)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("bit.png", lambda mask: Image.fromarray(mask)),
        ("grey.png", lambda mask: Image.fromarray(mask * np.uint8(255))),
        ("one.png", lambda mask: Image.fromarray(mask * np.uint8(1))),
        ("deep.png", lambda mask: Image.fromarray(mask * np.uint16(256))),
        ("deepest.png", lambda mask: Image.fromarray(mask * np.uint16(65535))),
        ("numbers.png", lambda mask: Image.fromarray(np.tril(mask) * np.uint8(1) + mask)),
        (
            "colours.png",
            lambda mask: Image.fromarray(mask[..., None] * np.array([9, 0, 250], np.uint8)),
        ),
        ("float.tiff", lambda mask: Image.fromarray(mask * np.float32(0.5))),
        ("lossless.webp", lambda mask: Image.fromarray(np.stack([mask * np.uint8(255)] * 3, 2))),
    ],
)
def test_a_mask_may_be_a_picture_of_any_depth(tmp_path: Path, name: str, made: Any) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    made(square()).save(tmp_path / name, **options)
    assert (coco.decode(png_mask(tmp_path / name, SIZE)) == square()).all()


def test_the_indexes_of_a_palette_are_the_mask_whatever_their_colours(tmp_path: Path) -> None:
    indexes = Image.fromarray(square() * np.uint8(2))
    indexes.putpalette([255, 255, 255, 9, 9, 9, 0, 0, 0])
    indexes.save(tmp_path / "m.png")
    assert (coco.decode(png_mask(tmp_path / "m.png", SIZE)) == square()).all()


@pytest.mark.parametrize("name", ["refcoco", "grefcoco"])
def test_masks_are_compared_at_another_size_where_that_is_asked(tmp_path: Path, name: str) -> None:
    FOLDERS[name](tmp_path)
    resized = benchmarks.read(name, tmp_path, score_size=480)
    assert "480x480" in resized.note
    sample = resized.samples[0]
    pred = packed(square(x=8))
    row = answered(sample, pred)
    truth = np.asarray(Image.fromarray(square()).resize((480, 480), Image.Resampling.NEAREST))
    found = np.asarray(Image.fromarray(square(x=8)).resize((480, 480), Image.Resampling.NEAREST))
    expected = (truth & found).sum() / (truth | found).sum()
    assert resized.metrics([row])["ciou"] == expected
    assert resized.score(row) == expected
    odd = benchmarks.read(name, tmp_path, score_size=7)
    assert odd.score(row) != read(name, tmp_path).score(row) == 7 / 13
    assert "--score-size 480" in read(name, tmp_path).note
    nothing = answered(resized.samples[-1], packed())
    assert resized.score(nothing) == (1 if name == "grefcoco" else 0)


def test_a_benchmark_with_one_size_refuses_another(tmp_path: Path) -> None:
    jsonl(tmp_path)
    with pytest.raises(InputError, match="--score-size is for refcoco"):
        benchmarks.read("jsonl", tmp_path, score_size=480)


def test_every_form_of_your_own_masks_means_the_same(tmp_path: Path) -> None:
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
