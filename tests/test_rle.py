"""Masks from outside: what pycocotools would crash on, hang on or count wrongly is refused."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from sam3_agent import Masks
from sam3_agent.errors import InputError
from sam3_agent.rle import MAX_MASK_PIXELS, encode_mask, rle_from_record, rle_record
from sam3_agent.serialization import masks_from_record, masks_record

SIZE = (10, 10)


def square() -> Any:
    dense = np.zeros(SIZE, np.bool_)
    dense[2:7, 3:8] = True
    return dense


WHOLE = rle_record(encode_mask(square()))

SPOILT: dict[str, tuple[Any, str]] = {
    "no object": ("PS1", "a mask is str"),
    "nothing": (None, "a mask is NoneType"),
    "list of masks": ([WHOLE], "a mask is list"),
    "no size": ({"counts": "T3"}, r"not \[height, width\]"),
    "size text": ({"size": "10", "counts": "T3"}, r"not \[height, width\]"),
    "size of three": ({"size": [10, 10, 1], "counts": "T3"}, r"not \[height, width\]"),
    "size of texts": ({"size": ["10", "10"], "counts": "T3"}, "no whole numbers"),
    "size with a part": ({"size": [10.0, 10], "counts": "T3"}, "no whole numbers"),
    "size NaN": ({"size": [float("nan"), 10], "counts": "T3"}, "no whole numbers"),
    "size bool": ({"size": [True, 10], "counts": "T3"}, "no whole numbers"),
    "size null": ({"size": [None, 10], "counts": "T3"}, "no whole numbers"),
    "size of lists": ({"size": [[[10]], 10], "counts": "T3"}, "no whole numbers"),
    "0x0": ({"size": [0, 0], "counts": ""}, "not in 1.."),
    "0x10": ({"size": [0, 10], "counts": ""}, "not in 1.."),
    "negative size": ({"size": [-10, -10], "counts": "T3"}, "not in 1.."),
    "1e8x1e8": ({"size": [10**8, 10**8], "counts": "T3"}, "at most 536870911 pixels"),
    "30000x30000": ({"size": [30000, 30000], "counts": "T3"}, "at most 536870911 pixels"),
    "side of 5000 digits": ({"size": [10**5000, 1], "counts": "T3"}, "not in 1.."),
    "another size": ({"size": [10, 11], "counts": "^3"}, r"size \[10, 11\] .* image \[10, 10\]"),
    "no counts": ({"size": [10, 10]}, 'no "counts"'),
    "counts null": ({"size": [10, 10], "counts": None}, 'no "counts"'),
    "counts number": ({"size": [10, 10], "counts": 100}, 'no "counts"'),
    "counts object": ({"size": [10, 10], "counts": {"0": 100}}, 'no "counts"'),
    "empty counts": ({"size": [10, 10], "counts": ""}, "cannot be decoded"),
    "empty bytes": ({"size": [10, 10], "counts": b""}, "cannot be decoded"),
    "counts x": ({"size": [10, 10], "counts": "x"}, "cannot be decoded"),
    "cut counts": ({"size": [10, 10], "counts": "To"}, "cannot be decoded"),
    "half the counts": ({"size": [10, 10], "counts": WHOLE["counts"][:4]}, "does not cover"),
    "counts with space": ({"size": [10, 10], "counts": "T3 "}, "cannot be decoded"),
    "1e5 o": ({"size": [10, 10], "counts": "o" * 100_000}, "100000 characters, too many"),
    "300 o": ({"size": [10, 10], "counts": "o" * 300}, "cannot be decoded"),
    "300 o and an end": ({"size": [10, 10], "counts": "o" * 300 + "0"}, "has 301 digits"),
    "run of 32 bits": ({"size": [10, 10], "counts": "oooooo3"}, "has 7 digits"),
    "run of 30 bits": ({"size": [10, 10], "counts": "ooooo?"}, "run that is not in 0..100 pixels"),
    "64 bits at once": ({"size": [10, 10], "counts": "P" * 14 + "0"}, "has 15 digits"),
    "negative run": ({"size": [10, 10], "counts": "O"}, "run that is not in 0..100"),
    "negative and whole": ({"size": [10, 10], "counts": "X3L"}, "run that is not in 0..100"),
    "not ASCII": ({"size": [10, 10], "counts": "T3é"}, "cannot be decoded"),
    "surrogate": ({"size": [10, 10], "counts": "T3\ud800"}, "cannot be decoded"),
    "NUL": ({"size": [10, 10], "counts": "T3\0"}, "cannot be decoded"),
    "NUL first": ({"size": [10, 10], "counts": "\0T3"}, "cannot be decoded"),
    "too few pixels": ({"size": [10, 10], "counts": "S3"}, "its runs are 99 pixels"),
    "too many pixels": ({"size": [10, 10], "counts": "U3"}, "run that is not in 0..100"),
    "no runs": ({"size": [10, 10], "counts": []}, "its runs are 0 pixels"),
    "runs with a part": ({"size": [10, 10], "counts": [50.5, 49.5]}, "no whole numbers"),
    "runs as text": ({"size": [10, 10], "counts": ["100"]}, "no whole numbers"),
    "runs bool": ({"size": [10, 10], "counts": [99, True]}, "no whole numbers"),
    "runs NaN": ({"size": [10, 10], "counts": [float("nan"), 100]}, "no whole numbers"),
    "runs in a run": ({"size": [10, 10], "counts": [[100]]}, "no whole numbers"),
    "negative in a list": ({"size": [10, 10], "counts": [150, -50]}, "in 0..100"),
    "run of 70 bits": ({"size": [10, 10], "counts": [10**21]}, "in 0..100"),
    "sum of 32 bits": ({"size": [10, 10], "counts": [100, 2**32]}, "in 0..100"),
    "listed too few": ({"size": [10, 10], "counts": [50, 49]}, "its runs are 99 pixels"),
    "listed too many": ({"size": [10, 10], "counts": [50, 51]}, "its runs are 101 pixels"),
    "sum of 64 bits": ({"size": [10, 10], "counts": "0" + "ooooo?" * 99}, "run that is not in"),
    "1e6 runs": ({"size": [10, 10], "counts": [0] * 10**6 + [100]}, "1000001 runs, too many"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_mask_that_does_not_cover_its_image_is_an_input_error(name: str) -> None:
    record, message = SPOILT[name]
    with pytest.raises(InputError, match=message):
        rle_from_record(record, SIZE)


@pytest.mark.parametrize("name", SPOILT)
def test_masks_are_not_made_of_such_a_mask(name: str) -> None:
    box = np.array([[0, 0, 5, 5], [0, 0, 1, 1]], np.float32)
    with pytest.raises(ValueError, match="mask 2: "):
        Masks(SIZE, box, np.ones(2, np.float32), ("a", "b"), (WHOLE, SPOILT[name][0]))


@pytest.mark.parametrize("name", SPOILT)
def test_stored_masks_with_such_a_mask_are_an_input_error(name: str) -> None:
    """A stored mask has the size of its image, so here the image has that of the mask."""
    record, stored = SPOILT[name][0], masks_record(Masks.from_dense(square()[None]))
    if not isinstance(record, dict):
        stored = {"size": [10, 10], "counts": record}
    else:
        size = [10, 11] if name == "another size" else record.get("size")
        stored |= {"size": size, "counts": [record.get("counts")]}
        if name == "another size":
            stored["counts"] = ["T3"]
    with pytest.raises(InputError):
        masks_from_record(stored)


STORED: list[tuple[dict[str, Any], str]] = [
    ({"boxes": [[0, 0, 1]]}, "lists of four numbers"),
    ({"boxes": [["0", "0", "1", "1"]]}, "no numbers"),
    ({"boxes": [[0, 0, float("nan"), 1]]}, "finite"),
    ({"boxes": [[0, 0, 1e300, 1]]}, "finite"),
    ({"boxes": [[0, 0, 10**400, 1]]}, "too large"),
    ({"boxes": [[0, 0, True, 1]]}, "no numbers"),
    ({"boxes": "none"}, "need the lists"),
    ({"boxes": []}, "columns differ"),
    ({"scores": [float("inf")]}, "finite"),
    ({"scores": ["0.5"]}, "no numbers"),
    ({"scores": [None]}, "no numbers"),
    ({"scores": [0.5, 0.5]}, "columns differ"),
    ({"scores": {"0": 1}}, "need the lists"),
    ({"phrases": [7]}, "no text"),
    ({"phrases": "c"}, "need the lists"),
    ({"size": [-1, 10]}, "not in 0"),
    ({"size": [10**6, 10**6]}, "at most"),
]


@pytest.mark.parametrize(("change", "message"), STORED, ids=str)
def test_stored_masks_with_a_spoilt_column_are_an_input_error(
    change: dict[str, Any], message: str
) -> None:
    stored = masks_record(Masks.from_dense(square()[None]))
    assert len(masks_from_record(stored)) == 1
    with pytest.raises(InputError, match=message):
        masks_from_record(stored | change)


@pytest.mark.parametrize(
    "counts",
    [
        WHOLE["counts"],
        WHOLE["counts"].encode(),
        [32, 5, 5, 5, 5, 5, 5, 5, 5, 5, 23],
        # runs without a pixel, which other programs write
        [32, 2, 0, 3, 5, 5, 5, 5, 5, 5, 0, 0, 5, 5, 23],
        [0, 0, 32, 5, 5, 5, 5, 5, 5, 5, 5, 5, 23, 0],
    ],
)
def test_a_mask_is_read_in_any_form_that_coco_has(counts: Any) -> None:
    read = rle_from_record({"size": [10, 10], "counts": counts}, SIZE)
    assert (coco.decode(read) == square()).all()
    # runs without a pixel make pycocotools stop early, so they do not stay
    assert read == encode_mask(square())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_runs_are_read_as_pycocotools_decodes_them(runs: list[int]) -> None:
    total = sum(runs)
    if not total:
        return
    plain = coco.frPyObjects({"size": [total, 1], "counts": runs}, total, 1)
    pixels = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.bool_)
    want = encode_mask(pixels[:, None])
    assert rle_from_record({"size": [total, 1], "counts": runs}) == want
    assert rle_from_record({"size": [total, 1], "counts": plain["counts"]}) == want


@given(st.binary(max_size=40) | st.text("0123456PQRSTNOno@", max_size=30), st.integers(1, 60))
def test_what_is_read_covers_its_image(counts: str | bytes, height: int) -> None:
    try:
        read = rle_from_record({"size": [height, 3], "counts": counts})
    except InputError:
        return
    assert coco.area(read) == coco.decode(read).sum()
    assert coco.area(coco.merge([read, read])) == coco.area(read)


def test_the_largest_mask_is_read_as_it_was_written() -> None:
    runs = [1, MAX_MASK_PIXELS - 6, 3, 2]
    written = coco.frPyObjects({"size": [MAX_MASK_PIXELS, 1], "counts": runs}, MAX_MASK_PIXELS, 1)
    read = rle_from_record(rle_record(written))
    assert read == written
    assert coco.area(coco.merge([read, read])) == MAX_MASK_PIXELS - 4


@pytest.mark.parametrize("listed", [False, True])
def test_four_times_the_runs_take_at_most_five_times_as_long(listed: bool) -> None:
    def seconds(count: int) -> float:
        # true and false pixels in turn: as many runs as pixels
        record: dict[str, Any] = {"size": [count, 1], "counts": [1] * count}
        if not listed:
            record = rle_record(rle_from_record(record))
        times = []
        for _ in range(5):
            began = time.process_time()
            rle_from_record(record)
            times.append(time.process_time() - began)
        return min(times)

    assert seconds(1_000_000) < 5 * seconds(250_000) + 0.02
