"""Image features on disk: a file that is damaged or of something else is never used."""

import logging
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sam3_agent.images import Pixels
from sam3_agent.model.checkpoints import Checkpoint, load_checkpoint
from sam3_agent.model.sam3 import Sam3Segmenter

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tiny() -> Checkpoint:
    return load_checkpoint("tiny")


@pytest.fixture(scope="module")
def cached(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A folder, and in it the files of `picture(0)` and `picture(1)`."""
    folder = tmp_path_factory.mktemp("features")
    segmenter = Sam3Segmenter(tiny, device="cpu", cache_folder=folder)
    segmenter.encode(picture(0))
    (first,) = folder.iterdir()
    segmenter.encode(picture(1))
    (second,) = set(folder.iterdir()) - {first}
    return folder, first, second


def picture(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def tensors(change: Callable[[Tensors], object]) -> Callable[[Path, Path], object]:
    """Damage to the tensors of a file whose metadata stays."""

    def damage(path: Path, _other: Path) -> None:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        kept = load_file(path)
        change(kept)
        save_file(kept, path, metadata=metadata)

    return damage


def content(change: Callable[[bytes], bytes]) -> Callable[[Path, Path], object]:
    return lambda path, _other: path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "zeroed": tensors(lambda kept: [one.zero_() for one in kept.values()]),
    "one value": tensors(lambda kept: kept["hidden"].view(-1)[7].add_(1)),
    "nan": tensors(lambda kept: kept["level_2"].fill_(float("nan"))),
    "misshapen": tensors(lambda kept: kept.update(level_0=kept["level_0"][..., :5].contiguous())),
    "another data type": tensors(lambda kept: kept.update(level_0=kept["level_0"].half())),
    "a level missing": tensors(lambda kept: kept.__delitem__("level_2")),
    "a level too many": tensors(lambda kept: kept.update(level_9=torch.ones(1))),
    "levels exchanged": tensors(
        lambda kept: kept.update(level_0=kept["level_1"], level_1=kept["level_0"])
    ),
    "of another image": lambda path, other: shutil.copy(other, path),
    "without a checksum": lambda path, _: save_file(load_file(path), path),
    "a flipped bit": content(lambda data: data[:-9] + bytes([data[-9] ^ 64]) + data[-8:]),
    "zeros from the middle on": content(
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    ),
    "zeros": content(lambda data: bytes(len(data))),
    "cut": content(lambda data: data[: len(data) // 2]),
    "empty": content(lambda data: b""),
    "text": content(lambda data: b"not found"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_features_are_made_anew_with_one_warning(
    name: str,
    tiny: Checkpoint,
    cached: tuple[Path, Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, first, second = cached
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    DAMAGES[name](tmp_path / first.name, tmp_path / second.name)
    expected = Sam3Segmenter(tiny, device="cpu").encode(picture(0)).encoded
    for encoded in (1, 0):  # the second segmenter reads what the first has written
        segmenter = Sam3Segmenter(tiny, device="cpu", cache_folder=tmp_path)
        with caplog.at_level(logging.WARNING):
            features = segmenter.encode(picture(0)).encoded
        assert segmenter.encoded == encoded
        assert torch.equal(features.last_hidden_state, expected.last_hidden_state)
        for one, same in zip(features.fpn_hidden_states, expected.fpn_hidden_states, strict=True):
            assert torch.equal(one, same)
    (warning,) = caplog.messages
    assert f"{first.name} is damaged" in warning
    assert len(list(tmp_path.iterdir())) == 2


def change_weights(checkpoint: Any) -> None:
    with torch.no_grad():
        checkpoint.model.vision_encoder.backbone.layers[0].mlp.fc1.weight.mul_(1.5)


def change_preprocessing(checkpoint: Any) -> None:
    checkpoint.processor.image_processor.image_mean = [0.2] * 3


def change_configuration(checkpoint: Any) -> None:
    checkpoint.model.config.vision_config.backbone_config.layer_norm_eps = 1e-4


@pytest.mark.parametrize(
    "change", [change_weights, change_preprocessing, change_configuration, lambda same: None]
)
def test_features_are_read_for_the_same_encoder_and_preprocessing_only(
    change: Callable[[Any], None], cached: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(cached[0], tmp_path, dirs_exist_ok=True)
    checkpoint = load_checkpoint("tiny")
    change(checkpoint)
    segmenter = Sam3Segmenter(checkpoint, device="cpu", cache_folder=tmp_path)
    segmenter.encode(picture(0))
    assert segmenter.encoded == (change.__name__ != "<lambda>")


def test_features_that_cannot_be_kept_are_used_all_the_same(
    tiny: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    segmenter = Sam3Segmenter(tiny, device="cpu", cache_folder=tmp_path / "file" / "features")
    with caplog.at_level(logging.WARNING):
        assert len(segmenter.detect(segmenter.encode(picture(0)), ["dog"])) == 1
    (warning,) = caplog.messages
    assert "cannot keep image features" in warning


def test_a_full_disk_leaves_no_half_written_file(tiny: Checkpoint, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    segmenter = Sam3Segmenter(tiny, device="cpu", cache_folder=tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        segmenter.encode(picture(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
    segmenter.encode(picture(1))
    assert len(list(tmp_path.iterdir())) == 1
