"""Checkpoints as people have them: LiteText, shards, half precision, video, damaged ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam3LiteTextModel, Sam3Processor

from sam3_agent import ConceptPrompt, Detection, ObjectPrompt, PromptError, SegmenterError
from sam3_agent.images import Pixels
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.segmenter import Selection
from tests.checkpoints import (
    change_config,
    save_lite_text_checkpoint,
    save_sam3_checkpoint,
    save_video_checkpoint,
)

EVERYTHING = Selection(threshold=0.0, limit=1.0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One safetensors file in float32."""
    return save_sam3_checkpoint(tmp_path_factory.mktemp("plain"))


def find(place: Path, photo: Pixels, phrase: str = "red car") -> Detection:
    segmenter = Sam3Segmenter(str(place), device="cpu")
    return segmenter.detect(segmenter.encode(photo), [phrase], EVERYTHING)[0]


def test_a_checkpoint_in_shards_gives_what_one_file_gives(
    plain: Path, tmp_path: Path, photo: Pixels
) -> None:
    save_sam3_checkpoint(tmp_path, max_shard_size="2MB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    whole, sharded = find(plain, photo), find(tmp_path, photo)
    assert sharded.presence == whole.presence
    assert sharded.masks.rles == whole.masks.rles


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_runs_in_single(
    plain: Path, tmp_path: Path, photo: Pixels, dtype: torch.dtype
) -> None:
    save_sam3_checkpoint(tmp_path, dtype=dtype)
    segmenter = Sam3Segmenter(str(tmp_path), device="cpu")
    assert {weight.dtype for weight in segmenter.model.parameters()} == {torch.float32}
    (found,) = segmenter.detect(segmenter.encode(photo), ["red car"], EVERYTHING)
    assert found.presence == pytest.approx(find(plain, photo).presence, abs=0.02)


def test_the_detector_of_a_video_checkpoint_is_a_segmenter(tmp_path: Path, photo: Pixels) -> None:
    found = find(save_video_checkpoint(tmp_path), photo)
    assert 0 <= found.presence <= 1
    assert found.masks.size == photo.shape[:2]


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lite_text_checkpoint(tmp_path_factory.mktemp("lite"))


def lite_way(lite: Path, photo: Pixels, phrase: str) -> Any:
    """Presence and what transformers makes of its own output, with text of the trained length."""
    model = Sam3LiteTextModel.from_pretrained(lite).eval()
    processor = Sam3Processor.from_pretrained(lite)
    text = processor.tokenizer(phrase, padding="max_length", max_length=16, return_tensors="pt")
    with torch.inference_mode():
        output = model(
            pixel_values=processor(images=photo, return_tensors="pt")["pixel_values"],
            input_ids=text["input_ids"],
            attention_mask=text["attention_mask"],
            input_boxes=torch.full((1, 1, 4), 0.5),
            input_boxes_labels=torch.full((1, 1), -10),
        )
    (result,) = processor.post_process_instance_segmentation(
        output, threshold=-1.0, target_sizes=[photo.shape[:2]]
    )
    return float(output.presence_logits.sigmoid()), result


def test_lite_text_gives_the_numbers_of_the_plain_model(lite: Path, photo: Pixels) -> None:
    found = find(lite, photo)
    presence, expected = lite_way(lite, photo, "red car")
    assert found.presence == pytest.approx(presence, abs=1e-6)
    order = expected["scores"].argsort(descending=True)
    kept = [int(i) for i in order if expected["masks"][i].any()]
    assert np.allclose(np.sort(found.masks.scores)[-len(kept) :], expected["scores"][kept].flip(0))


def test_lite_text_takes_exemplars_and_reads_its_own_number_of_tokens(
    lite: Path, photo: Pixels
) -> None:
    segmenter = Sam3Segmenter(str(lite), device="cpu")
    features = segmenter.encode(photo)
    box = (20.0, 20.0, 120.0, 120.0)
    asked: list[str | ConceptPrompt] = [
        *("car", "dog", "a car beside a dog", ConceptPrompt("car", positive=(box,))),
        *(ConceptPrompt("car", negative=(box,)), ConceptPrompt("", positive=(box,))),
    ]
    presences = [found.presence for found in segmenter.detect(features, asked)]
    assert len(set(presences)) == len(asked)
    with pytest.raises(PromptError, match="tokens, SAM 3 reads at most 16"):
        segmenter.detect(features, ["zebra " * 16])
    with pytest.raises(SegmenterError, match="has no tracker"):
        segmenter.segment_at(features, ObjectPrompt(inside=((5, 5),)))


def test_lite_text_is_also_read_from_a_video_checkpoint(
    lite: Path, tmp_path: Path, photo: Pixels
) -> None:
    save_lite_text_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    video = {"model_type": "sam3_lite_text_video", "detector_config": config}
    (tmp_path / "config.json").write_text(json.dumps(video), encoding="utf-8")
    weights = load_file(tmp_path / "model.safetensors")
    weights = {f"detector_model.{name}": value for name, value in weights.items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    alone, inside = find(lite, photo), find(tmp_path, photo)
    assert inside.presence == alone.presence
    assert inside.masks.rles == alone.masks.rles


@pytest.mark.parametrize("kind", ["sam3.1", "sam3_1_video", "sam3.1_multiplex"])
def test_a_sam_3_1_checkpoint_that_transformers_cannot_load_is_named(
    tmp_path: Path, kind: str
) -> None:
    save_sam3_checkpoint(tmp_path)
    change_config(tmp_path, model_type=kind)
    with pytest.raises(SegmenterError, match=r"SAM 3\.1 checkpoint .* use facebook/sam3"):
        Sam3Segmenter(str(tmp_path))


def test_weights_that_are_cut_short_are_an_error(tmp_path: Path) -> None:
    path = save_sam3_checkpoint(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SegmenterError, match=r"damaged or cut short .* download it again"):
        Sam3Segmenter(str(tmp_path))


def test_weights_that_are_missing_are_an_error_and_not_made_up(tmp_path: Path) -> None:
    path = save_sam3_checkpoint(tmp_path) / "model.safetensors"
    weights = load_file(path)
    half = {name: value for name, value in weights.items() if not name.startswith("detr_decoder")}
    save_file(half, path, metadata={"format": "pt"})
    with pytest.raises(SegmenterError, match=r"are incomplete: detr_decoder\..* more are missing"):
        Sam3Segmenter(str(tmp_path))


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    save_sam3_checkpoint(tmp_path, max_shard_size="2MB")
    sorted(tmp_path.glob("model-*.safetensors"))[0].unlink()
    with pytest.raises(SegmenterError, match="cannot load the SAM 3 checkpoint"):
        Sam3Segmenter(str(tmp_path))
