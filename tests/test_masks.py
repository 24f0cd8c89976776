"""Masks as columns: checked, compact, and equal to what pycocotools says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from sam3_agent import Masks
from sam3_agent.rle import decode_crop, encode_crop


@pytest.fixture
def two() -> Masks:
    dense = np.zeros((2, 40, 60), np.bool_)
    dense[0, 10:20, 5:25] = True
    dense[1, 15:30, 20:40] = True
    return Masks.from_dense(dense, [0.9, 0.8], ["dog", "cat"])


def test_dense_crop_union_area_and_box_agree(two: Masks) -> None:
    dense = two.dense()
    assert dense.shape == (2, 40, 60)
    assert two.areas().tolist() == [200, 300] == dense.sum(axis=(1, 2)).tolist()
    assert two.boxes.tolist() == [[5, 10, 25, 20], [20, 15, 40, 30]]
    crop, (x, y) = two.crop(1)
    assert (crop.shape, x, y) == ((15, 20), 20, 15)
    assert (two.coverage() == dense.any(axis=0)).all()
    assert two.overlap(two)[0, 1] == pytest.approx(25 / 475)


def test_masks_are_selected_and_joined(two: Masks) -> None:
    assert two[[1, 0]].phrases == ("cat", "dog")
    assert two[[]].dense().shape == (0, 40, 60)
    assert Masks.concatenate([two, two[0]]).phrases == ("dog", "cat", "dog")
    assert [one.phrases[0] for one in two] == ["dog", "cat"]


@pytest.mark.parametrize(
    ("index", "phrases"),
    [
        ([True, False], ("dog",)),
        ((False, True), ("cat",)),
        ([np.True_, np.True_], ("dog", "cat")),
        (np.array([False, True]), ("cat",)),
        (1, ("cat",)),
        (np.array([False, False]), ()),
        (np.int64(1), ("cat",)),
        (np.array([1, 1, 0]), ("cat", "cat", "dog")),
        ([-1], ("cat",)),
        (slice(1, None), ("cat",)),
        ((), ()),
    ],
)
def test_bools_select_and_numbers_index(two: Masks, index: Any, phrases: tuple[str, ...]) -> None:
    assert two[index].phrases == phrases


@pytest.mark.parametrize(
    "index",
    [
        [True],
        [True, False, True],
        np.array([True]),
        np.zeros(0, np.bool_),
        [True, 1],
        [0.0, 1.0],
        np.array([0.5]),
        [[0], [1]],
        np.eye(2, dtype=np.bool_),
        True,
        ["0"],
        5,
        [2],
        -3,
    ],
    ids=str,
)
def test_what_is_no_index_of_masks_is_refused(two: Masks, index: Any) -> None:
    with pytest.raises(IndexError):
        two[index]


@pytest.mark.parametrize("count", [255, 256, 300, 5000])
def test_any_number_of_masks_is_measured(count: int) -> None:
    masks = Masks.concatenate([
        Masks.from_dense(np.pad(np.ones((1, 3, 4 + i), np.bool_), ((0, 0), (2, 5), (1, 5 - i))))
        for i in range(5)
    ])[np.arange(count) % 5]  # fmt: skip
    assert masks.areas().tolist() == [3 * (4 + i % 5) for i in range(count)]
    assert masks.coverage().sum() == 24
    assert masks.overlap(masks[:2])[-1, 0] == masks.overlap(masks[:2])[(count - 1) % 5, 0]


def test_boxes_that_leave_the_image_are_clipped(two: Masks) -> None:
    masks = Masks(
        (40, 60),
        np.array([[-7, -3, 99, 50]], np.float32),
        np.ones(1, np.float32),
        ("x",),
        two.rles[:1],
    )
    assert masks.boxes.tolist() == [[0, 0, 60, 40]]
    assert masks.boxes.dtype == np.float32


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("size", (-1, 5), "a side that is not in 0"),
        ("size", (float("nan"), 3), "no whole numbers"),
        ("phrases", "ab", "phrases are N texts"),
        ("phrases", (b"dog", "cat"), "phrases are N texts"),
        ("scores", [10**400, 1], "cannot be made: .*int too large"),
    ],
)
def test_columns_of_other_kinds_are_refused(
    two: Masks, column: str, value: Any, expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        Masks(**{**vars(two), column: value})


def test_columns_that_do_not_fit_together_are_refused(two: Masks) -> None:
    with pytest.raises(ValueError, match="columns differ"):
        Masks((40, 60), two.boxes, two.scores[:1], two.phrases, two.rles)
    with pytest.raises(
        ValueError,
        match=r"mask 1: its RLE has size .*, the image \[41, 60\]",
    ):
        Masks((41, 60), two.boxes, two.scores, two.phrases, two.rles)
    with pytest.raises(ValueError, match="finite"):
        Masks((40, 60), two.boxes, two.scores * np.nan, two.phrases, two.rles)
    with pytest.raises(ValueError, match="read-only"):
        two.boxes[0, 0] = 3


def test_rle_is_json_ready_and_decodes_to_the_same_mask(two: Masks) -> None:
    rle = two.rle()[1]
    assert rle["size"] == [40, 60]
    assert isinstance(rle["counts"], str)
    assert (coco.decode({**rle, "counts": rle["counts"].encode()}) == two.dense()[1]).all()


@given(st.data())
def test_the_rle_of_a_crop_is_that_of_the_whole_frame(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    y1, x1 = data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width))
    pixels = data.draw(st.lists(st.booleans(), min_size=144, max_size=144))
    crop = np.array(pixels).reshape(12, 12)[: y1 - y0, : x1 - x0]
    frame = np.zeros((height, width), np.uint8, order="F")
    frame[y0:y1, x0:x1] = crop
    assert encode_crop(crop, (x0, y0), (height, width)) == coco.encode(frame)


def test_a_hundred_masks_of_a_large_photo_stay_small() -> None:
    crop = np.ones((900, 900), np.bool_)
    size = (3000, 4000)
    rles = tuple(encode_crop(crop, (i * 30, i * 20), size) for i in range(100))
    masks = Masks(
        size, np.zeros((100, 4), np.float32), np.ones(100, np.float32), ("x",) * 100, rles
    )
    assert sum(len(rle["counts"]) for rle in masks.rles) < 1_000_000
    assert masks.areas().tolist() == [810_000] * 100


@given(st.data())
def test_a_crop_is_read_from_any_rle(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    pixels = data.draw(st.lists(st.booleans(), min_size=81, max_size=81))
    frame = np.zeros((height, width), np.uint8, order="F")
    frame[:] = np.array(pixels).reshape(9, 9)[:height, :width]
    crop, (x, y) = decode_crop(coco.encode(frame))
    again = np.zeros_like(frame)
    again[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    assert (again == frame).all()
    if frame.any():
        assert crop[:, 0].any()
        assert crop[:, -1].any()


def test_long_runs_and_many_runs_are_read_as_pycocotools_reads_them() -> None:
    rng = np.random.default_rng(0)
    for density in (0.001, 0.3, 0.5, 0.999):
        frame = np.asfortranarray(rng.random((300, 400)) < density, np.uint8)
        crop, (x, y) = decode_crop(coco.encode(frame))
        assert (crop == frame[y : y + crop.shape[0], x : x + crop.shape[1]]).all()
        assert crop.sum() == frame.sum()


def test_overlap_of_a_part_with_its_whole_is_small_by_iou_and_full_by_iom() -> None:
    dense = np.zeros((2, 10, 10), np.bool_)
    dense[0, :8], dense[1, :2] = True, True
    whole, part = Masks.from_dense(dense)[0], Masks.from_dense(dense)[1]
    assert whole.overlap(part)[0, 0] == 0.25
    assert whole.overlap(part, "iom")[0, 0] == part.overlap(whole, "iom")[0, 0] == 1.0
    both = Masks.from_dense(dense)
    assert len(both.nms("iou", 0.5)) == 2
    assert len(both.nms("iom", 0.5)) == 1


def test_masks_are_subtracted_merged_and_moved(two: Masks) -> None:
    dense = two.dense()
    rest = two[0].subtract(two[1])
    assert (rest.dense()[0] == dense[0] & ~dense[1]).all()
    assert two[0].subtract(two[0]).areas().tolist() == [0]
    whole = two.union()
    assert (whole.dense()[0] == dense.any(axis=0)).all()
    assert whole.boxes.tolist() == [[5, 10, 40, 30]]
    moved = two.paste((7, 3), (60, 80))
    assert (moved.dense()[:, 3:43, 7:67] == dense).all()
    assert moved.areas().tolist() == two.areas().tolist()
    assert moved.boxes.tolist() == [[12, 13, 32, 23], [27, 18, 47, 33]]


def test_centre_of_gravity_and_contour_are_in_image_pixels(two: Masks) -> None:
    assert two.centroids().tolist() == [[15, 15], [30, 22.5]]
    contour = {tuple(point) for point in two.contour(0).tolist()}
    assert (5, 10) in contour
    assert (6, 11) not in contour
    assert len(contour) == 2 * (20 + 10) - 4


def test_whole_numbers_are_masks_where_they_are_not_0_and_probabilities_are_refused() -> None:
    numbers = np.zeros((1, 4, 5), np.int64)
    numbers[0, 1, 1:4] = [1, 256, -3]
    assert Masks.from_dense(numbers).areas().tolist() == [3]  # type: ignore[arg-type]
    assert Masks.from_dense((numbers != 0) * 1.0).areas().tolist() == [3]
    with pytest.raises(ValueError, match="masks are bools, not float64: compare them with a"):
        Masks.from_dense(numbers * 0.3)  # type: ignore[arg-type]
