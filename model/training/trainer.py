"""One worker of a training of the tiny SAM 3, in three stages on a fixed budget.

First the features of images and words are aligned, then both are scaled to a spread of one, then
everything is trained jointly. The learning rate falls to zero exactly when the budget ends.
"""

import logging
import math
import threading
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import CLIPTokenizer, Sam3Model

from sam3_agent.errors import InputError, ModelError
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
from sam3_agent.model.training.run_state import (
    FILE,
    RunState,
    damaged,
    read_state,
    write_state,
)
from sam3_agent.model.training.settings import Settings
from sam3_agent.model.training.training_log import TrainingLog
from sam3_agent.model.training.validation import measures
from sam3_agent.model.training.workers import interrupt_noted

logger = logging.getLogger(__name__)

HELD_OUT = 2**40
"""First seed of the scenes that are used for validation only."""


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
        self._log = TrainingLog(None if rank else folder)
        self._origin = time.monotonic()
        self._stop = threading.Event()
        self._ending = False
        state = read_state(folder)
        if state is not None:
            self._restore(state)

    @property
    def progress(self) -> float:
        """The part of the budget that is spent, in 0..1."""
        settings = self.settings
        spent = self.step / settings.steps if settings.steps else self.elapsed / settings.minutes
        return min(spent, 1.0)

    def run(self) -> None:
        """Train until the budget is spent, or until Ctrl-C: then KeyboardInterrupt after a save."""
        with interrupt_noted(self._stop):
            if not self.step:
                self.save(export=False)  # what would keep it from being saved is found now
            self._run()
        if self._ending or self._stop.is_set():
            raise KeyboardInterrupt

    def _run(self) -> None:
        settings = self.settings
        saved = checked = self.elapsed
        self._origin = time.monotonic() - 60 * self.elapsed
        while self.progress < 1:
            self.advance()
            if self._ending:
                self.save()
                return
            if self.step % 25 == 0:
                self._log.write_means(self.step, self.elapsed)
            if self.elapsed - checked > settings.check_minutes and self.joint:
                checked = self.elapsed
                self.check()
            if self.elapsed - saved > settings.save_minutes:
                saved = self.elapsed
                self._save_if_possible()
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
        losses = self._finite_losses(self.batch(seed))
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        norm = self._share_gradients()
        if not math.isfinite(norm):
            raise self._diverged()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.stage_step += 1
        values = {name: loss.item() for name, loss in losses.items()}
        self._log.add({**values, "rate": rate, "norm": norm})
        return values

    def _finite_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The losses; ModelError when the weights have become NaN or infinite."""
        try:
            return self.losses(batch)
        except (RuntimeError, ValueError) as error:  # such as of matching NaN
            if self._finite():
                raise
            raise self._diverged() from error

    def _finite(self) -> bool:
        return all(bool(weight.norm().isfinite()) for weight in self.model.parameters())

    def _diverged(self) -> ModelError:
        return ModelError(
            f"training has diverged in step {self.step}: the loss, its gradients or the weights "
            f"are no finite numbers. What was saved last in {self.folder} is whole; train with "
            "another seed or a lower rate, in another folder"
        )

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
        self._ending = self._stop.is_set()
        if self.settings.workers > 1:
            minutes = 0.0 if self.rank else self.elapsed
            # all workers end in the same step, also those that Ctrl-C reaches a step later
            self.elapsed, stopped = average_gradients(used, [minutes, float(self._ending)])
            self._ending = stopped > 0
        return nn.utils.clip_grad_norm_(used, self.settings.clip).item()

    @torch.no_grad()
    def _start_joint(self) -> None:
        """Divide the last projections by the spread of their outputs, and begin the joint stage.

        No norm follows the ViT or the FPN: alignment drives the 1x map to a spread of 26, while
        position encodings have 0.7 and would have no effect in the detector.
        """
        self._log.write_means(self.step, self.elapsed)
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
        self._log.write(
            self.step,
            self.elapsed,
            {"event": "joint", "spread": [level.std().item() for level in maps]},
        )
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
        self._log.write(self.step, self.elapsed, {"event": "check", **sums})
        return dict(sums)

    def save(self, *, export: bool = True) -> None:
        """Write the state and the export, each file whole or not at all.

        Raises InputError when they cannot be written, ModelError when the weights are NaN.
        """
        if not self._finite():
            raise self._diverged()
        if self.rank:
            return
        state = RunState(
            settings=asdict(self.settings),
            model=self.model.state_dict(),
            head=self.head.state_dict(),
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            step=self.step,
            stage_step=self.stage_step,
            elapsed=self.elapsed,
            joint=self.joint,
        )
        try:
            write_state(self.folder, state)
            if export and self.export is not None:
                export_checkpoint(self.model, self.export)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"cannot save the training run in {self.folder}: {error}; free space, then train "
                "again: it continues from the last save"
            ) from error

    def _save_if_possible(self) -> None:
        """Save; what cannot be written now may be written at the next save."""
        try:
            self.save()
        except InputError as error:
            logger.warning("%s", error)

    def _restore(self, state: RunState) -> None:
        try:
            self.model.load_state_dict(state.model)
            self.head.load_state_dict(state.head)
            for optimizer, saved in zip(self.optimizers, state.optimizers, strict=True):
                optimizer.load_state_dict(saved)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise damaged(self.folder / FILE, repr(error)) from error
        self.step, self.stage_step = state.step, state.stage_step
        self.elapsed, self.joint = state.elapsed, state.joint
        self._log.write(self.step, self.elapsed, {"event": "resumed"})
