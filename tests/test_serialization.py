"""Masks as JSON values and PNG files, and the values that tools hand to programs."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam3_agent import Finding, Masks
from sam3_agent.observations import (
    MaskNumbers,
    Measurement,
    Measurements,
    PairMeasurement,
    SegmentFindings,
)
from sam3_agent.serialization import instance_records, mask_png, masks_from_record, masks_record


@pytest.fixture
def masks() -> Masks:
    dense = np.zeros((2, 40, 60), np.bool_)
    dense[0, 5:15, 10:40] = True
    dense[1, 20:30, ::2] = True
    exact = Masks.from_dense(dense, [0.123456, 1.0], ["big dog", "Löwe"])
    boxes = exact.boxes + np.array([0.126, 0.004, 0.0, -0.337], np.float32)
    return Masks(exact.size, boxes, exact.scores, exact.phrases, exact.rles)


def test_an_instance_is_rounded_for_readers_and_its_mask_is_whole(masks: Masks) -> None:
    first, second = json.loads(json.dumps(instance_records(masks, [7, 2])))
    assert list(first) == ["number", "phrase", "score", "box", "area", "segmentation"]
    assert (first["number"], first["phrase"], first["score"]) == (7, "big dog", 0.1235)
    assert (first["box"], first["area"]) == ([10.13, 5.0, 40.0, 14.66], 300)
    assert second["number"] == 2
    assert (coco.decode(second["segmentation"]) == masks.dense()[1]).all()


def test_a_record_of_masks_is_read_back_with_every_digit(masks: Masks) -> None:
    again = masks_from_record(json.loads(json.dumps(masks_record(masks))))
    assert (again.boxes == masks.boxes).all()
    assert (again.scores == masks.scores).all()
    assert (again.size, again.phrases, again.rle()) == (masks.size, masks.phrases, masks.rle())
    empty = masks_record(Masks.empty((4, 5)))
    assert empty == {"size": [4, 5], "boxes": [], "scores": [], "phrases": [], "counts": []}
    assert len(masks_from_record(empty)) == 0


def test_a_mask_file_is_white_where_the_mask_is(masks: Masks) -> None:
    for mask in masks:
        pixels = np.asarray(Image.open(io.BytesIO(mask_png(mask))))
        assert (pixels == mask.dense()[0] * 255).all()


def test_findings_are_json_values_beside_the_masks(masks: Masks) -> None:
    found = SegmentFindings(
        (
            Finding("dog", 0.98765, (2, 5)),
            Finding("elefant", 0.0, (), unknown="elefant", nearest=("elephant",)),
        ),
        masks,
        (2, 5),
    )
    assert json.loads(json.dumps(found.to_dict())) == {
        "findings": [
            {"phrase": "dog", "presence": 0.9877, "numbers": [2, 5]},
            {
                "phrase": "elefant",
                "presence": 0.0,
                "numbers": [],
                "unknown": "elefant",
                "nearest": ["elephant"],
            },
        ]
    }
    measured = Measurements(
        (Measurement(3, 12, (1.5, 2.0), {"red": 1.0}),),
        {"largest first": (3,)},
        (PairMeasurement((3, 4), ("left",), (0.0, 0.5), 0.1),),
    )
    assert json.loads(json.dumps(measured.to_dict())) == {
        "masks": [{"number": 3, "area": 12, "centre": [1.5, 2.0], "colors": {"red": 1.0}}],
        "orders": {"largest first": [3]},
        "pairs": [{"numbers": [3, 4], "relations": ["left"], "overlap": [0.0, 0.5], "gap": 0.1}],
    }
    assert (measured.numbers, MaskNumbers((1,)).to_dict()) == ((3,), {})


def test_findings_that_do_not_fit_their_masks_are_refused(masks: Masks) -> None:
    with pytest.raises(ValueError, match="2 masks have 1 numbers"):
        SegmentFindings((), masks, (1,))
    with pytest.raises(ValueError, match=r"not among them: \[3\]"):
        SegmentFindings((Finding("dog", 0.9, (1, 3)),), masks, (1, 2))
