"""Losses of the training forward: matching, boxes, masks, scores, presence."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sam3_agent.extras import require
from sam3_agent.model.training.batch import Batch

WEIGHTS = {
    "presence": 2.0,
    "score": 1.0,
    "l1": 5.0,
    "giou": 2.0,
    "mask": 1.0,
    "dice": 3.0,
    "semantic": 2.0,
    "dense": 1.0,
}


@dataclass(frozen=True)
class Outputs:
    """What every decoder layer predicts, for D layers, N prompts, Q queries and R present prompts.

    boxes (D, N, Q, 4) cxcywh; scores (D, N, Q) and presence (D, N) logits; masks (D, R, Q, h, w)
    and semantic (R, h, w) logits in the order of `rows` (R,); dense (layers, N, cells) logits of
    the training heads on the encoder.
    """

    boxes: Tensor
    scores: Tensor
    presence: Tensor
    masks: Tensor
    semantic: Tensor
    dense: Tensor
    rows: Tensor


def corners(boxes: Tensor) -> Tensor:
    """cxcywh to xyxy, (..., 4)."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """GIoU of paired cxcywh boxes, (...,) (Rezatofighi et al. 2019, equation 3)."""
    a, b = corners(first), corners(second)
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(
        0
    )
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    shared, whole = overlap.prod(-1), hull.clamp(min=1e-6).prod(-1)
    union = (first[..., 2:].prod(-1) + second[..., 2:].prod(-1) - shared).clamp(min=1e-6)
    return shared / union - (whole - union) / whole


@torch.no_grad()
def match(outputs: Outputs, batch: Batch) -> Tensor:
    """The index of the query that each decoder layer is trained on for each target, (D, T).

    Hungarian matching on boxes and scores, for each prompt on its own.
    """
    require("scipy", purpose="training the tiny SAM 3")
    from scipy.optimize import linear_sum_assignment

    row, truth = batch.target_row, batch.target_boxes
    boxes = outputs.boxes[:, row]
    cost = 5 * (boxes - truth[None, :, None]).abs().sum(-1)
    cost = cost - 2 * generalized_iou(boxes, truth[None, :, None])
    cost = (cost - 2 * outputs.scores[:, row].sigmoid()).nan_to_num(1e4)
    table = cost.numpy()
    chosen = torch.zeros(table.shape[:2], dtype=torch.long)
    counts = torch.unique_consecutive(row, return_counts=True)[1].tolist()
    start = 0
    for count in counts:
        for layer in range(len(table)):
            targets, queries = linear_sum_assignment(table[layer, start : start + count])
            chosen[layer, start + torch.from_numpy(targets)] = torch.from_numpy(queries)
        start += count
    return chosen


def mask_losses(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and dice of (M, h, w) logits against (M, S, S) truth.

    Probabilities are upsampled, not logits: inference does the same.
    """
    guess = F.interpolate(logits.sigmoid()[:, None], size=truth.shape[-2:], mode="bilinear")[:, 0]
    guess = guess.clamp(1e-4, 1 - 1e-4)
    entropy = F.binary_cross_entropy(guess, truth, reduction="none").mean((1, 2))
    # Sums go up to S * S: one is a small smoothing that keeps an empty union finite.
    dice = 1 - (2 * (guess * truth).sum((1, 2)) + 1) / (guess.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return entropy.mean(), dice.mean()


def detection_losses(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Unweighted losses by the names of WEIGHTS, summed over decoder layers."""
    layers = len(outputs.boxes)
    row, present = batch.target_row, batch.present
    # Truth for a prompt's whole area, on pixels and on the encoder's cells.
    union = torch.zeros(len(present), *batch.target_masks.shape[1:])
    union = union.index_add(0, row, batch.target_masks).clamp(max=1)
    cells = F.adaptive_avg_pool2d(union, batch.cell_noun.shape[-1]).flatten(1)
    losses = {
        "presence": F.binary_cross_entropy_with_logits(
            outputs.presence, present.float().expand(layers, -1)
        )
        * layers,
        "dense": F.binary_cross_entropy_with_logits(
            outputs.dense, cells.expand(len(outputs.dense), -1, -1)
        )
        * len(outputs.dense),
    }
    if not len(row):
        return losses
    chosen = match(outputs, batch)
    layer = torch.arange(layers)[:, None]
    guess, truth = outputs.boxes[layer, row, chosen], batch.target_boxes.expand(layers, -1, -1)
    losses["l1"] = (guess - truth).abs().sum(-1).mean() * layers
    losses["giou"] = (1 - generalized_iou(guess, truth)).mean() * layers
    wanted = torch.zeros_like(outputs.scores)
    wanted[layer, row, chosen] = 1
    scores = F.binary_cross_entropy_with_logits(
        outputs.scores[:, outputs.rows], wanted[:, outputs.rows], reduction="none"
    )
    losses["score"] = scores.sum() / len(row)
    place = torch.zeros(len(present), dtype=torch.long)
    place[outputs.rows] = torch.arange(len(outputs.rows))
    masks = outputs.masks[layer, place[row], chosen].flatten(0, 1)
    entropy, dice = mask_losses(masks, batch.target_masks.repeat(layers, 1, 1))
    losses["mask"], losses["dice"] = entropy * layers, dice * layers
    entropy, dice = mask_losses(outputs.semantic, union[outputs.rows])
    losses["semantic"] = entropy + dice
    return losses
