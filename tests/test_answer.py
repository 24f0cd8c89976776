"""What an answer leaves: JSON that keeps its promises, and files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam3_agent import Agent, Answer, InputError
from sam3_agent.images import Pixels
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.scripted_planner import ScriptedPlanner, calling
from sam3_agent.usage import TokenUsage, Usage


@pytest.fixture
def answer(image: Pixels, segmenter: FakeSegmenter) -> Answer:
    replies = [
        calling(("segment", {"phrases": ["dog", "leash"]})),
        calling(("answer", {"text": "Der Hund links: „Rex“.", "numbers": [3, 1]})),
    ]
    return Agent(ScriptedPlanner(replies), segmenter).ask(image, "which dog?")


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

    answer = Agent(ScriptedPlanner(replies), FakeSegmenter({"dot": boxes})).ask(picture, "dots")

    assert (answer.status, answer.usage.tool_errors) == ("answered", 0)
    assert [one["area"] for one in answer.to_dict()["instances"]] == [1] * count
    names = {path.name for path in answer.save(tmp_path).iterdir()}
    assert names == {"answer.json", "overlay.png", *(f"mask_{n}.png" for n in numbers)}


def test_a_printed_answer_is_one_paragraph_with_its_status_masks_and_cost(answer: Answer) -> None:
    words = str(answer)
    assert "\n" not in words
    assert words.startswith("Der Hund links: „Rex“. [answered; 2 masks: leash 3, dog 1; ")
    paid = Usage(parts={"planner": TokenUsage(2, input_tokens=900, output_tokens=50, cost=0.0123)})
    cost = "planner 2 calls, 950 tokens, 0.0123 USD; 0.0 s (segmenter 0.0 s)]"
    assert str(replace(answer, usage=paid)).endswith(cost)
    many = replace(answer, masks=answer.masks[[0] * 300], numbers=tuple(range(1, 301)))
    assert "300 masks: leash 1, 2, 3, 4" in str(many)
    assert "12 and 288 more" in str(many)
    assert len(str(many)) < 300


def test_a_printed_answer_with_nothing_and_without_a_price_says_so(answer: Answer) -> None:
    lines = replace(
        answer,
        text="Nothing\nhere.",
        status="no_target",
        masks=answer.masks[[]],
        numbers=(),
        usage=Usage(
            parts={"planner": TokenUsage(1, input_tokens=1200, output_tokens=34, cost=None)}
        ),
    )
    assert str(lines) == (
        "Nothing here. [no_target; 0 masks; planner 1 call, 1234 tokens; 0.0 s (segmenter 0.0 s)]"
    )


def test_the_reprs_of_answer_masks_and_agent_are_short_and_say_what_they_are(
    answer: Answer, segmenter: FakeSegmenter
) -> None:
    assert repr(answer.masks) == "Masks(2 in 200x100 px: 1 leash, 1 dog)"
    assert repr(answer.masks[[]]) == "Masks(0 in 200x100 px)"
    assert repr(answer) == (
        "Answer(query='which dog?', status='answered', text='Der Hund links: „Rex“.', "
        "masks=Masks(2 in 200x100 px: 1 leash, 1 dog), planner='scripted', segmenter='placed')"
    )
    long = replace(answer, text="word " * 4000, query="why " * 900)
    assert len(repr(long)) < 400
    agent = Agent(ScriptedPlanner([]), segmenter, effort="thorough")
    assert repr(agent) == (
        "Agent(planner='scripted', segmenter='placed', verifier='none', effort='thorough')"
    )
    assert "verifier='none'" in repr(Agent("offline", segmenter))


def test_an_answer_is_saved_in_the_home_folder(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert answer.save("~/answers") == tmp_path / "answers"
    assert (tmp_path / "answers" / "answer.json").exists()
