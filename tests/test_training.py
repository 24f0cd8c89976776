"""The trainer of the tiny SAM 3, on settings small enough for seconds."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam3Model, Sam3Processor

from sam3_agent import InputError
from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.sam3 import MASKED_BOX_LABEL
from sam3_agent.model.training.architecture import (
    CONTEXT,
    build_model,
    build_processor,
    build_tokenizer,
    export_checkpoint,
    tiny_config,
)
from sam3_agent.model.training.batch import TrainingScene, build_batch, image_pixels
from sam3_agent.model.training.forward import forward
from sam3_agent.model.training.run import train
from sam3_agent.model.training.settings import Settings
from sam3_agent.model.training.trainer import Trainer
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

SHIPPED = Path(__file__).parent.parent / "model" / "tiny"

PAINT = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}

SMALL = Settings(
    steps=60,
    workers=1,
    image_size=32,
    width=32,
    depth=1,
    batch=3,
    align=0.3,
    warmup=5,
    check_images=3,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads only wait for each other on a model this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blocks(seed: int) -> TrainingScene:
    """Two coloured rectangles, a car on the left and a bus on the right."""
    rng = np.random.default_rng(seed)
    image = np.full((36, 48, 3), 200, dtype=np.uint8)
    labels = np.zeros((36, 48), dtype=np.uint8)
    things = []
    for index, noun in enumerate(("car", "bus")):
        color = str(rng.choice(list(PAINT)))
        x, y = 24 * index + int(rng.integers(2, 8)), int(rng.integers(2, 14))
        area = slice(y, y + 18), slice(x, x + 14)
        image[area], labels[area] = PAINT[color], index + 1
        things.append((noun, color))
    name = f"{things[1][1]} bus"
    prompts = (("car", (0,)), (name, (1,)), ("dog", ()), ("yellow car", ()))
    return TrainingScene(image, labels, tuple(things), prompts)


def three(seed: int) -> TrainingScene:
    """One of three fixed scenes."""
    return blocks(seed % 3)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_on_a_few_scenes_brings_every_loss_down(tmp_path: Path) -> None:
    settings = Settings(**{**SMALL.__dict__, "steps": 100, "align": 0.2})
    train(three, tmp_path, settings, export=tmp_path / "export")
    joint = [row for row in rows(tmp_path) if "presence" in row and "rate" in row]
    for name in ("presence", "l1", "giou", "dice", "dense"):
        assert joint[-1][name] < 0.8 * joint[0][name], name
    model = Sam3Model.from_pretrained(tmp_path / "export")
    assert model.dtype == torch.float32


def test_a_run_that_was_cut_off_goes_on_exactly_where_it_was_saved(tmp_path: Path) -> None:
    for cut in (3, 20):  # in the alignment stage, and in the joint stage
        folder = tmp_path / str(cut)
        folder.mkdir()
        first = Trainer(0, SMALL, blocks, folder, None)
        for _ in range(cut):
            first.advance()
        first.save()
        expected = [first.advance() for _ in range(2)]
        second = Trainer(0, SMALL, blocks, folder, None)
        assert second.step == cut
        assert [second.advance() for _ in range(2)] == expected


def test_resuming_with_other_settings_says_what_differs(tmp_path: Path) -> None:
    Trainer(0, SMALL, blocks, tmp_path, None).save()
    other = Settings(**{**SMALL.__dict__, "batch": 4})
    with pytest.raises(InputError, match="batch 3, not 4"):
        train(blocks, tmp_path, other)


def test_two_workers_finish_a_run_together(tmp_path: Path) -> None:
    settings = Settings(**{**SMALL.__dict__, "steps": 3, "workers": 2})
    train(blocks, tmp_path, settings)
    assert rows(tmp_path)[-1]["step"] == 3
    assert (tmp_path / "state.pt").exists()


def load_with_report(folder: Path) -> Any:
    """The model in a folder, and what transformers says of missing and surplus weights."""
    return Sam3Model.from_pretrained(folder, output_loading_info=True)


def test_the_training_forward_ends_in_what_the_plain_model_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(0, SMALL, blocks, tmp_path, None)
    export_checkpoint(trainer.model, tmp_path / "export")
    with caplog.at_level(logging.WARNING, logger="transformers"):
        model, report = load_with_report(tmp_path / "export")
    assert not any(report.values())
    assert not caplog.records
    batch = build_batch(blocks, range(40), build_tokenizer(), 32)
    assert {0, 1, MASKED_BOX_LABEL} == set(batch.box_labels.flatten().tolist())
    model.eval()
    with torch.no_grad():
        ours, _ = forward(model, trainer.head, batch)
        plain = model(
            pixel_values=batch.pixels[batch.image],
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            input_boxes=batch.boxes,
            input_boxes_labels=batch.box_labels,
        )
    close: Any = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours.scores[-1], plain.pred_logits, **close)
    torch.testing.assert_close(ours.presence[-1], plain.presence_logits[:, 0], **close)
    torch.testing.assert_close(ours.masks[-1], plain.pred_masks[ours.rows], **close)


def test_an_exported_checkpoint_answers_like_the_model_it_came_from(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    model = build_model(tiny_config(len(tokenizer), 32, 32, 1)).eval()
    export_checkpoint(model, tmp_path / "export")
    (tmp_path / "export" / "README.md").write_text("card")
    export_checkpoint(model, tmp_path / "export")
    assert (tmp_path / "export" / "README.md").read_text() == "card"
    loaded = Sam3Model.from_pretrained(tmp_path / "export")
    processor = Sam3Processor.from_pretrained(tmp_path / "export")
    image = blocks(0).image
    inputs = processor(images=image, text="red car", return_tensors="pt")
    assert inputs.input_ids.shape == (1, CONTEXT)
    torch.testing.assert_close(inputs.pixel_values[0], image_pixels(image, 32))
    inputs.pop("original_sizes")
    with torch.no_grad():
        before, after = model(**inputs), loaded(**inputs)
    torch.testing.assert_close(before.pred_masks, after.pred_masks, rtol=0.02, atol=0.02)
    torch.testing.assert_close(before.pred_logits, after.pred_logits, rtol=0.02, atol=0.02)


def test_every_vocabulary_word_is_one_token_and_every_text_can_be_written() -> None:
    tokenizer = build_tokenizer()
    for word in (*NOUNS, *COLORS, *CATEGORIES, *map(plural, NOUNS)):
        assert len(tokenizer(word).input_ids) == 3, word
    for phrase in (f"the leftmost {color} {noun}" for color in COLORS for noun in COLORABLE):
        assert len(tokenizer(phrase).input_ids) <= CONTEXT
    for text in ("", "Zürich", "красный автомобиль", "赤い車", "🚗🏽", "a\x00b", "ﬁ <|x|>"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids[1:-1], text
    assert tokenizer("RED  Car").input_ids == tokenizer("red car").input_ids


def test_a_scene_is_squashed_exactly_as_the_processor_does_it() -> None:
    processor = build_processor(64)
    image = np.random.default_rng(0).integers(0, 256, (50, 130, 3), dtype=np.uint8)
    expected = processor(images=image, return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(image_pixels(image, 64), expected)


def test_the_shipped_checkpoint_is_small_and_loads_clean() -> None:
    model, report = load_with_report(SHIPPED)
    assert not any(report.values())
    assert 2e6 <= sum(weight.numel() for weight in model.parameters()) <= 4e6
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 12e6
