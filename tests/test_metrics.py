"""Metrics: values computed by hand, and equal to the original implementations where known."""

import contextlib
import json
import math
import pkgutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_agent.errors import InputError
from sam3_agent.evals import metrics
from sam3_agent.evals.metrics import (
    ConceptSample,
    DescribedPair,
    Overlap,
    Tally,
    TargetOverlap,
    average_precisions,
    averaged,
    concept_tally,
    counting,
    counting_tally,
    difference,
    grefcoco,
    grefcoco_tally,
    holm,
    intervals,
    mask_overlap,
    omnilabel,
    pixel_overlap,
    precision_intervals,
    reasonseg,
    reasonseg_tally,
    refcoco,
)
from sam3_agent.masks import Masks
from tests.broken_json import broken
from tests.conftest import SHARED

GOLDEN = SHARED / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="needs ../shared/golden")


def half(height: int = 4) -> Any:
    mask = np.zeros((4, 4), np.bool_)
    mask[:height] = True
    return mask


def golden(name: str) -> Any:
    """The cases of a golden file; none where it is absent, and then the test skips."""
    path = GOLDEN / name
    content = json.loads(path.read_text()) if path.exists() else []
    return content["cases"] if isinstance(content, dict) else content


def decoded(rle: dict[str, Any]) -> Any:
    return coco.decode(rle).astype(bool)


def test_the_metrics_are_functions_whatever_module_is_imported_first() -> None:
    modules = {module.name for module in pkgutil.iter_modules(metrics.__path__)}
    assert modules.isdisjoint(metrics.__all__), "a module would take the place of the function"
    for name in ("reasonseg", "grefcoco", "refcoco", "saco", "counting", "omnilabel"):
        assert callable(getattr(metrics, name))


# -- referring segmentation -------------------------------------------------------------------


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


def test_samples_are_taken_one_at_a_time() -> None:
    alive = 0

    def samples() -> Iterator[tuple[Any, Any, None]]:
        nonlocal alive
        for _ in range(3):
            alive += 1
            yield half(1), half(1), None

    assert reasonseg(samples())["n"] == alive == 3


@pytest.mark.parametrize("protocol", ["lisa", "segzero"])
def test_overlaps_of_packed_masks_equal_those_of_pixels(protocol: Any) -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        dense = rng.random((5, 13, 17)) < rng.random((5, 1, 1))
        ours, theirs, ignore = dense[:2], dense[2:4], dense[4]
        if rng.random() < 0.2:
            ours = ours[:0]
        packed = mask_overlap(
            Masks.from_dense(ours),
            Masks.from_dense(theirs),
            Masks.from_dense(ignore[None]).rles[0],
            protocol,
        )
        unions = np.asarray(ours.any(axis=0)), np.asarray(theirs.any(axis=0))
        assert packed == pixel_overlap(*unions, ignore, protocol)
    none = Masks.empty((13, 17))
    assert mask_overlap(none, none) == Overlap(0, 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        mask_overlap(none, Masks.empty((13, 18)))


def test_refcoco_counts_how_many_reach_each_iou() -> None:
    out = refcoco([(half(4), half(4)), (half(3), half(4)), (half(2), half(4)), (half(0), half(0))])
    assert out == {
        "ciou": 36 / 48,
        "miou": (1 + 0.75 + 0.5 + 0) / 4,
        "pr@0.5": 0.75,
        "pr@0.6": 0.5,
        "pr@0.7": 0.5,
        "pr@0.8": 0.25,
        "pr@0.9": 0.25,
        "n": 4,
    }


def test_a_missed_no_target_enters_the_union_and_a_false_one_shares_nothing() -> None:
    right_absent = (half(0), half(0), True, True)
    missed_absent = (half(1), half(0), False, True)
    right = (half(3), half(4), False, False)
    false_absent = (half(4), half(4), True, False)
    out = grefcoco([right_absent, missed_absent, right, false_absent])
    assert out == {
        "giou": (1 + 0 + 0.75 + 0) / 4,
        "ciou": 12 / (4 + 16 + 16),
        "n_acc": 0.5,
        "t_acc": 0.5,
        "pr@0.7": 0.5,
        "pr@0.8": 0.0,
        "pr@0.9": 0.0,
    }
    only_targets = grefcoco([right])
    assert (only_targets["n_acc"], only_targets["t_acc"]) == (0, 0)


@needs_golden
@pytest.mark.parametrize("case", golden("lisa_giou_ciou.json"), ids=lambda case: case["name"])
def test_giou_and_ciou_equal_lisas_validation(case: Any) -> None:
    """LISA computes in float32 with 1e-5 in its denominators: pixels equal, ratios to 2e-6."""
    masks = [
        tuple(decoded(sample[part][0]) for part in ("pred", "gt", "ignore"))
        for sample in case["samples"]
    ]
    expected = case["expected"]
    overlaps = [pixel_overlap(*sample) for sample in masks]
    assert [list(one) for one in overlaps] == [
        [one["intersection"][1], one["union"][1]] for one in expected["per_sample"]
    ]
    out = reasonseg(masks, "lisa")
    assert out["giou"] == pytest.approx(expected["giou_before_all_reduce"], rel=2e-6)
    assert out["ciou"] == pytest.approx(expected["ciou"], rel=2e-6)
    # with its epsilon, and its divisor of one process
    theirs = [i / (u + 1e-5) if u else 1.0 for i, u in overlaps]
    assert sum(theirs) / (len(theirs) + 1e-5) == pytest.approx(expected["giou"], rel=3e-7)


@needs_golden
@pytest.mark.parametrize("case", golden("grefcoco.json"), ids=lambda case: case["name"])
def test_grefcoco_equals_relas_evaluator(case: Any) -> None:
    for source, expected in case["expected"].items():
        out = grefcoco(
            (decoded(one["pred"]), decoded(one["gt"]), one["pred_nt"], one["gt_nt"])
            for one in case["samples"]
            if source in ("full", one["source"])
        )
        for name, value in expected.items():
            fraction = value if name.endswith("acc") else value / 100
            assert out[name.lower()] == pytest.approx(fraction, rel=1e-9), (source, name)


# -- descriptions ---------------------------------------------------------------------------------

OMNILABEL_NAMES = {
    "0.50:0.95": {
        "hm(descr,categ)": "AP", "categ": "AP-categ", "descr": "AP-descr",
        "descr-pos": "AP-descr-pos", "descr-s": "AP-descr-S", "descr-m": "AP-descr-M",
        "descr-l": "AP-descr-L",
    },
    "0.50": {"descr": "AP50-descr", "categ": "AP50-categ"},
    "0.75": {"descr": "AP75-descr", "categ": "AP75-categ"},
}  # fmt: skip


def described(description_ids: list[int], bbox: list[float], **more: Any) -> dict[str, Any]:
    return {"image_id": 1, "description_ids": description_ids, "bbox": bbox, **more}


def test_any_invalid_value_in_omnilabels_files_is_an_input_error() -> None:
    rng = np.random.default_rng(4)
    for _ in range(150):
        truth: Any = {
            "images": [{"id": 1}],
            "descriptions": [{"id": 1, "text": "cat", "image_ids": [1],
                              "anno_info": {"type": "object_category"}}],
            "annotations": [described([1], [0, 0, 10, 10])],
        }  # fmt: skip
        pred: Any = [described([1], [0, 0, 10, 10], scores=[0.9])]
        truth, pred = (
            (broken(truth, rng), pred) if rng.random() < 0.5 else (truth, broken(pred, rng))
        )
        with contextlib.suppress(InputError):
            assert len(omnilabel(truth, pred)) == 13


def test_omnilabel_pools_descriptions_and_takes_the_harmonic_mean() -> None:
    texts = {1: "cat", 2: "the cat that sleeps", 3: "a dog on the left of both other big dogs"}
    truth = {
        "images": [{"id": 1}],
        "descriptions": [
            {"id": n, "text": text, "image_ids": [1],
             "anno_info": {"type": "object_category" if n == 1 else "object_description"}}
            for n, text in texts.items()
        ],
        "annotations": [described([1, 2], [0, 0, 10, 10]), described([1], [20, 0, 10, 10])],
    }  # fmt: skip
    right = described([1, 2], [0, 0, 10, 10], scores=[0.9, 0.5])
    wrong = described([3], [0, 0, 10, 10], scores=[0.8])  # has no target, yet scores above
    out = omnilabel(truth, [right, wrong])
    assert out["AP-categ"] == pytest.approx(51 / 101)  # recall 1/2 at precision 1
    assert out["AP-descr"] == pytest.approx(0.5)
    assert out["AP-descr-pos"] == pytest.approx(1.0)
    assert (out["AP-descr-S"], out["AP-descr-L"]) == (-1, -1)
    assert out["AP"] == pytest.approx(2 * (51 / 101) * 0.5 / (51 / 101 + 0.5 + 1e-5))
    assert out["AR-categ"] == 0.5


@needs_golden
@pytest.mark.parametrize("case", golden("omnilabel.json"), ids=lambda case: case["name"])
def test_omnilabel_equals_omnilabeltools(case: Any) -> None:
    out = omnilabel(SHARED / "data/omnilabel/8357.json", case["predictions"])
    assert len(out) == len(case["expected"]) == 13
    for one in case["expected"]:
        metric = eval(one["metric"], {})
        if metric["metric"] == "AR":
            name = f"AR-{metric['description']}"
        else:
            name = OMNILABEL_NAMES[metric["iou"]][metric["description"]]
        assert out[name] == pytest.approx(one["value"], rel=1e-9), name


# -- counts ---------------------------------------------------------------------------------------


def test_counting_reports_exact_near_and_mean_errors() -> None:
    out = counting([(3, 3), (4, 5), (10, 6), (0, 0)])
    assert out == {
        "accuracy": 0.5,
        "within_1": 0.75,
        "mae": 1.25,
        "rmse": (17 / 4) ** 0.5,
        "n": 4,
    }
    assert counting([]) == {"accuracy": 0, "within_1": 0, "mae": 0, "rmse": 0, "n": 0}


# -- intervals ------------------------------------------------------------------------------------


def test_intervals_are_as_wide_as_theory_says_and_repeat() -> None:
    rng = np.random.default_rng(1)
    overlaps = [Overlap(int(hit), 1) for hit in rng.random(400) < 0.7]
    tally = reasonseg_tally(overlaps)
    low, high = intervals(tally)["giou"]
    share = tally.value()["giou"]
    assert low < share < high
    assert high - low == pytest.approx(2 * 1.96 * (share * (1 - share) / 400) ** 0.5, rel=0.1)
    assert intervals(tally) == intervals(tally)
    assert intervals(reasonseg_tally([])) == {}


def test_samples_of_one_image_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    hits = rng.random(100) < 0.7
    tally = reasonseg_tally([Overlap(int(hit), 1) for hit in hits for _ in range(4)])
    images = [image for image in range(100) for _ in range(4)]
    alone, together = intervals(tally)["giou"], intervals(tally, images)["giou"]
    assert together[1] - together[0] == pytest.approx(2 * (alone[1] - alone[0]), rel=0.15)


def test_a_paired_difference_is_significant_where_two_intervals_overlap() -> None:
    rng = np.random.default_rng(2)
    hard = rng.integers(0, 90, 300)
    theirs = reasonseg_tally([Overlap(int(one), 100) for one in hard])
    ours = reasonseg_tally([Overlap(int(one) + int(rng.integers(0, 5)), 100) for one in hard])
    assert intervals(ours)["giou"][0] < intervals(theirs)["giou"][1]
    out = difference(ours, theirs)["giou"]
    assert out.value == pytest.approx(0.02, abs=0.004)
    assert out.interval[0] > 0.015
    assert out.p < 0.001
    same = difference(ours, ours)["giou"]
    assert (same.value, same.interval, same.p) == (0, (0, 0), 1)
    with pytest.raises(ValueError, match="300 samples against 0"):
        difference(ours, reasonseg_tally([]))


def test_p_values_are_corrected_by_holm_for_being_several() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


RARE: dict[str, tuple[Tally, str]] = {
    "no target of gRefCOCO": (
        grefcoco_tally(
            [TargetOverlap(Overlap(0, 0), True, True)]
            + [TargetOverlap(Overlap(8, 10), False, False)] * 60
        ),
        "n_acc",
    ),
    "targets of gRefCOCO": (
        grefcoco_tally(
            [TargetOverlap(Overlap(0, 0), True, True)] * 60
            + [TargetOverlap(Overlap(10, 10), False, False)] * 2
        ),
        "pr@0.9",
    ),
    "unions of ReasonSeg": (reasonseg_tally([Overlap(0, 0)] * 50 + [Overlap(6, 6)]), "ciou"),
    "positives of SA-Co": (
        concept_tally(
            [ConceptSample(np.ones((1, 1)))] * 2 + [ConceptSample(np.zeros((0, 0)))] * 60
        ),
        "pmf1",
    ),
    "negatives of SA-Co": (
        concept_tally(
            [ConceptSample(np.ones((1, 1)))] * 60 + [ConceptSample(np.zeros((0, 0)))] * 2
        ),
        "il_mcc",
    ),
    "a small subset": (
        averaged(reasonseg_tally([Overlap(9, 9)] * 62), ["large"] * 60 + ["small"] * 2),
        "giou",
    ),
}


@pytest.mark.parametrize(("tally", "name"), RARE.values(), ids=RARE.keys())
def test_a_resample_without_the_rare_group_is_left_out_and_not_a_zero(
    tally: Tally, name: str
) -> None:
    value = tally.value()[name]
    assert value == pytest.approx(1, abs=1e-3)
    low, high = intervals(tally)[name]
    assert low > 0.99
    assert high <= 1
    change = difference(tally, tally)[name]
    assert (change.value, change.interval, change.p) == (0, (0, 0), 1)


def test_a_metric_without_any_of_its_samples_is_not_a_number_and_has_no_interval() -> None:
    nothing = grefcoco_tally([TargetOverlap(Overlap(0, 0), True, True)] * 3)
    values = nothing.value()
    assert (values["n_acc"], values["giou"]) == (1, 1)
    undefined = {"ciou", "t_acc", "pr@0.7", "pr@0.8", "pr@0.9"}
    assert {name for name, value in values.items() if math.isnan(value)} == undefined
    assert not undefined & intervals(nothing).keys()
    assert not undefined & difference(nothing, nothing).keys()
    some = grefcoco_tally([TargetOverlap(Overlap(8, 10), False, False)])
    assert math.isnan(some.value()["n_acc"])
    assert some.value()["t_acc"] == 1
    absent = concept_tally([ConceptSample(np.zeros((0, 0)))] * 3)
    assert all(math.isnan(absent.value()[name]) for name in ("pmf1", "il_mcc", "cgf1"))
    assert math.isnan(counting_tally([]).value()["rmse"])


def test_subsets_none_of_whose_resamples_holds_them_all_have_a_value_and_no_interval() -> None:
    tally = averaged(reasonseg_tally([Overlap(5, 10)] * 24), list(range(24)))
    assert tally.value()["giou"] == 0.5
    assert intervals(tally) == {}
    assert difference(tally, tally) == {}


def test_intervals_of_an_average_precision_draw_whole_images() -> None:
    rng = np.random.default_rng(3)
    box, far = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 0, 10, 10]])

    def pair(kind: Any, right: bool) -> DescribedPair:
        pred = box if right else far
        return DescribedPair(kind, 2, box, np.zeros(1, np.bool_), pred, np.array([0.5]))

    kinds = ("category", "description")
    pairs = [pair(kind, rng.random() < 0.6) for _ in range(200) for kind in kinds]
    images = [n // 2 for n in range(len(pairs))]
    value = average_precisions(pairs)
    out = precision_intervals(pairs, images)
    assert out.keys() == {"AP", "AP-categ", "AP-descr", "AP-descr-pos"}
    for name, (low, high) in out.items():
        assert low < value[name] < high < low + 0.3
    certain = [pair(kind, True) for kind in kinds]
    assert precision_intervals(certain, [0, 0])["AP"] == pytest.approx((1, 1), abs=1e-5)
