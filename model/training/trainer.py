"""Trains the tiny SAM 3 in three stages on a fixed budget, resumable, with one process a core.

First the features of images and words are aligned, then both are scaled to a spread of one, then
everything is trained jointly. The learning rate falls to zero exactly when the budget ends.
"""

import json
import logging
import math
import os
import signal
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor, nn
from transformers import CLIPTokenizer, Sam3Model

from sam3_agent.extras import require
from sam3_agent.model.training.alignment import AlignmentHead, text_features
from sam3_agent.model.training.architecture import (
    build_model,
    build_tokenizer,
    export_checkpoint,
    tiny_config,
)
from sam3_agent.model.training.batch import Batch, Source, build_batch
from sam3_agent.model.training.forward import forward, image_features
from sam3_agent.model.training.losses import WEIGHTS, detection_losses
from sam3_agent.model.training.optimizer import average_gradients, build_optimizers
from sam3_agent.model.training.settings import Settings, check_same_run
from sam3_agent.model.training.validation import measures

logger = logging.getLogger(__name__)

HELD_OUT = 2**40
"""First seed of the scenes that are used for validation only."""


def train(
    source: Source,
    folder: Path,
    settings: Settings | None = None,
    *,
    export: Path | None = None,
) -> None:
    """Train in `folder` (state.pt, log.jsonl) and write the checkpoint to `export` at every save.

    A run that was cut off continues from its last save: same step, same scenes, same schedule.
    source: must be importable by worker processes. Raises InputError if the run's settings were
    others.
    """
    require("scipy", purpose="training the tiny SAM 3")
    settings = settings or Settings()
    folder.mkdir(parents=True, exist_ok=True)
    check_same_run(folder, settings)
    with tempfile.TemporaryDirectory() as rendezvous:
        job = (settings, source, folder, export, f"file://{rendezvous}/workers")
        if settings.workers == 1:
            _work(0, *job)
        else:
            processes.spawn(  # type: ignore[attr-defined, no-untyped-call]
                _work, args=job, nprocs=settings.workers
            )


def _work(
    rank: int,
    settings: Settings,
    source: Source,
    folder: Path,
    export: Path | None,
    rendezvous: str,
) -> None:
    if settings.workers == 1:
        Trainer(rank, settings, source, folder, export).run()
        return
    torch.set_num_threads(1)
    # torch interrupts workers whose parent died; a shell's background job would ignore that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", rendezvous, rank=rank, world_size=settings.workers)
    try:
        Trainer(rank, settings, source, folder, export).run()
    finally:
        dist.destroy_process_group()


class Trainer:
    """One worker process of a run; that of rank 0 also writes the state, the log and the export."""

    def __init__(
        self, rank: int, settings: Settings, source: Source, folder: Path, export: Path | None
    ) -> None:
        self.rank, self.settings, self.source = rank, settings, source
        self.folder, self.export = folder, export
        self.tokenizer: CLIPTokenizer = build_tokenizer()
        config: Any = tiny_config(
            len(self.tokenizer), settings.image_size, settings.width, settings.depth
        )
        self.model: Sam3Model = build_model(config, settings.seed)
        hidden = config.detr_encoder_config.hidden_size
        self.head = AlignmentHead(self.tokenizer, hidden, config.detr_encoder_config.num_layers)
        self.optimizers = build_optimizers(self.model, self.head, settings.rate)
        self.step, self.stage_step, self.elapsed, self.joint = 0, 0, 0.0, False
        self._sums: dict[str, float] = defaultdict(float)
        self._origin = time.monotonic()
        if (folder / "state.pt").exists():
            self._restore()

    @property
    def progress(self) -> float:
        """The part of the budget that is spent, in 0..1."""
        settings = self.settings
        spent = self.step / settings.steps if settings.steps else self.elapsed / settings.minutes
        return min(spent, 1.0)

    def run(self) -> None:
        """Train until the budget is spent."""
        settings = self.settings
        saved = checked = self.elapsed
        self._origin = time.monotonic() - 60 * self.elapsed
        while self.progress < 1:
            self.advance()
            if self.step % 25 == 0:
                self._log_losses()
            if self.elapsed - checked > settings.check_minutes and self.joint:
                checked = self.elapsed
                self.check()
            if self.elapsed - saved > settings.save_minutes:
                saved = self.elapsed
                self.save()
        self.check()
        self.save()

    def batch(self, first: int, vary: bool = True) -> Batch:
        """The `settings.batch` scenes from a seed on."""
        seeds = range(first, first + self.settings.batch)
        return build_batch(self.source, seeds, self.tokenizer, self.settings.image_size, vary)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses of this stage by name."""
        if not self.joint:
            maps, _ = image_features(self.model, batch.pixels)
            return {"align": self.head(self.model, maps[-1], batch)}
        outputs, features = forward(self.model, self.head, batch)
        found = detection_losses(outputs, batch)
        losses = {name: WEIGHTS[name] * loss for name, loss in found.items()}
        losses["align"] = self.head(self.model, features, batch)
        return losses

    def advance(self) -> dict[str, float]:
        """Train one step, entering the joint stage when it is due; returns its losses."""
        settings = self.settings
        if not self.joint and self.progress >= settings.align:
            self._start_joint()
        self.model.train()
        rate = self._set_rates()
        worker = self.step * settings.workers + self.rank
        seed = (settings.seed << 32) + worker * settings.batch
        losses = self.losses(self.batch(seed))
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        norm = self._share_gradients()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.stage_step += 1
        values = {name: loss.item() for name, loss in losses.items()}
        for name, value in {**values, "rate": rate, "norm": norm, "steps": 1.0}.items():
            self._sums[name] += value
        return values

    def _set_rates(self) -> float:
        """Warm-up in each stage, one cosine over the budget; returns the fast rate."""
        settings = self.settings
        warm = min(1.0, (self.stage_step + 1) / settings.warmup)
        rate = settings.rate * warm * (1 + math.cos(math.pi * self.progress)) / 2
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                slow = group["slow"] and self.joint
                group["lr"] = rate * (settings.slowdown if slow else 1.0)
        return rate

    def _share_gradients(self) -> float:
        """Average gradients over the workers and clip them; returns their norm before that."""
        groups = (group for optimizer in self.optimizers for group in optimizer.param_groups)
        parameters = (parameter for group in groups for parameter in group["params"])
        used = [p for p in parameters if p.grad is not None or self.joint]
        self.elapsed = (time.monotonic() - self._origin) / 60
        if self.settings.workers > 1:
            self.elapsed = average_gradients(used, 0.0 if self.rank else self.elapsed)
        return nn.utils.clip_grad_norm_(used, self.settings.clip).item()

    @torch.no_grad()
    def _start_joint(self) -> None:
        """Divide the last projections by the spread of their outputs, and begin the joint stage.

        No norm follows the ViT or the FPN: alignment drives the 1x map to a spread of 26, while
        position encodings have 0.7 and would have no effect in the detector.
        """
        if self._sums:
            self._log_losses()
        batch = self.batch(HELD_OUT - 1024)
        maps, _ = image_features(self.model, batch.pixels)
        layers: Any = self.model.vision_encoder.neck.fpn_layers[:-1]
        for layer, level in zip(layers, maps, strict=True):
            layer.proj2.weight.div_(level.std())
            layer.proj2.bias.div_(level.std())
        text = text_features(self.model, batch.input_ids, batch.attention_mask)
        words = text[batch.attention_mask.bool()].std()
        self.model.text_projection.weight.div_(words)
        self.model.text_projection.bias.div_(words)
        self.head.scale.mul_(maps[-1].std() * words)
        self.joint, self.stage_step = True, 0
        self._log({"event": "joint", "spread": [level.std().item() for level in maps]})
        self.optimizers = build_optimizers(self.model, self.head, self.settings.rate)

    def check(self) -> dict[str, float]:
        """The measures of `validation` on held-out scenes, averaged; logged and returned."""
        settings = self.settings
        sums: dict[str, float] = defaultdict(float)
        self.model.eval()
        rounds = max(1, settings.check_images // (settings.batch * settings.workers))
        for index in range(rounds):
            worker = index * settings.workers + self.rank
            batch = self.batch(HELD_OUT + worker * settings.batch, vary=False)
            for name, value in measures(self.model, self.head, batch).items():
                sums[name] += value / rounds
        self.model.train()
        if settings.workers > 1:
            values = torch.tensor(list(sums.values()))
            dist.all_reduce(values)
            sums.update(zip(sums, (values / settings.workers).tolist(), strict=True))
        self._log({"event": "check", **sums})
        return dict(sums)

    def save(self) -> None:
        """Write the state and the export, each atomically."""
        if self.rank:
            return
        state = {
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "stage_step": self.stage_step,
            "elapsed": self.elapsed,
            "joint": self.joint,
        }
        unfinished = self.folder / "state.pt.part"
        torch.save(state, unfinished)
        os.replace(unfinished, self.folder / "state.pt")
        if self.export is not None:
            export_checkpoint(self.model, self.export)

    def _restore(self) -> None:
        state = torch.load(self.folder / "state.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.stage_step = state["step"], state["stage_step"]
        self.elapsed, self.joint = state["elapsed"], state["joint"]
        self._log({"event": "resumed"})

    def _log_losses(self) -> None:
        steps = self._sums.pop("steps")
        self._log({name: value / steps for name, value in self._sums.items()})
        self._sums.clear()

    def _log(self, row: dict[str, Any]) -> None:
        if self.rank:
            return
        row = {"step": self.step, "minutes": self.elapsed, **row}
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(rounded) + "\n")
        logger.info("%s", rounded)
