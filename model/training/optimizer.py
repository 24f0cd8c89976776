"""The optimizers of the trainer: Muon for matrices, AdamW for everything else."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

SLOW = (
    "vision_encoder.backbone.",
    "vision_encoder.neck.fpn_layers.2.",
    "text_encoder.",
    "text_projection.",
)
"""Parts that the alignment stage has trained already: they go slower in the joint stage."""

UNUSED = ("vision_encoder.neck.fpn_layers.3.", "text_encoder.text_projection.")
"""Parts of `Sam3Model` that its forward never reads."""


def orthogonalized(matrices: Tensor, rounds: int = 5) -> Tensor:
    """Nearly orthogonal matrices with the same directions, (n, rows, columns).

    Newton-Schulz iteration with the coefficients of Keller Jordan's Muon.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    x = x.bfloat16()  # four times faster on a CPU that has it, and exact enough for a direction
    for _ in range(rounds):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    x = x.to(matrices.dtype)
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates, for 2-D weights; equal shapes go through as one batch.

    Updates are scaled to AdamW's usual size (0.2 root mean square), so one rate serves both.
    """

    def __init__(self, groups: Iterable[dict[str, object]], lr: float, momentum: float = 0.95):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.01})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        by_shape: dict[torch.Size, list[tuple[nn.Parameter, dict[str, float]]]] = defaultdict(list)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[weight.shape].append((weight, group))
        for shape, members in by_shape.items():
            gradients = []
            for weight, group in members:
                gradient = cast(Tensor, weight.grad)
                average = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                average.lerp_(gradient, 1 - group["momentum"])
                gradients.append(gradient.lerp(average, group["momentum"]))
            size = 0.2 * max(shape) ** 0.5
            for (weight, group), update in zip(
                members, orthogonalized(torch.stack(gradients)), strict=True
            ):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * size)


def build_optimizers(model: nn.Module, head: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon and AdamW over all used parameters, each with a fast and a slow group."""
    matrices: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    others: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    inner = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and min(module.weight.shape) >= 32
    }
    for name, parameter in model.named_parameters():
        if name.startswith(UNUSED):
            parameter.requires_grad_(False)
        else:
            kind = matrices if name in inner else others
            kind[name.startswith(SLOW)].append(parameter)
    others[False] += head.parameters()

    def groups(kind: dict[bool, list[nn.Parameter]]) -> list[dict[str, object]]:
        return [{"params": kind[slow], "slow": slow} for slow in (False, True)]

    return [
        Muon(groups(matrices), lr=lr),
        torch.optim.AdamW(groups(others), lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def average_gradients(parameters: Sequence[nn.Parameter], shared: Sequence[float]) -> list[float]:
    """Replace gradients by their mean over all worker processes; returns the sums of `shared`.

    What all workers have to decide in the same way, in the same step, they decide by these.
    """
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(part.flatten() for part in parts), torch.tensor(shared)])
    dist.all_reduce(flat)
    gradients = torch.split(flat[: -len(shared)], [parameter.numel() for parameter in parameters])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter) / dist.get_world_size()
    sums: list[float] = flat[-len(shared) :].tolist()
    return sums
