"""Hostile files of benchmarks: they run no code, end in time, and are named in the error."""

import json
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam3_agent import Masks
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmarks.refcoco import load_refs
from sam3_agent.evals.mask_io import coco_mask, polygon_mask
from sam3_agent.evals.metrics import omnilabel, saco
from sam3_agent.evals.solvers.best_subset import best_subset
from sam3_agent.mask_parts import without_stray_pixels
from sam3_agent.rle import encode_crop
from tests.benchmark_folders import FOLDERS, read
from tests.command_line import ROOT

REFS = "refcoco/refs(unc).p"

Spoil = Callable[[Path], Any]


class Evil:
    """What a pickle runs when it is read."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def laughing(depth: int) -> list[Any]:
    """A list whose text has 2**depth words, in a few bytes."""
    values: list[Any] = ["ha"]
    for _ in range(depth):
        values = [values] * 2
    return values


def length(of: int) -> bytes:
    return of.to_bytes(8, "little")


PICKLES: dict[str, tuple[bytes, str]] = {
    "a function": (pickle.dumps([Evil()]), r"it loads \w+.mkdir"),
    "a function of protocol 0": (pickle.dumps([Evil()], 0), r"it loads \w+.mkdir"),
    "an instance of old classes": (b"(S'evil'\nios\nmkdir\n.", "it loads os.mkdir"),
    "eval": (pickle.dumps([eval], 4), "it loads builtins.eval"),
    "an object of a class on the stack": (b"\x80\x02(]X\x01\x00\x00\x00ao.", "the instruction 111"),
    "a call of a text": (b"\x80\x02X\x01\x00\x00\x00a)R.", "the instruction 82"),
    "a state of a dict": (b"\x80\x02}}b.", "the instruction 98"),
    "an extension": (b"\x80\x02\x82\x01.", "the instruction 130"),
    "a persistent object": (b"Ppid\n.", "the instruction 80"),
    "a buffer outside": (b"\x80\x05\x97.", "the instruction 151"),
    "4 GB of bytes": (b"\x80\x05\x96" + length(4 * 10**9) + b".", "the instruction 150"),
    "a text of 2**40 bytes": (b"\x80\x04\x8d" + length(2**40) + b"ab.", "no pickle of plain"),
    "a text of 2**63 bytes": (b"\x80\x04\x8d" + length(2**63) + b"ab.", "no pickle of plain"),
    "a frame of 2**60 bytes": (b"\x80\x04\x95" + length(2**60) + b"].", "no list of references"),
    "a key of 2**31": (b"\x80\x02]r\xff\xff\xff\x7f.", "no list of references"),
    "a key of 2**60": (b"(lp1152921504606846976\n.", "no list of references"),
    "a key that is not there": (b"\x80\x02j\xff\xff\xff\x7f.", "no pickle of plain values"),
    "a number of 1e5 digits": (b"L" + b"9" * 100_000 + b"L\n.", "no pickle of plain values"),
    "half a pickle": (pickle.dumps([{"split": "val"}])[:-4], "no pickle of plain values"),
    "lists 1e5 deep": (b"\x80\x02]" + b"]" * 10**5 + b"a" * 10**5 + b"\x85.", "no list of refer"),
    "text": (b"hello", "refused|no pickle of plain values"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_of_anything_but_plain_values_is_refused(tmp_path: Path, name: str) -> None:
    content, message = PICKLES[name]
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_refs(path)
    assert str(path) in str(caught.value)
    assert not Path("evil").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    plain = [{"a": [1, -(10**12), 2.5, None, True, "é", ("x",), ()], "b": {"c": [[]]}}]
    (tmp_path / "p").write_bytes(pickle.dumps(plain, protocol))
    assert load_refs(tmp_path / "p") == plain


def changed_ref(**values: Any) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / REFS
        refs = pickle.loads(path.read_bytes(), encoding="utf-8")
        path.write_bytes(pickle.dumps([refs[0] | values]))

    return spoil


def file(name: str, content: str | bytes) -> Spoil:
    whole = content.encode() if isinstance(content, str) else content
    return lambda root: (root / name).write_bytes(whole)


def pipe(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return spoil


def line(*masks: Any, **values: Any) -> Spoil:
    whole = {"image": "x.jpg", "query": "q", "masks": list(masks)} | values
    return file("own.jsonl", json.dumps(whole))


def json_change(name: str, change: Callable[[Any], Any]) -> Spoil:
    def spoil(root: Path) -> None:
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))

    return spoil


def both(*spoils: Spoil) -> Spoil:
    return lambda root: [spoil(root) for spoil in spoils]


def image(name: str, size: tuple[int, int], kept: int | None = None) -> Spoil:
    """Writes a white image of (width, height) and cuts its file."""

    def spoil(root: Path) -> None:
        Image.new("L", size, 255).save(root / name)
        (root / name).write_bytes((root / name).read_bytes()[:kept])

    return spoil


def packed(height: int, width: int, counts: Any) -> dict[str, Any]:
    return {"size": [height, width], "counts": counts}


INFINITY = float("inf")
GREFS, OMNI = "grefcoco/grefs(unc).json", "dataset_all_val_v0.1.3.json"
SILVER, COCO = "annotations/silver_toys_merged_test.json", "grefcoco/instances.json"
DEEP, LONG = "[" * 10**5 + "]" * 10**5, '{"a": ' + "1" * 5000 + "}"
ZIGZAG = [[1e6 if k % 2 else -1e6, k % 20] for k in range(20_000)]


def name_of_image(file_name: Any) -> Spoil:
    return json_change(
        COCO, lambda whole: [one.update(file_name=file_name) for one in whole["images"]]
    )


def segmentation(shape: Any) -> Spoil:
    return json_change(
        COCO, lambda whole: [one.update(segmentation=shape) for one in whole["annotations"]]
    )


def first_box(*box: Any) -> Spoil:
    return json_change(OMNI, lambda whole: [one.update(bbox=box) for one in whole["annotations"]])


HOSTILE: dict[str, tuple[str, Spoil, str]] = {
    "lists that laugh as split": ("refcoco", changed_ref(split=laughing(40)), "no split 'val'"),
    "lists that laugh as sentences": ("refcoco", changed_ref(sentences=laughing(40)), "it is list"),
    "a list in itself": ("refcoco", file(REFS, b"\x80\x02]q\0h\0a."), "it is list"),
    "a ref of 5000 digits": ("refcoco", changed_ref(ref_id=10**5000), "more than 63 bits"),
    "an image of 5000 digits": ("refcoco", changed_ref(image_id=-(10**5000)), "more than 63 bits"),
    "a pickle that is a pipe": ("refcoco", pipe(REFS), "no regular file"),
    "deep grefs": ("grefcoco", file(GREFS, DEEP), r"grefs.*nested too deeply"),
    "deep instances": ("grefcoco", file(COCO, DEEP), "instances.json: .* nested too deeply"),
    "deep omnilabel": ("omnilabel", file(OMNI, DEEP), "nested too deeply"),
    "deep saco": ("saco-silver", file(SILVER, DEEP), "nested too deeply"),
    "deep reasonseg": ("reasonseg", file("val/a.json", DEEP), "nested too deeply"),
    "deep jsonl": ("jsonl", file("own.jsonl", DEEP), "own.jsonl:1: .* nested too deeply"),
    "deep counts": ("counting", file("counts.jsonl", DEEP), "counts.jsonl:1: .* nested too deeply"),
    "a long number in grefs": ("grefcoco", file(GREFS, LONG), "number that cannot be read"),
    "a long number in jsonl": ("jsonl", file("own.jsonl", LONG), "own.jsonl:1: .* cannot be read"),
    "a long number in reasonseg": ("reasonseg", file("val/a.json", LONG), "cannot be read"),
    "NUL bytes": ("omnilabel", file(OMNI, b"\0" * 4096), "not JSON"),
    "UTF-16": ("omnilabel", file(OMNI, '{"a": "é"}'.encode("utf-16")), "is no text"),
    "a pipe as grefs": ("grefcoco", pipe(GREFS), "no regular file"),
    "a pipe as lines": ("jsonl", pipe("own.jsonl"), "no regular file"),
    "a pipe as image": ("jsonl", pipe("x.jpg"), "x.jpg cannot be read: it is no regular file"),
    "a folder as lines": (
        "jsonl",
        both(pipe("own.jsonl"), lambda root: os.unlink(root / "own.jsonl"),
             lambda root: os.mkdir(root / "own.jsonl")),
        "it is a folder",
    ),
    "an image outside": ("grefcoco", name_of_image("../../../../etc/x.jpg"), "leads out of"),
    "an image at a root": ("grefcoco", name_of_image("/etc/x.jpg"), "leads out of"),
    "an image with a NUL": ("grefcoco", name_of_image("x\0.jpg"), "there is no image"),
    "an image of 1e5 letters": ("grefcoco", name_of_image("x" * 10**5), "there is no image"),
    "an image in omnilabel outside": (
        "omnilabel",
        json_change(OMNI, lambda one: one["images"][0].update(file_name="../x.jpg")),
        "leads out of",
    ),
    "an image in saco outside": (
        "saco-silver",
        json_change(SILVER, lambda one: one["images"][0].update(file_name="a/../../x.jpg")),
        "leads out of",
    ),
    "a polygon to and fro": ("jsonl", line(ZIGZAG), r"masks\[0\]: .* outline of 4e\+10 pixels"),
    "1e5 polygons": ("jsonl", line([[0, 0, 9, 0, 9, 9]] * 10**5), "outline of"),
    "2e4 long polygons": ("jsonl", line([[0, 0, 1e6, 0, 1e6, 1]] * 20_000), "outline of"),
    "a coordinate of 400 digits": ("jsonl", line([[0, 0], [10**400, 1], [3, 3]]), "no numbers"),
    "texts as coordinates": ("jsonl", line([["1", "2"], ["9", "2"], ["9", "9"]]), "no numbers"),
    "bools as coordinates": ("jsonl", line([[True, False]] * 3), "no numbers"),
    "null as a coordinate": ("jsonl", line([[None, 1], [2, 3], [4, 5]]), "no numbers"),
    "a polygon of lists": ("jsonl", line([[[[[1, 2]]]]]), "must be"),
    "an odd polygon": ("jsonl", line([1, 2, 3, 4, 5, 6, 7]), "must be"),
    "a coco polygon to and fro": ("grefcoco", segmentation([[*chain(*ZIGZAG)]]), "outline of"),
    "a coco polygon of infinity": ("grefcoco", segmentation([[1, 1, INFINITY, 1, 3, 3]]), "finite"),
    "a coco RLE x": ("grefcoco", segmentation(packed(20, 30, "x")), "decoded"),
    "a coco RLE of 10x10": ("grefcoco", segmentation(packed(10, 10, "T3")), "RLE has"),
    "a coco RLE of 1e8": ("grefcoco", segmentation(packed(10**8, 10**8, "0")), "at most"),
    "a coco RLE of bools": ("grefcoco", segmentation(packed(20, 30, [True])), "no whole"),
    "a coco text": ("grefcoco", segmentation("x"), "neither RLE nor polygons"),
    "a box of 400 digits": ("omnilabel", first_box(1, 1, 10**400, 1), r"not \[x, y, w, h\]"),
    "a box of infinity": ("omnilabel", first_box(1, 1, INFINITY, 1), r"not \[x, y, w, h\]"),
    "a box of texts": ("omnilabel", first_box("1", "1", "1", "1"), r"not \[x, y, w, h\]"),
    "a box of 1e300": ("omnilabel", first_box(0, 0, 1e300, 1e300), r"not \[x, y, w, h\]"),
    "a mask image of 1e8 pixels": (
        "jsonl",
        both(image("m.png", (9000, 9000)), line("m.png")),
        "m.png is 9000x9000 pixels",
    ),
    "a mask image that is cut": (
        "jsonl",
        both(image("m.png", (30, 20), kept=50), line("m.png")),
        "m.png is no mask that can be read",
    ),
    "a count of 5000 digits": (
        "counting",
        file("counts.jsonl", '{"image": "x.jpg", "label": "a", "count": ' + "1" * 4000 + "}"),
        "more than 63 bits",
    ),
    "a table of zeros": ("counting", file("test.parquet", b"PAR1" + b"\0" * 99 + b"PAR1"), "parqu"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_an_input_error(tmp_path: Path, name: str) -> None:
    benchmark, spoil, message = HOSTILE[name]
    FOLDERS[benchmark](tmp_path)
    spoil(tmp_path)
    try:
        (error, *_) = read(benchmark, tmp_path).problems  # the other records are whole
    except InputError as refused:
        error = str(refused)
    assert re.search(message, error), error
    assert len(error) < 3000
    assert not Path("evil").exists()


def predictions(**change: Any) -> dict[str, Any]:
    size = {"size": [20, 30], "counts": "hb0"}
    return {"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": size} | change


SCORED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a score of 400 digits": (predictions(score=10**400), {}, "score"),
    "a score NaN": (predictions(score=float("nan")), {}, "score"),
    "a score as text": (predictions(score="0.9"), {}, "score"),
    "counts x": (predictions(segmentation=packed(20, 30, "x")), {}, "decoded"),
    "counts of another size": (predictions(segmentation=packed(2, 2, "4")), {}, "RLE"),
    "an image 0x0": (predictions(), {"height": 0, "width": 0}, "no SA-Co file"),
    "an image 1e9x1e9": (predictions(), {"height": 10**9, "width": 10**9}, "no SA-Co file"),
    "an image of infinity": (predictions(), {"height": float("inf")}, "no SA-Co file"),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORED)
def test_predictions_of_others_are_checked_before_they_are_scored(
    tmp_path: Path, name: str
) -> None:
    prediction, pair, message = SCORED[name]
    whole = {"id": 1, "height": 20, "width": 30, "text_input": "a"} | pair
    truth = {"images": [whole], "categories": [{"id": 1}], "annotations": [predictions()]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "pred.json").write_text(json.dumps([prediction]))
    with pytest.raises(InputError, match=message):
        saco(tmp_path / "truth.json", tmp_path / "pred.json")


@pytest.mark.parametrize("side", [float("nan"), 1e300, 10**400, "x", None])
def test_a_box_that_is_no_number_is_an_input_error(side: Any) -> None:
    kind = {"type": "object_category"}
    truth = {
        "images": [{"id": 1}],
        "descriptions": [{"id": 1, "text": "a", "image_ids": [1], "anno_info": kind}],
        "annotations": [{"image_id": 1, "description_ids": [1], "bbox": [1, 1, 5, 5]}],
    }
    found = {"image_id": 1, "description_ids": [1], "scores": [0.5], "bbox": [1, 1, side, 5]}
    with pytest.raises(InputError, match="OmniLabel"):
        omnilabel(truth, [found])


HUGE_KEY = """
import sys
from pathlib import Path
from sam3_agent.evals.bench.measurement import peak_memory
from sam3_agent.evals.benchmarks.refcoco import load_refs
from sam3_agent.errors import InputError
try:
    load_refs(Path(sys.argv[1]))
except InputError:
    pass
print(int(peak_memory()))
"""


def test_a_short_pickle_takes_little_memory(tmp_path: Path) -> None:
    # the implementation in C would fill 3 GB with the places of values that are not there
    (tmp_path / "p").write_bytes(b"\x80\x02]r" + (2 * 10**8).to_bytes(4, "little") + b".")
    done = subprocess.run(
        [sys.executable, "-c", HUGE_KEY, tmp_path / "p"],
        capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert int(done.stdout) < 1000


def seconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def many_masks(count: int) -> Masks:
    """Small masks side by side."""
    size = (40, 3 * count)
    pixels = np.ones((20, 2), np.bool_)
    rles = tuple(encode_crop(pixels, (3 * k, 10), size) for k in range(count))
    boxes = np.array([[3 * k, 10, 3 * k + 2, 30] for k in range(count)], np.float32)
    return Masks(size, boxes, np.ones(count, np.float32), ("a",) * count, rles)


def comb(count: int) -> Any:
    """Columns that are joined one after the other, from the right to the left, by steps."""
    crop = np.zeros((count + 1, 2 * count), np.bool_)
    for k in range(count):
        crop[: count - k, 2 * k] = True
        crop[count - k - 1, 2 * k : 2 * k + 3] = True
    return crop


GROWTH: dict[str, tuple[Callable[[int], Any], Callable[[Any], Any], int]] = {
    "the union of masks": (many_masks, lambda masks: masks.union(), 1000),
    "pixels of any mask": (many_masks, lambda masks: masks.coverage(), 1000),
    "polygons of one mask": (
        lambda count: [[3 * k, 5, 3 * k + 2, 5, 3 * k + 2, 30] for k in range(count)],
        lambda shape: coco_mask(shape, (40, 3 * len(shape))),
        1000,
    ),
    "points of a polygon": (
        lambda count: [[k, 5 + k % 30] for k in range(count)],
        lambda points: polygon_mask(points, (40, len(points))),
        5000,
    ),
}


@pytest.mark.parametrize("name", GROWTH)
def test_four_times_as_much_takes_at_most_five_times_as_long(name: str) -> None:
    make, work, count = GROWTH[name]
    small, large = make(count), make(4 * count)
    assert seconds(lambda: work(large)) < 5 * seconds(lambda: work(small)) + 0.05


def test_the_best_choice_of_400_masks_is_found_in_seconds() -> None:
    """It once took 29 s, as each step united all masks again."""
    masks = many_masks(400)
    began = time.process_time()
    assert best_subset(masks, masks[::2]) == list(range(0, 400, 2))
    assert time.process_time() - began < 5


def test_parts_of_a_mask_are_joined_in_time_linear_in_its_pixels() -> None:
    small, large = comb(150), comb(300)  # four times the pixels
    whole = seconds(lambda: without_stray_pixels(large))
    assert whole < 5 * seconds(lambda: without_stray_pixels(small)) + 0.05
