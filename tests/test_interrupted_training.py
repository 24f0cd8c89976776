"""Training that is interrupted, diverges, or meets damaged states, full disks and other runs."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sam3_agent import InputError
from sam3_agent.errors import ModelError
from sam3_agent.model.training.batch import TrainingScene
from sam3_agent.model.training.run import train
from sam3_agent.model.training.run_folder import run_folder
from sam3_agent.model.training.settings import Settings
from sam3_agent.model.training.trainer import Trainer
from tests.test_training import SMALL, blocks, rows

STATE = "state.pt"
SHORT = replace(SMALL, steps=4, warmup=1)

Damage = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SHORT that was saved after two steps."""
    folder = tmp_path_factory.mktemp("saved")
    trainer = Trainer(0, SHORT, blocks, folder, None)
    trainer.advance()
    trainer.advance()
    trainer.save()
    return folder


def content(change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / STATE).write_bytes(change((folder / STATE).read_bytes()))


def values(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Damage to the values of the state."""

    def damage(folder: Path) -> None:
        kept = torch.load(folder / STATE, weights_only=True)
        change(kept)
        torch.save(kept, folder / STATE)

    return damage


class Touch:
    """A pickle of it would create a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def nan_momentum(state: dict[str, Any]) -> None:
    next(iter(state["optimizers"][0]["state"].values()))["momentum"].fill_(float("nan"))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut": (content(lambda data: data[: len(data) // 2]), "is damaged or not of this version"),
    "empty": (content(lambda data: b""), "is damaged"),
    "zeros": (content(lambda data: bytes(len(data))), "is damaged"),
    "text": (content(lambda data: b"not found"), "is damaged"),
    "a pickle that runs code": (
        lambda folder: torch.save({"a": Touch(folder / "ran")}, folder / STATE),
        "is damaged",
    ),
    "no weights": (values(lambda kept: kept.pop("model")), "model: Field required"),
    "a weight lost": (
        values(lambda kept: kept["model"].__delitem__("text_projection.weight")),
        r"Missing key.*text_projection\.weight",
    ),
    "a weight of another shape": (
        values(lambda kept: kept["model"].update({"text_projection.weight": torch.ones(3)})),
        "size mismatch for text_projection",
    ),
    "a weight NaN": (
        values(lambda kept: kept["model"]["text_projection.weight"].fill_(float("nan"))),
        r"text_projection\.weight has values that are no finite",
    ),
    "a momentum NaN": (values(nan_momentum), r"optimizers\.0\.state\..* no finite numbers"),
    "an optimizer lost": (values(lambda kept: kept["optimizers"].pop()), "is damaged"),
    "a step below zero": (values(lambda kept: kept.update(step=-5)), "step: .*greater"),
    "NaN minutes": (values(lambda kept: kept.update(elapsed=float("nan"))), "elapsed: .*finite"),
    "settings without a width": (
        values(lambda kept: kept["settings"].pop("width")),
        "a run with width None, not 32",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_state_is_refused_and_left_as_it_is(
    name: str, saved: Path, tmp_path: Path
) -> None:
    damage, expected = DAMAGES[name]
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    before = (tmp_path / STATE).read_bytes()
    with pytest.raises(InputError, match=expected):
        train(blocks, tmp_path, SHORT)
    assert (tmp_path / STATE).read_bytes() == before
    assert not (tmp_path / "ran").exists()


def interrupting(seed: int) -> TrainingScene:
    """Scenes of which the ninth comes with Ctrl-C, in the second step of batches of 3."""
    if seed == 4:
        os.kill(os.getpid(), signal.SIGINT)
    return blocks(seed)


def test_ctrl_c_ends_the_step_and_saves_and_the_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    train(blocks, tmp_path / "whole", SHORT)
    with pytest.raises(KeyboardInterrupt):
        train(interrupting, tmp_path / "cut", SHORT, export=tmp_path / "export")
    state = torch.load(tmp_path / "cut" / STATE, weights_only=True)
    assert state["step"] == 2
    assert (tmp_path / "export" / "model.safetensors").exists()
    train(blocks, tmp_path / "cut", SHORT)
    whole, cut = (
        torch.load(tmp_path / name / STATE, weights_only=True)["model"] for name in ("whole", "cut")
    )
    assert all(torch.equal(weight, cut[name]) for name, weight in whole.items())
    assert rows(tmp_path / "cut")[-1]["loss"] == rows(tmp_path / "whole")[-1]["loss"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def interrupting_parent(seed: int) -> TrainingScene:
    """Scenes of which one, of the second step, comes with Ctrl-C to the first process alone."""
    if seed == 7:
        os.kill(os.getppid(), signal.SIGINT)
    return blocks(seed)


def test_ctrl_c_lets_all_workers_end_in_the_same_step(tmp_path: Path) -> None:
    settings = replace(SHORT, workers=2, steps=100_000)
    with pytest.raises(KeyboardInterrupt):
        train(interrupting_parent, tmp_path, settings)
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert 2 <= state["step"] < settings.steps
    again = Trainer(0, replace(SHORT, workers=1), blocks, tmp_path, None)
    assert again.step == state["step"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_diverges_is_ended_and_what_was_saved_is_finite(
    workers: int, tmp_path: Path
) -> None:
    settings = Settings(**{**SHORT.__dict__, "rate": 1e36, "workers": workers})
    with pytest.raises(ModelError, match=r"diverged in step \d.* no finite numbers"):
        train(blocks, tmp_path, settings)
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert all(bool(weight.isfinite().all()) for weight in state["model"].values())


def test_two_runs_do_not_share_a_folder_or_an_export(tmp_path: Path) -> None:
    with run_folder(tmp_path / "used"):
        for folder, export in (("used", None), ("other", tmp_path / "used")):
            with pytest.raises(InputError, match=r"another training writes to .*used"):
                train(blocks, tmp_path / folder, SHORT, export=export)
    assert not (tmp_path / "used" / STATE).exists()
    train(blocks, tmp_path / "used", replace(SHORT, steps=1))


def a_file(path: Path) -> None:
    path.write_text("")


def with_a_folder_inside(path: Path) -> None:
    (path / "model.safetensors").mkdir(parents=True)


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (a_file, "cannot write to .*place: File exists"),
        (with_a_folder_inside, r"cannot write .*model\.safetensors: it is a folder"),
        (below_a_file, "cannot write to .*: Not a directory"),
    ],
)
def test_an_export_that_cannot_be_written_is_refused_before_training(
    spoil: Callable[[Path], None], expected: str, tmp_path: Path
) -> None:
    place = tmp_path / "above" / "place"
    place.parent.mkdir()
    spoil(place)
    with pytest.raises(InputError, match=expected):
        train(blocks, tmp_path / "run", SHORT, export=place)
    assert not (tmp_path / "run" / STATE).exists()


def test_a_full_disk_is_noticed_before_the_first_step(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails
    trainer = Trainer(0, SHORT, blocks, tmp_path, None)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(InputError, match=r"cannot save the training run in .* free space"):
            trainer.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert trainer.step == 0
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_last_one_whole(saved: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    trainer = Trainer(0, SHORT, blocks, tmp_path, None)
    trainer.advance()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(InputError, match="cannot save the training run"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / STATE).read_bytes() == (saved / STATE).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", STATE]
    assert json.loads((tmp_path / "log.jsonl").read_text("utf-8").splitlines()[-1])["step"] == 2
