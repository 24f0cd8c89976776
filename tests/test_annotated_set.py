"""Annotated sets: what is written is read back, and what is broken is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam3_agent import evals
from sam3_agent.errors import InputError
from sam3_agent.evals.synthetic.annotated_set import (
    annotated_scene,
    read_set,
    write_scenes,
)
from sam3_agent.evals.synthetic.scenes import compose

DEMO = Path(evals.__file__).resolve().parent / "demo"
SIZE = (120, 160)


def test_a_written_set_is_read_back_whole(tmp_path: Path) -> None:
    written = [annotated_scene(seed, queries=3, size=SIZE) for seed in range(4)]
    write_scenes(tmp_path, written)
    read = list(read_set(tmp_path))
    assert [scene.file_name for scene in read] == [scene.file_name for scene in written]
    for one, other in zip(written, read, strict=True):
        assert one.queries == other.queries
        assert len(one.queries) == 3
        assert one.scene.objects == other.scene.objects
        assert np.array_equal(one.scene.image, other.scene.image)
        assert np.array_equal(one.scene.labels, other.scene.labels)


def test_an_annotated_scene_is_the_held_out_scene_of_its_seed() -> None:
    image = annotated_scene(2_000_000, size=SIZE).scene.image
    assert np.array_equal(image, compose(2_000_000, size=SIZE).image)
    assert not np.array_equal(image, annotated_scene(3_000_000, size=SIZE).scene.image)


def test_masks_are_stored_as_coco_run_lengths(tmp_path: Path) -> None:
    write_scenes(tmp_path, [annotated_scene(7_000_000, size=SIZE)])
    (annotated,) = read_set(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text(encoding="utf-8"))
    for index, obj in enumerate(content["images"][0]["things"]):
        assert obj["segmentation"]["size"] == [120, 160]
        mask = coco.decode(obj["segmentation"])
        assert np.array_equal(mask.astype(bool), annotated.scene.mask(index))


def _break(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


IMAGE = ("images", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_break("format", to="coco"), r"annotations\.json: format: .* 'sam3-agent annotated set'"),
        (_break("version", to=9), r"annotations\.json: version: Input should be 1"),
        (_break("images", to={}), r"annotations\.json: images: Input should be a valid array"),
        (_break(*IMAGE, to=3), r"images\[0\]: Input should be an object"),
        (_break(*IMAGE, "file_name", to="no.png"), r"images\[0\]: .*no\.png"),
        (_break(*IMAGE, "width", to=161), r"\.png is 160x120 pixels, annotated as 161x120"),
        (_break(*IMAGE, "width", to="9"), r"images\[0\].width: Input should be a valid integer"),
        (_break(*IMAGE, "things", 0, to=None), r"things\[0\]: Input should be an object"),
        (_break(*IMAGE, "things", 0, "color", to=1), r"things\[0\].color: .* a valid string"),
        (_break(*IMAGE, "things", 0, "box", to=[1, 2]), r"things\[0\].box\[2\]: Field required"),
        (
            _break(*IMAGE, "things", 0, "segmentation", "size", to=[1, 1]),
            r"things\[0\]: its RLE has size \[1, 1\] .*, the image \[120, 160\]",
        ),
        (
            _break(*IMAGE, "things", 0, "segmentation", "counts", to="!!!!"),
            r"images\[0\]: things\[0\]: its RLE",
        ),
        (_break(*IMAGE, "queries", 0, "targets", to=[99]), r"queries\[0\]: a target is no index"),
        (_break(*IMAGE, "queries", 0, "targets", to=[-1]), r"queries\[0\].targets\[0\]: "),
        (_break(*IMAGE, "queries", 0, "count", to="two"), r"queries\[0\].count: "),
        (_break(*IMAGE, "queries", 0, to="dog"), r"queries\[0\]: Input should be an object"),
    ],
)
def test_a_broken_set_says_which_part_is_wrong(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    write_scenes(tmp_path, [annotated_scene(8_000_000, size=SIZE)])
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        list(read_set(tmp_path))


def test_overlapping_masks_are_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path, [annotated_scene(8_000_000, size=SIZE)])
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["images"][0]["things"].append(content["images"][0]["things"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="overlaps an earlier one"):
        list(read_set(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "annotations.json cannot be read: No such file"),
        ("{", "annotations.json: it: Invalid JSON"),
    ],
)
def test_a_folder_without_readable_annotations_is_refused_at_once(
    text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "annotations.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_set(tmp_path)


def test_the_demo_scenes_are_small_and_the_first_has_one_leftmost_red_car() -> None:
    scenes = list(read_set(DEMO))
    assert len(scenes) == 12
    assert {path.name for path in DEMO.glob("*.png")} == {scene.file_name for scene in scenes}
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 1_500_000
    assert all(2 <= len(scene.queries) <= 4 for scene in scenes)

    first = scenes[0]
    assert first.queries[0].text == "the leftmost red car"
    (target,) = first.queries[0].targets
    cars = [i for i, obj in enumerate(first.scene.objects) if obj.name == "red car"]
    assert target in cars
    assert len(cars) >= 3
    box = first.scene.objects[target].box
    assert all(first.scene.objects[car].box[0] > box[2] for car in cars if car != target)


def test_a_demo_picture_is_an_ordinary_png() -> None:
    with Image.open(DEMO / "red_cars.png") as picture:
        assert picture.format == "PNG"
        assert picture.mode == "RGB"
        assert picture.size == (640, 480)
