"""SA-Co's metrics: by hand, and equal to Meta's evaluator on golden and random files."""

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3_agent.errors import InputError
from sam3_agent.evals.metrics import ConceptSample, cgf1, saco
from sam3_agent.masks import Masks
from tests.broken_json import broken
from tests.conftest import SHARED

GOLDEN = SHARED / "golden"
CGF1_CASES = sorted(GOLDEN.glob("cgf1/*"))
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/golden")


def test_a_perfect_run_scores_almost_one_hundred_and_an_empty_one_zero() -> None:
    absent = ConceptSample(np.zeros((0, 0)))
    right = ConceptSample(np.eye(2))
    assert cgf1([right, absent] * 50)["cgf1"] == pytest.approx(100, abs=0.02)
    missed = ConceptSample(np.zeros((0, 2)))
    assert cgf1([missed, absent])["cgf1"] == 0
    assert cgf1([right, right])["il_mcc"] == 0


def write_saco(folder: Path, truth: Any, predictions: Any) -> tuple[Path, Path]:
    """Two pairs, the first with a 4x4 truth in a picture of 8x8, and predictions of it."""
    rle = Masks.from_dense(truth).rle()
    content = {
        "images": [
            {"id": n, "text_input": "x", "file_name": "x", "width": 8, "height": 8,
             "is_instance_exhaustive": 1}
            for n in (1, 2)
        ],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": one,
             "bbox": [0, 0, 0.5, 0.5]}
            for n, one in enumerate(rle)
        ],
        "categories": [{"id": 1, "name": "object"}],
    }  # fmt: skip
    paths = folder / "truth.json", folder / "pred.json"
    paths[0].write_text(json.dumps(content))
    paths[1].write_text(json.dumps(predictions))
    return paths


def test_saco_reads_files_and_reports_under_the_originals_names(tmp_path: Path) -> None:
    truth = np.zeros((1, 8, 8), np.bool_)
    truth[0, :4, :4] = True
    pred = truth.copy()
    pred[0, 3] = False  # IoU 0.75 with the truth
    rle = Masks.from_dense(pred).rle()[0]
    one = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": rle}
    files = write_saco(tmp_path, truth, [one, {**one, "score": 0.49}])
    out = saco(*files)
    assert len(out) == 26
    assert out["cgF1_eval_segm_precision@0.75"] == pytest.approx(1 / 1.0001, rel=1e-12)
    # the pair counts at 6 of 10 thresholds
    assert out["cgF1_eval_segm_precision"] == pytest.approx(0.6 / 1.0001, rel=1e-12)
    assert out["cgF1_eval_segm_IL_MCC"] == pytest.approx(1 / (1 + 1e-6), rel=1e-12)


def test_saco_reads_no_prediction_of_an_image_that_is_not_evaluated(tmp_path: Path) -> None:
    truth = np.zeros((1, 8, 8), np.bool_)
    truth[0, :4, :4] = True
    right = {"image_id": 1, "category_id": 1, "score": 0.9,
             "segmentation": Masks.from_dense(truth).rle()[0]}  # fmt: skip
    elsewhere: list[dict[str, Any]] = [
        {**right, "image_id": 7},
        {**right, "image_id": "1"},
        {**right, "image_id": -1, "score": float("nan")},
        {"image_id": 8},
        {"image_id": None, "category_id": 9, "score": 1, "segmentation": {"size": [1, 1]}},
    ]
    alone = saco(*write_saco(tmp_path, truth, [right]))
    assert saco(*write_saco(tmp_path, truth, [*elsewhere, right, *elsewhere])) == alone
    assert alone["cgF1_eval_segm_cgF1"] == pytest.approx(1, abs=2e-4)
    files = write_saco(tmp_path, truth, [{**right, "image_id": 2}, right])
    incomplete = json.loads(files[0].read_text())
    incomplete["images"][1]["is_instance_exhaustive"] = 0
    files[0].write_text(json.dumps(incomplete))
    assert saco(*files)["cgF1_eval_segm_IL_FPR"] == 0, "nor of one that is not exhaustive"


def test_saco_names_the_annotators_file_that_lacks_a_predicted_image(tmp_path: Path) -> None:
    truth = np.ones((1, 8, 8), np.bool_)
    rle = Masks.from_dense(truth).rle()[0]
    one = {"image_id": 2, "category_id": 1, "score": 0.9, "segmentation": rle}
    whole, predictions = write_saco(tmp_path, truth, [one])
    content = json.loads(whole.read_text())
    del content["images"][1]
    (tmp_path / "less.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"less.json lacks the image 2"):
        saco([whole, tmp_path / "less.json"], predictions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": float("nan")}, "its score is nan"),
        ({"segmentation": None}, "no segmentation"),
    ],
)
def test_saco_names_the_prediction_that_is_broken(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    one = {"image_id": 1, "category_id": 1, "score": 1.0, "segmentation": {}} | change
    if one["segmentation"] is None:
        del one["segmentation"]
    files = write_saco(tmp_path, np.ones((1, 8, 8), np.bool_), [one])
    with pytest.raises(InputError, match=rf"pred.json: \[0\]: .*{message}"):
        saco(*files)


def annotators(case: Path) -> list[Path]:
    return sorted(case.glob("gt_*.json"))


@needs_golden
@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("case", CGF1_CASES, ids=lambda case: case.name)
def test_saco_equals_the_original_evaluator(case: Path, kind: Any) -> None:
    expected = json.loads((case / "expected.json").read_text())["expected"][kind]
    out = saco(annotators(case), case / "pred.json", kind)
    assert out.keys() == expected.keys()
    for name, value in expected.items():
        assert out[name] == pytest.approx(value, rel=1e-9, abs=1e-15), name


def random_saco(folder: Path, seed: int) -> tuple[list[Path], Path]:
    """Files of 1 to 3 annotators for 30 pairs, with crowds, incomplete pairs, wrong categories."""
    rng = np.random.default_rng(seed)

    def objects(pair: int, **more: Any) -> list[dict[str, Any]]:
        out = []
        for _ in range(int(rng.integers(0, 4)) if pair % 3 else 0):
            dense = np.zeros((1, 20, 30), np.bool_)
            x, y = rng.integers(0, 6, 2)
            dense[0, y : y + rng.integers(8, 14), x : x + rng.integers(8, 14)] = True
            masks = Masks.from_dense(dense)
            x0, y0, x1, y1 = (float(v) for v in masks.boxes[0])
            out.append({"image_id": pair, "category_id": 1, "segmentation": masks.rle()[0],
                        "bbox": [x0 / 30, y0 / 20, (x1 - x0) / 30, (y1 - y0) / 20],
                        "area": 1.0} | {k: v() for k, v in more.items()})  # fmt: skip
        return out

    paths = []
    for annotator in range(1 + seed % 3):
        annotations = [
            one for n in range(30) for one in objects(n, iscrowd=lambda: int(rng.random() < 0.1))
        ]
        content = {
            "images": [
                {"id": n, "width": 30, "height": 20, "is_instance_exhaustive": rng.random() < 0.9}
                for n in range(30)
            ],
            "annotations": [{"id": n + 1, **one} for n, one in enumerate(annotations)],
            "categories": [{"id": 1, "name": "object"}],
        }
        paths.append(folder / f"gt_{annotator}.json")
        paths[-1].write_text(json.dumps(content))
    predictions = [
        one
        for n in range(30)
        for one in objects(
            n + (rng.random() < 0.1),
            score=lambda: float(rng.choice([0.3, 0.5, 0.9])),
            category_id=lambda: 1 + int(rng.random() < 0.05),
        )
    ]
    (folder / "pred.json").write_text(json.dumps(predictions))
    return paths, folder / "pred.json"


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(6))
def test_saco_equals_metas_package_where_it_is_installed(
    tmp_path: Path, seed: int, kind: Any
) -> None:
    theirs = pytest.importorskip("sam3.eval.cgf1_eval")
    truths, predictions = random_saco(tmp_path, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = theirs.CGF1Evaluator([str(path) for path in truths], kind)
        expected = evaluator.evaluate(str(predictions))
    assert 0.01 < expected[f"cgF1_eval_{kind}_positive_micro_F1"] < 0.9
    assert saco(truths, predictions, kind) == pytest.approx(expected, rel=1e-9)


def test_any_invalid_value_in_sacos_files_is_an_input_error(tmp_path: Path) -> None:
    (truth, *_), predictions = random_saco(tmp_path, 0)
    rng = np.random.default_rng(4)
    for _ in range(150):
        path = truth if rng.random() < 0.5 else predictions
        whole = path.read_text()
        path.write_text(json.dumps(broken(json.loads(whole), rng)))
        with contextlib.suppress(InputError):
            assert len(saco(truth, predictions, "segm" if rng.random() < 0.5 else "bbox")) == 26
        path.write_text(whole)
