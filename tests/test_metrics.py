"""Metrics: equal to the original implementations where their values are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_agent.evals.metrics import ConceptSample, cgf1, reasonseg
from tests.conftest import SHARED

GOLDEN = SHARED / "golden"
CGF1_CASES = sorted(GOLDEN.glob("cgf1/*_one_gt")) + [
    GOLDEN / "cgf1" / name
    for name in ("duplicates", "hungarian_not_greedy", "perfect_mixed", "score_boundary")
]


def half(height: int = 4) -> Any:
    mask = np.zeros((4, 4), np.bool_)
    mask[:height] = True
    return mask


def test_giou_is_the_mean_and_ciou_the_ratio_of_the_sums() -> None:
    out = reasonseg([(half(2), half(4), None), (half(1), half(1), None)])
    assert out == {"giou": 0.75, "ciou": 12 / 20, "n": 2}


def test_the_two_protocols_differ_on_ignored_pixels_and_on_empty_unions() -> None:
    ignored = [(half(2), half(1), half(2))]
    assert reasonseg(ignored, "lisa")["giou"] == 1.0
    assert reasonseg(ignored, "segzero")["giou"] == 1.0
    assert reasonseg([(half(1), half(1), half(2))], "segzero")["giou"] == 0.5
    empty = [(half(0), half(0), None)]
    assert reasonseg(empty, "lisa")["giou"] == 1.0
    assert reasonseg(empty, "segzero")["giou"] == 0.0


def test_a_perfect_run_scores_almost_one_hundred_and_a_blind_one_nothing() -> None:
    absent = ConceptSample(np.zeros((0, 0)))
    right = ConceptSample(np.eye(2))
    assert cgf1([right, absent] * 50)["cgf1"] == pytest.approx(100, abs=0.02)
    missed = ConceptSample(np.zeros((0, 2)))
    assert cgf1([missed, absent])["cgf1"] == 0
    assert cgf1([right, right])["il_mcc"] == 0


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/golden")
@pytest.mark.parametrize("case", CGF1_CASES, ids=lambda case: case.name)
def test_cgf1_equals_the_original_evaluator(case: Path) -> None:
    truth = json.loads((case / "gt_a.json").read_text())
    predictions = json.loads((case / "pred.json").read_text())
    samples = []
    for image in truth["images"]:
        if not image["is_instance_exhaustive"]:
            continue
        own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        there = [annotation for annotation in own if not annotation["iscrowd"]]
        found = [p for p in predictions if p["image_id"] == image["id"] and p["score"] >= 0.5]
        iou = np.zeros((len(found), len(there)))
        if found and there:
            encoded = [[one["segmentation"] for one in side] for side in (found, there)]
            iou = np.asarray(coco.iou(*encoded, [0] * len(there)))
        samples.append(ConceptSample(iou))
    expected = json.loads((case / "expected.json").read_text())["expected"]["segm"]
    out = cgf1(samples)
    assert out["pmf1"] == pytest.approx(expected["cgF1_eval_segm_positive_micro_F1"], rel=1e-9)
    assert out["il_mcc"] == pytest.approx(expected["cgF1_eval_segm_IL_MCC"], rel=1e-9)
    assert out["cgf1"] / 100 == pytest.approx(expected["cgF1_eval_segm_cgF1"], rel=1e-9)


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/golden")
def test_giou_and_ciou_equal_lisas_validation() -> None:
    cases = json.loads((GOLDEN / "lisa_giou_ciou.json").read_text())["cases"]
    for case in cases:
        samples = [
            (
                coco.decode(sample["pred"][0]).astype(bool),
                coco.decode(sample["gt"][0]).astype(bool),
                coco.decode(sample["ignore"][0]).astype(bool),
            )
            for sample in case["samples"]
        ]
        out = reasonseg(samples, "lisa")
        expected = case["expected"]
        assert out["giou"] == pytest.approx(expected["giou_before_all_reduce"], rel=2e-6)
        assert out["ciou"] == pytest.approx(expected["ciou"], rel=2e-6)
