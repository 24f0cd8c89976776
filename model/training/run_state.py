"""The state of a training run on disk: written whole, checked when it is read."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from sam3_agent.errors import InputError
from sam3_agent.model.checkpoint_checks import check_finite
from sam3_agent.model.training.settings import Settings
from sam3_agent.sanitize import shorten

FILE = "state.pt"


class RunState(BaseModel):
    """What a run needs to go on where it was saved.

    settings: those of `Settings`. model, head: weights by name. optimizers: the states of each.
    step, stage_step: steps so far, in all and in this stage. elapsed: minutes of training so far.
    joint: whether the joint stage has begun.
    """

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)

    settings: dict[str, Any]
    model: Mapping[str, torch.Tensor]
    head: Mapping[str, torch.Tensor]
    optimizers: list[dict[str, Any]]
    step: NonNegativeInt
    stage_step: NonNegativeInt
    elapsed: NonNegativeFloat
    joint: bool


def write_state(folder: Path, state: RunState) -> None:
    """Replaces the state in a folder, whole or not at all; raises OSError."""
    unfinished = folder / f"{FILE}.part"
    try:
        torch.save(dict(state), unfinished)
        os.replace(unfinished, folder / FILE)
    except RuntimeError as error:  # torch's words for a full disk
        raise OSError(f"the state cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def read_state(folder: Path) -> RunState | None:
    """The state in a folder, None when there is none.

    Reads tensors and plain values only, so that no code runs. Raises InputError for a file that is
    damaged, with what to do.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state = RunState.model_validate(torch.load(path, weights_only=True))
        check_finite(str(path), {**state.model, **state.head, **_tensors(state.optimizers)})
        return state
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise damaged(path, reason) from error
    except Exception as error:  # what torch raises for a damaged file is open-ended
        raise damaged(path, repr(error)) from error


def _tensors(values: Any, name: str = "optimizers") -> dict[str, torch.Tensor]:
    """All tensors in nested lists and dicts, by where they are."""
    if isinstance(values, torch.Tensor):
        return {name: values}
    inner = values.items() if isinstance(values, dict) else enumerate(values)
    return {
        place: tensor
        for key, one in inner
        if isinstance(one, dict | list | torch.Tensor)
        for place, tensor in _tensors(one, f"{name}.{key}").items()
    }


def damaged(path: Path, reason: str) -> InputError:
    """The error for a state that cannot be continued from."""
    words = shorten(" ".join(reason.split()), 300)
    return InputError(
        f"the state of the training run in {path} is damaged or not of this version ({words}): "
        "copy it again, or delete it to train from the start"
    )


def check_same_run(folder: Path, settings: Settings) -> None:
    """Raises InputError for a folder whose run has other weights or other scenes."""
    state = read_state(folder)
    if state is None:
        return
    before, now = state.settings, asdict(settings)
    for name in ("image_size", "width", "depth", "seed", "workers", "batch"):
        if before.get(name) != now[name]:
            raise InputError(
                f"{folder} holds a run with {name} {before.get(name)}, not {now[name]}: "
                "resume with the same settings or train in another folder"
            )
