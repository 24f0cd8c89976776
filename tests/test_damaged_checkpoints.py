"""Damaged checkpoints are refused by name of the file or weight, and give no masks of something."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sam3_agent import ObjectPrompt, Segmenter, SegmenterError
from sam3_agent.images import Pixels
from sam3_agent.model.checkpoints import TINY
from sam3_agent.model.grounding_dino import GroundingDino
from sam3_agent.model.sam2 import Sam2
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.segmenter import Selection
from tests.checkpoints import (
    change_config,
    save_grounding_dino_checkpoint,
    save_lite_text_checkpoint,
    save_sam2_checkpoint,
    save_sam3_checkpoint,
    save_video_checkpoint,
)

WEIGHTS = "model.safetensors"
PROJECTION = "mask_decoder.instance_projection.weight"
ALL = Selection(threshold=0.0)
LAYER = "detr_decoder.layers.0.mlp.fc1.weight"

Weights = dict[str, torch.Tensor]
Damage = Callable[[Path], object]


def content(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Damage to the bytes of a file."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def without(*names: str) -> Damage:
    """Files that are not there."""

    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def weights(change: Callable[[Weights], Weights | None]) -> Damage:
    """Damage to the weights, as a changed copy or in place."""

    def damage(folder: Path) -> None:
        kept = load_file(folder / WEIGHTS)
        save_file(change(kept) or kept, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def put(value: float, name: str = LAYER) -> Damage:
    """One value of one weight."""

    def change(kept: Weights) -> None:
        kept[name].view(-1)[3] = value

    return weights(change)


def values(name: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Damage to the values of a JSON file."""

    def damage(folder: Path) -> None:
        kept = json.loads((folder / name).read_text(encoding="utf-8"))
        change(kept)
        (folder / name).write_text(json.dumps(kept), encoding="utf-8")

    return damage


def shards(then: Damage) -> Damage:
    """Weights in several files, damaged."""

    def damage(folder: Path) -> None:
        save_sam3_checkpoint(folder, max_shard_size="2MB")
        (folder / WEIGHTS).unlink()
        then(folder)

    return damage


def no_merges(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["merges"] = []


def more_words(tokenizer: dict[str, Any]) -> None:
    words = tokenizer["model"]["vocab"]
    words.update({f"zz{i}": len(words) + i for i in range(200)})


def nan_pixels(processor: dict[str, Any]) -> None:
    processor["image_processor"]["image_mean"] = [float("nan")] * 3


def another_size(processor: dict[str, Any]) -> None:
    processor["image_processor"]["size"] = {"height": 224, "width": 224}


class Touch:
    """A pickle of it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(folder / "ran"), protocol=2))


def pickled_in_zip(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    torch.save({"a": Touch(folder / "ran")}, folder / "pytorch_model.bin")


def weights_in_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def of_sam2(folder: Path) -> None:
    """The weights of SAM 2 beside the configuration of SAM 3."""
    other = save_sam2_checkpoint(folder / "other")
    os.replace(other / WEIGHTS, folder / WEIGHTS)


def zero_rows(folder: Path) -> None:
    """Embeddings of zeros, as weight decay leaves them of tokens that never occur."""
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    control = [tokens["model"]["vocab"][chr(code)] for code in range(256, 324)]

    def change(kept: Weights) -> None:
        (name,) = (name for name in kept if name.endswith("token_embedding.weight"))
        kept[name][control] = 0

    weights(change)(folder)


def quantized_beside(folder: Path) -> None:
    """Another file of weights that nothing loads."""
    save_file({"a.weight": torch.ones(2, 2, dtype=torch.int8)}, folder / "other.safetensors")


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def hole(data: bytes) -> bytes:
    return data[:2_000_000] + bytes(65_536) + data[2_065_536:]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

DAMAGES: dict[str, tuple[Damage, str]] = {
    "no tokenizer.json": (without("tokenizer.json"), "tokenizer .* has 2 tokens, .* 911"),
    "no tokenizer at all": (
        without("tokenizer.json", "tokenizer_config.json"),
        "tokenizer .* has 2 tokens",
    ),
    "tokenizer cut": (content("tokenizer.json", half), r"tokenizer\.json is no JSON"),
    "tokenizer of zeros": (content("tokenizer.json", zeros), r"tokenizer\.json begins with zeros"),
    "tokenizer empty": (content("tokenizer.json", lambda _: b""), r"tokenizer\.json is empty"),
    "tokenizer not fetched": (
        content("tokenizer.json", lambda _: POINTER),
        r"tokenizer\.json is a placeholder of Git LFS: run `git lfs pull`",
    ),
    "tokenizer of more words": (values("tokenizer.json", more_words), "has 1111 tokens"),
    "tokenizer without merges": (values("tokenizer.json", no_merges), "does not read its own word"),
    "tokenizer settings cut": (
        content("tokenizer_config.json", half),
        "tokenizer_config.json is no",
    ),
    "tokenizer of 2 tokens": (
        values("tokenizer_config.json", lambda kept: kept.update(model_max_length=2)),
        "model_max_length below 8",
    ),
    "no processor": (without("processor_config.json"), r"processor_config\.json is missing"),
    "processor cut": (content("processor_config.json", half), r"processor_config\.json is no JSON"),
    "processor of another size": (
        values("processor_config.json", another_size),
        "makes images of 224x224, the model reads 112x112",
    ),
    "processor makes NaN": (values("processor_config.json", nan_pixels), "no finite numbers"),
    "no weights": (without(WEIGHTS), r"model\.safetensors is missing"),
    "weights cut": (content(WEIGHTS, half), r"model\.safetensors is damaged or cut short"),
    "weights a byte short": (content(WEIGHTS, lambda data: data[:-1]), "cut short"),
    "weights empty": (content(WEIGHTS, lambda _: b""), r"model\.safetensors is empty"),
    "weights not fetched": (content(WEIGHTS, lambda _: POINTER), "placeholder of Git LFS"),
    "weights are a web page": (content(WEIGHTS, lambda _: b"<!DOCTYPE html>"), "is a web page"),
    "weights of zeros": (content(WEIGHTS, zeros), r"model\.safetensors begins with zeros"),
    "weights zero from the middle on": (
        content(WEIGHTS, lambda data: half(data) + bytes(len(data) - len(data) // 2)),
        "has 4096 zeros in a row",
    ),
    "a hole of 64 KiB": (content(WEIGHTS, hole), r"text_encoder\..*\.weight has 4096 zeros"),
    "all weights NaN": (
        weights(lambda kept: {name: one * float("nan") for name, one in kept.items()}),
        "vision_encoder.* has values that are no finite numbers",
    ),
    "one weight NaN": (put(float("nan")), f"{LAYER} has values that are no finite"),
    "one weight infinite": (put(float("inf"), PROJECTION), f"{PROJECTION} has values"),
    "all weights zero": (
        weights(lambda kept: {name: one * 0 for name, one in kept.items()}),
        "and 182 more are all zero",
    ),
    "one weight missing": (
        weights(lambda kept: {name: one for name, one in kept.items() if name != PROJECTION}),
        f"incomplete: {PROJECTION} is missing",
    ),
    "one bias missing": (
        weights(lambda kept: {n: one for n, one in kept.items() if "text_proj.bias" not in n}),
        r"incomplete: dot_product_scoring\.text_proj\.bias is missing",
    ),
    "one weight of another shape": (
        weights(lambda kept: kept | {PROJECTION: torch.ones(3, 5)}),
        f"{PROJECTION} is 3x5 and not 64x64x1x1",
    ),
    "weights as bool": (
        weights(lambda kept: {name: one.bool() for name, one in kept.items()}),
        "as BOOL, which is no weight in half or full precision",
    ),
    "weights of SAM 2": (of_sam2, r"incomplete: detr_decoder.* more are missing"),
    "no config": (without("config.json"), r"no readable config\.json .*No such file"),
    "config cut": (content("config.json", half), r"config\.json is no JSON"),
    "config of zeros": (content("config.json", zeros), r"config\.json begins with zeros"),
    "config is a list": (content("config.json", lambda _: b"[]"), "has no model_type"),
    "config of SAM 2": (
        lambda folder: change_config(folder, model_type="sam2_video"),
        "holds a 'sam2_video' model, not a SAM 3 checkpoint",
    ),
    "config with fewer layers": (
        values("config.json", lambda kept: kept["detr_decoder_config"].update(num_layers=2)),
        r"fewer layers: detr_decoder\.layers\.2.* and 35 more are left over",
    ),
    "config with more layers": (
        values("config.json", lambda kept: kept["detr_decoder_config"].update(num_layers=4)),
        r"incomplete: detr_decoder\.layers\.3",
    ),
    "config with more queries": (
        values("config.json", lambda kept: kept["detr_decoder_config"].update(num_queries=32)),
        r"query_embed\.weight is 16x64 and not 32x64",
    ),
    "config with larger images": (
        values(
            "config.json", lambda c: c["vision_config"]["backbone_config"].update(image_size=224)
        ),
        "makes images of 112x112, the model reads 224x224",
    ),
    "vocabulary cut": (content("vocabulary.json", half), r"vocabulary\.json holds no vocabulary"),
    "vocabulary is a list": (content("vocabulary.json", lambda _: b"[1]"), "holds no vocabulary"),
    "domain of NaN": (
        values("domain.json", lambda kept: kept.update(bias=float("nan"))),
        r"domain\.json holds no domain .*not finite",
    ),
    "domain without a row": (
        values("domain.json", lambda kept: kept["hidden"].pop()),
        r"domain\.json holds no domain .*do not fit together",
    ),
    "a shard missing": (
        shards(without("model-00001-of-00006.safetensors")),
        "model-00001-of-00006.safetensors is missing, which model.safetensors.index.json names",
    ),
    "a shard twice": (
        shards(
            lambda folder: shutil.copy(
                folder / "model-00002-of-00006.safetensors",
                folder / "model-00001-of-00006.safetensors",
            )
        ),
        "incomplete: .* more are missing",
    ),
    "an index cut": (
        shards(content("model.safetensors.index.json", half)),
        r"model\.safetensors\.index\.json is no JSON",
    ),
    "a pickle that runs code": (pickled, "pickle file holds more than tensors"),
    "a pickle that runs code in a zip": (pickled_in_zip, "pickle file holds more than tensors"),
    "a folder in place of the weights": (
        weights_in_folder,
        r"model\.safetensors cannot be read: Is a directory",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_refused_with_the_part_that_is_damaged(
    name: str, tmp_path: Path, photo: Pixels
) -> None:
    damage, expected = DAMAGES[name]
    folder = tmp_path / "checkpoint"
    shutil.copytree(TINY, folder)
    damage(folder)
    with pytest.raises(SegmenterError, match=expected):
        Sam3Segmenter(str(folder), device="cpu").encode(photo)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "harmless",
    [
        lambda folder: None,
        without("tokenizer_config.json"),
        without("vocabulary.json", "domain.json", "README.md"),
        # nothing reads it
        weights(lambda kept: {n: w for n, w in kept.items() if "encoder.text_projection" not in n}),
        weights(lambda kept: {name: one.float() for name, one in kept.items()}),
        weights(lambda kept: kept | {"text_encoder.position_ids": torch.arange(32)}),
        weights(lambda kept: kept | {"adapter.weight": torch.ones(3)}),
        weights(lambda kept: kept | {"adapter.steps": torch.tensor(7)}),
        zero_rows,
        quantized_beside,
    ],
)
def test_what_changes_no_mask_is_no_damage(harmless: Damage, tmp_path: Path, photo: Pixels) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    harmless(tmp_path)
    whole, changed = Sam3Segmenter(device="cpu"), Sam3Segmenter(str(tmp_path), device="cpu")
    assert found(changed, photo) == found(whole, photo)


def test_weights_that_nothing_uses_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    weights(lambda kept: kept | {"detr_decoder.lora.weight": torch.ones(3)})(tmp_path)
    Sam3Segmenter(str(tmp_path), device="cpu")
    assert "weights that nothing uses (1): detr_decoder.lora.weight" in caplog.text


def test_rows_of_zeros_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    zero_rows(tmp_path)
    Sam3Segmenter(str(tmp_path), device="cpu")
    assert "have rows of zeros: text_encoder.text_model.embeddings.token" in caplog.text


def found(segmenter: Segmenter, photo: Pixels) -> list[Any]:
    detections = segmenter.detect(segmenter.encode(photo), ["red car", "animal"])
    return [(round(one.presence, 5), one.masks.areas().tolist()) for one in detections]


MODELS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "video": (save_video_checkpoint, lambda folder: Sam3Segmenter(str(folder), device="cpu")),
    "lite text": (save_lite_text_checkpoint, lambda f: Sam3Segmenter(str(f), device="cpu")),
    "sam 2": (save_sam2_checkpoint, lambda folder: Sam2(str(folder), "cpu")),
    "dino": (save_grounding_dino_checkpoint, lambda folder: GroundingDino(str(folder), "cpu")),
}


@pytest.fixture(scope="module", params=list(MODELS))
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    save, load = MODELS[request.param]
    return save(tmp_path_factory.mktemp("kind")), load


def largest(kept: Weights) -> str:
    own = (name for name in kept if "tracker" not in name)
    return max(own, key=lambda name: kept[name].numel())


def lose_largest(kept: Weights) -> None:
    del kept[largest(kept)]


def spoil_largest(kept: Weights) -> None:
    kept[largest(kept)].view(-1)[-1] = float("nan")


def reshape_largest(kept: Weights) -> None:
    kept[largest(kept)] = torch.ones(7, 7)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (weights(lose_largest), "incomplete: .* missing"),
        (weights(spoil_largest), "no finite numbers"),
        (weights(reshape_largest), "is 7x7 and not"),
        (content(WEIGHTS, half), r"model\.safetensors is damaged"),
    ],
)
def test_every_kind_of_model_needs_all_its_weights(
    kind: tuple[Path, Callable[[Path], object]], damage: Damage, expected: str, tmp_path: Path
) -> None:
    saved, load = kind
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    load(tmp_path)
    damage(tmp_path)
    with pytest.raises(SegmenterError, match=expected):
        load(tmp_path)


def test_a_detector_without_its_words_is_refused(tmp_path: Path) -> None:
    save_grounding_dino_checkpoint(tmp_path)
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(SegmenterError, match="the text encoder 1100: tokenizer"):
        GroundingDino(str(tmp_path), "cpu")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda kept: kept.pop("tracker_model.mask_decoder.iou_token.weight"), "is incomplete"),
        (
            lambda kept: kept["tracker_model.mask_decoder.iou_token.weight"].fill_(float("inf")),
            r"mask_decoder\.iou_token\.weight has values",
        ),
        (
            lambda kept: kept.update(
                {"tracker_model.mask_decoder.iou_token.weight": torch.ones(1, 3)}
            ),
            "does not fit its config.json: .*iou_token",
        ),
    ],
)
def test_a_damaged_tracker_fails_with_the_first_click_and_phrases_still_work(
    change: Callable[[Weights], object], expected: str, tmp_path: Path, photo: Pixels
) -> None:
    path = save_video_checkpoint(tmp_path) / WEIGHTS
    kept = load_file(path)
    change(kept)
    save_file(kept, path, metadata={"format": "pt"})
    segmenter = Sam3Segmenter(str(tmp_path), device="cpu")
    features = segmenter.encode(photo)
    assert len(segmenter.detect(features, ["dog"])) == 1
    with pytest.raises(SegmenterError, match=expected):
        segmenter.segment_at(features, ObjectPrompt(((9.0, 9.0),)))


def test_a_model_that_computes_nan_is_refused_and_not_asked_again_for_nothing(
    photo: Pixels,
) -> None:
    segmenter = Sam3Segmenter(device="cpu")
    features = segmenter.encode(photo)
    before = found(segmenter, photo)
    spoilt = segmenter.model.dot_product_scoring.text_proj.weight
    kept = spoilt.detach().clone()
    with torch.no_grad():
        spoilt.fill_(float("nan"))
        with pytest.raises(SegmenterError, match="computed scores that are no finite numbers"):
            segmenter.detect(features, ["blue bus"])
        spoilt.copy_(kept)
        weight = segmenter.model.mask_decoder.instance_projection.weight
        kept = weight.detach().clone()
        weight.fill_(float("nan"))
        with pytest.raises(SegmenterError, match="computed masks that are no finite numbers"):
            segmenter.detect(features, ["car"], ALL)
        weight.copy_(kept)
    assert found(segmenter, photo) == before
    assert np.isfinite(segmenter.detect(features, ["blue bus"])[0].presence)
