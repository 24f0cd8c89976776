"""Real outputs of facebook/sam3, recorded elsewhere, through masks, overlap policy and overlay."""

import json
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_agent import Masks, load_image
from sam3_agent.overlay import draw_masks
from sam3_agent.rle import decode_crop
from tests.conftest import SHARED

FOLDER = SHARED / "data" / "sam3_recorded"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="needs ../shared/data")


def recorded() -> list[dict[str, Any]]:
    if not FOLDER.exists():
        return []
    cases: list[dict[str, Any]] = json.loads((FOLDER / "sam3_outputs_official.json").read_text())
    return cases


def masks_of(case: dict[str, Any]) -> Masks:
    width, height = case["size_wh"]
    found = case["detections"]
    rles = tuple(
        {"size": [height, width], "counts": one["segmentation"]["counts"].encode()} for one in found
    )
    boxes = np.array([one["box_xyxy"] for one in found], np.float32).reshape(-1, 4)
    scores = np.array([one["score"] for one in found], np.float32)
    return Masks((height, width), boxes, scores, (case["prompt"] or "like it",) * len(found), rles)


@pytest.mark.parametrize("case", recorded(), ids=lambda case: case["case"])
def test_real_masks_keep_their_pixels_and_are_drawn(case: dict[str, Any]) -> None:
    masks = masks_of(case)
    assert masks.areas().tolist() == [one["area"] for one in case["detections"]]
    for i, rle in enumerate(masks.rles):
        crop, (x, y) = decode_crop(rle)
        assert crop.sum() == masks.areas()[i]
        assert (coco.decode(rle)[y : y + crop.shape[0], x : x + crop.shape[1]] == crop).all()
    width, height = case["size_wh"]
    assert (masks.boxes >= 0).all()
    assert (masks.boxes <= [width, height, width, height]).all()
    image = load_image(FOLDER / case["image"])
    assert image.shape == (height, width, 3)
    drawn = draw_masks(image, masks, range(1, len(masks) + 1))
    assert (drawn != image).any() == bool(len(masks))


def test_a_true_duplicate_is_merged_and_neighbours_stay() -> None:
    before = {case["case"]: masks_of(case) for case in recorded()}
    after = {name: len(masks.nms("iou", 0.5)) for name, masks in before.items()}
    merged = {name: len(before[name]) - after[name] for name in before}
    assert sum(merged.values()) == sum(
        int(np.triu(masks.overlap(masks) > 0.5, 1).any(axis=0).sum()) for masks in before.values()
    )
    assert sum(merged.values()) >= 1
    assert after["text_paper_bag_1008"] == 4
