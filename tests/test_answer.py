"""What an answer leaves: JSON that keeps its promises, and files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam3_agent import Agent, Answer, InputError
from sam3_agent.images import Pixels
from sam3_agent.model.placed import PlacedSegmenter
from sam3_agent.model.scripted import ScriptedPlanner, calling


@pytest.fixture
def answer(image: Pixels, eye: PlacedSegmenter) -> Answer:
    replies = [
        calling(("segment", {"phrases": ["dog", "leash"]})),
        calling(("answer", {"text": "Der Hund links: „Rex“.", "numbers": [3, 1]})),
    ]
    return Agent(ScriptedPlanner(replies), eye).ask(image, "which dog?")


def test_to_dict_has_the_promised_fields(answer: Answer) -> None:
    out = json.loads(json.dumps(answer.to_dict()))
    assert list(out) == [
        *("query", "status", "text", "image", "instances", "usage", "planner", "segmenter"),
        *("mentions", "beside"),
    ]
    assert out["image"] == {"width": 200, "height": 100}
    assert (out["planner"], out["segmenter"]) == ("scripted", "placed")
    leash, dog = out["instances"]
    assert list(dog) == ["number", "phrase", "score", "box", "area", "segmentation"]
    assert (leash["number"], dog["number"]) == (3, 1)
    assert (dog["phrase"], dog["score"], dog["area"]) == ("dog", 0.9, 2500)
    assert dog["box"] == [10, 20, 60, 70]
    assert dog["segmentation"]["size"] == [100, 200]
    counts = dog["segmentation"]["counts"].encode()
    assert (coco.decode({"size": [100, 200], "counts": counts}) == answer.masks.dense()[1]).all()


def test_save_leaves_an_overlay_the_json_and_one_file_per_mask(
    answer: Answer, image: Pixels, tmp_path: Path
) -> None:
    folder = answer.save(tmp_path / "new" / "out")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["answer.json", "mask_1.png", "mask_3.png", "overlay.png"]
    assert json.loads((folder / "answer.json").read_text("utf-8")) == answer.to_dict()
    mask = np.asarray(Image.open(folder / "mask_3.png"))
    assert (mask == answer.masks.dense()[0] * 255).all()
    overlay = np.asarray(Image.open(folder / "overlay.png"))
    assert overlay.shape == image.shape
    assert (overlay != image).any()


def test_saving_again_removes_the_masks_of_the_answer_before(
    answer: Answer, tmp_path: Path
) -> None:
    (tmp_path / "mask_77.png").touch()
    (tmp_path / "mine.txt").touch()
    answer.save(tmp_path)
    assert not (tmp_path / "mask_77.png").exists()
    assert (tmp_path / "mine.txt").exists()


def test_saving_where_a_file_stands_says_so(answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="cannot write to"):
        answer.save(tmp_path / "out")


@pytest.mark.parametrize("count", [256, 300, 5000])
def test_an_answer_may_have_any_number_of_masks(count: int, tmp_path: Path) -> None:
    columns = 100
    boxes = [(2 * (i % columns), 2 * (i // columns), 2 * (i % columns) + 1, 2 * (i // columns) + 1)
             for i in range(count)]  # fmt: skip
    numbers = list(range(1, count + 1))
    replies = [
        calling(("segment", {"phrases": ["dot"]})),
        calling(("look", {"numbers": numbers[-25:]}), ("measure", {"numbers": numbers[-60:]})),
        calling(("answer", {"text": "Dots.", "numbers": numbers})),
    ]
    picture = np.full((100, 200, 3), 128, np.uint8)

    answer = Agent(ScriptedPlanner(replies), PlacedSegmenter({"dot": boxes})).ask(picture, "dots")

    assert (answer.status, answer.usage.tool_errors) == ("answered", 0)
    assert [one["area"] for one in answer.to_dict()["instances"]] == [1] * count
    names = {path.name for path in answer.save(tmp_path).iterdir()}
    assert names == {"answer.json", "overlay.png", *(f"mask_{n}.png" for n in numbers)}
