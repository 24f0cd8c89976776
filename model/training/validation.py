"""Measures of a model on held-out scenes."""

import torch
from torch import nn
from transformers import Sam3Model

from sam3_agent.model.training.alignment import AlignmentHead
from sam3_agent.model.training.batch import Batch
from sam3_agent.model.training.forward import forward
from sam3_agent.model.training.losses import WEIGHTS, detection_losses, match


@torch.no_grad()
def measures(model: Sam3Model, head: AlignmentHead, batch: Batch) -> dict[str, float]:
    """The measures of the last layer on one batch.

    loss: weighted. presence: accuracy of the presence score. mask_iou: mean IoU of the target masks
    and those of their matched queries. found: share of matched queries with a score above 0.5.
    """
    outputs, _ = forward(model, head, batch)
    losses = detection_losses(outputs, batch)
    right = (outputs.presence[-1] > 0) == batch.present
    chosen = match(outputs, batch)[-1]
    row_of = torch.zeros(len(batch.present), dtype=torch.long)
    row_of[outputs.rows] = torch.arange(len(outputs.rows))
    guess = outputs.masks[-1, row_of[batch.target_row], chosen].sigmoid()[:, None]
    size = batch.target_masks.shape[-2:]
    guess = nn.functional.interpolate(guess, size=size, mode="bilinear")[:, 0] > 0.5
    truth = batch.target_masks > 0.5
    iou = (guess & truth).sum((1, 2)) / (guess | truth).sum((1, 2)).clamp(min=1)
    found = outputs.scores[-1, batch.target_row, chosen] > 0
    return {
        "loss": sum(WEIGHTS[name] * loss.item() for name, loss in losses.items()),
        "presence": right.float().mean().item(),
        "mask_iou": iou.mean().item(),
        "found": found.float().mean().item(),
    }
