"""SAM 3: the numbers of the model, at image resolution, of an image that is encoded once."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from transformers import Sam3Config, Sam3Model, Sam3Processor

from sam3_agent import PromptError, Segmenter, SegmenterError
from sam3_agent.images import Pixels
from sam3_agent.model.checkpoints import TINY, Checkpoint
from sam3_agent.model.mask_decoding import decode_mask
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.segmenter import Selection


@pytest.fixture(scope="module")
def processor() -> Any:
    return Sam3Processor.from_pretrained(TINY)


@pytest.fixture(scope="module")
def random_model() -> Any:
    """A Sam3Model of the shipped checkpoint's shape with random weights."""
    torch.manual_seed(0)
    return Sam3Model(Sam3Config.from_pretrained(TINY)).eval()


@pytest.fixture
def random_segmenter(random_model: Any, processor: Any) -> Sam3Segmenter:
    checkpoint = Checkpoint("random", "random", random_model, processor)
    return Sam3Segmenter(checkpoint, device="cpu", threshold=0.0)


def original_way(model: Any, processor: Any, photo: Pixels, phrase: str) -> Any:
    """Presence, scores, boxes and masks as Meta's processor makes them of the model's output."""
    inputs = processor(images=photo, text=phrase, return_tensors="pt")
    with torch.inference_mode():
        output = model(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            input_boxes=torch.full((1, 1, 4), 0.5),
            input_boxes_labels=torch.full((1, 1), -10),
        )
    height, width = photo.shape[:2]
    presence = output.presence_logits.sigmoid()
    scores = (output.pred_logits.sigmoid() * presence)[0]
    boxes = output.pred_boxes[0] * torch.tensor([width, height, width, height])
    masks = torch.nn.functional.interpolate(
        output.pred_masks, (height, width), mode="bilinear", align_corners=False
    )
    return float(presence), scores.numpy(), boxes.numpy(), (masks[0].sigmoid() > 0.5).numpy()


def test_scores_boxes_and_masks_are_those_of_the_original(
    random_model: Any, random_segmenter: Sam3Segmenter, processor: Any, photo: Pixels
) -> None:
    presence, scores, boxes, masks = original_way(random_model, processor, photo, "red car")
    (found,) = random_segmenter.detect(
        random_segmenter.encode(photo), ["red car"], Selection(limit=1.0)
    )
    assert found.presence == pytest.approx(presence, abs=1e-6)
    kept = [int(i) for i in np.argsort(-scores, kind="stable") if masks[i].any()]
    assert len(kept) > 0
    assert np.allclose(found.masks.scores, scores[kept], atol=1e-6)
    clipped = boxes[kept].clip(0, [photo.shape[1], photo.shape[0]] * 2)
    assert np.allclose(found.masks.boxes, clipped, atol=1e-3)
    assert (found.masks.dense() == masks[kept]).mean() > 0.9999


def test_without_the_cls_token_the_numbers_would_differ(processor: Any, photo: Pixels) -> None:
    trained = Sam3Model.from_pretrained(TINY, dtype=torch.float32).eval()
    inputs = processor(images=photo, text="red car", return_tensors="pt")
    with torch.inference_mode():
        text_only = trained(
            pixel_values=inputs["pixel_values"],
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
        )
    segmenter = Sam3Segmenter(Checkpoint("tiny", "tiny", trained, processor), device="cpu")
    (found,) = segmenter.detect(segmenter.encode(photo), ["red car"])
    assert found.presence != pytest.approx(float(text_only.presence_logits.sigmoid()), abs=1e-4)


@pytest.mark.parametrize("size", [(150, 260), (37, 900), (48, 48), (20, 11)])
def test_masks_are_enlarged_as_bilinear_interpolation_of_the_whole_frame_would(
    size: tuple[int, int],
) -> None:
    generator = torch.Generator().manual_seed(3)
    for scale in (3, 6, 12, 48):
        coarse = torch.randn(1, 1, scale, scale, generator=generator) * 3 - 1
        grid = torch.nn.functional.interpolate(coarse, (48, 48), mode="bicubic")
        whole = torch.nn.functional.interpolate(grid, size, mode="bilinear", align_corners=False)
        expected = (whole[0, 0] > 0).numpy()
        rle = decode_mask(grid[0, 0].numpy(), size)
        if rle is None:
            assert not expected.any()
            continue
        differing = (coco.decode(rle).astype(bool) != expected).sum()
        assert differing <= 2, "only pixels at zero to the last float32 digit may differ"


def test_a_mask_that_is_nowhere_above_zero_is_no_mask() -> None:
    assert decode_mask(np.zeros((48, 48), np.float32), (100, 100)) is None


def test_only_scores_above_the_threshold_are_kept_best_first(
    random_segmenter: Sam3Segmenter, photo: Pixels
) -> None:
    features = random_segmenter.encode(photo)
    (everything,) = random_segmenter.detect(features, ["dog"])
    scores = everything.masks.scores
    assert list(scores) == sorted(scores, reverse=True)
    middle = float(scores[len(scores) // 2])
    (some,) = random_segmenter.detect(features, ["dog"], Selection(threshold=middle))
    assert 0 < len(some.masks) < len(everything.masks)
    assert (some.masks.scores >= middle).all()
    assert some.presence == everything.presence


def test_of_masks_that_overlap_too_much_only_the_best_stays(
    random_segmenter: Sam3Segmenter, photo: Pixels
) -> None:
    features = random_segmenter.encode(photo)
    (found,) = random_segmenter.detect(features, ["dog"], Selection(limit=0.3))
    overlap = found.masks.overlap(found.masks) - np.eye(len(found.masks))
    assert overlap.max(initial=0) <= 0.3


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("", "empty"), (" \t", "empty"), ("zebra " * 40, "tokens, SAM 3 reads at most 32")],
)
def test_a_phrase_that_cannot_be_read_is_refused_before_anything_runs(
    random_segmenter: Sam3Segmenter, photo: Pixels, phrase: str, expected: str
) -> None:
    with pytest.raises(PromptError, match=expected):
        random_segmenter.detect(random_segmenter.encode(photo), ["dog", phrase])


@pytest.mark.parametrize("phrase", ["😀", "كلب", "犬", "dog\0", "<|endoftext|>", "a" * 20])
def test_any_text_is_a_phrase(random_segmenter: Sam3Segmenter, photo: Pixels, phrase: str) -> None:
    (found,) = random_segmenter.detect(random_segmenter.encode(photo), [phrase])
    assert 0 <= found.presence <= 1


def test_two_threads_get_what_one_gets(random_segmenter: Sam3Segmenter, photo: Pixels) -> None:
    alone = random_segmenter.detect(random_segmenter.encode(photo), ["dog", "cat"])
    results: list[Any] = []

    def work() -> None:
        results.append(random_segmenter.detect(random_segmenter.encode(photo), ["dog", "cat"]))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    for result in results:
        assert [found.masks.rles for found in result] == [found.masks.rles for found in alone]


def test_the_shipped_checkpoint_and_a_saved_folder_are_segmenters(
    random_model: Any, processor: Any, tmp_path: Path, photo: Pixels
) -> None:
    random_model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    toolkit: list[Segmenter] = [Sam3Segmenter("tiny"), Sam3Segmenter(str(tmp_path), threshold=0.0)]
    for segmenter in toolkit:
        (found,) = segmenter.detect(segmenter.encode(photo), ["dog"])
        assert found.phrase == "dog"
        assert found.masks.size == photo.shape[:2]


def broken_checkpoints(tmp_path: Path) -> dict[str, tuple[str, str]]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").touch()
    for name, text in {
        "garbled": "{",
        "list": "[]",
        "other": json.dumps({"model_type": "bert"}),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((TINY / "config.json").read_text())
    return {
        "empty folder": (str(tmp_path / "empty"), "is no SAM 3 checkpoint.*facebook/sam3"),
        "file": (str(tmp_path / "file.bin"), "is no SAM 3 checkpoint"),
        "garbled config": (str(tmp_path / "garbled"), "is no SAM 3 checkpoint"),
        "config that is a list": (str(tmp_path / "list"), "is no SAM 3 checkpoint"),
        "another model": (str(tmp_path / "other"), "'bert' model, not a SAM 3"),
        "no weights": (str(tmp_path / "bare"), "cannot load the SAM 3 checkpoint"),
        "no such folder": ("./no/such/folder", "no segmenter './no/such/folder'.*folder"),
        "no network": ("facebook/sam3", "hub does not answer.*pass its folder"),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("empty folder", "file", "garbled config", "config that is a list", "another model"),
        *("no weights", "no such folder", "no network"),
    ],
)
def test_a_checkpoint_that_cannot_be_loaded_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as when the network is away, without the hub client's 23 seconds of trying again
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place, expected = broken_checkpoints(tmp_path)[name]
    with pytest.raises(SegmenterError, match=expected):
        Sam3Segmenter(place)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, "is gated: accept its licence at https://huggingface.co/facebook/sam3.*HF_TOKEN"),
        (404, "there is no segmenter 'facebook/sam3'"),
    ],
)
def test_a_hub_that_refuses_is_explained(status: int, expected: str) -> None:
    from huggingface_hub import errors

    from sam3_agent.model.checkpoint_advice import advice

    kinds = {403: errors.GatedRepoError, 404: errors.RepositoryNotFoundError}
    refusal = kinds[status].__new__(kinds[status])
    wrapped = OSError("could not load")
    wrapped.__cause__ = refusal
    assert __import__("re").search(expected, advice("facebook/sam3", wrapped))


@pytest.mark.parametrize(("width", "epsilon"), [(1024, 1e-5), (64, 1e-6)])
def test_the_released_models_norms_have_the_epsilon_that_meta_trained_them_with(
    processor: Any, width: int, epsilon: float
) -> None:
    config: Any = Sam3Config.from_pretrained(TINY)
    vit = config.vision_config.backbone_config
    vit.hidden_size, vit.num_hidden_layers, vit.global_attn_indexes = width, 1, [0]
    segmenter = Sam3Segmenter(
        Checkpoint("wide", "wide", Sam3Model(config), processor), device="cpu"
    )
    norms = [
        m for m in segmenter.model.vision_encoder.modules() if isinstance(m, torch.nn.LayerNorm)
    ]
    assert norms
    assert {norm.eps for norm in norms} == {epsilon}
