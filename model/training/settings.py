"""The settings of a training run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The settings of a training run.

    steps: the budget if given (for tests), else `minutes` of wall time. workers: processes.
    image_size: pixels of a square image's side. width, depth: of the ViT. batch: images a worker
    and step. rate: the highest learning rate. align: the part of the budget for the first stage.
    slowdown: factor of the rate of the aligned parts after it. warmup: steps. clip: the largest
    norm of the gradients. check_images: held-out images of one validation.
    """

    minutes: float = 100.0
    steps: int | None = None
    workers: int = 2
    seed: int = 0
    image_size: int = 112
    width: int = 128
    depth: int = 6
    batch: int = 6
    rate: float = 2.5e-3
    align: float = 0.11
    slowdown: float = 0.5
    warmup: int = 50
    clip: float = 2.0
    save_minutes: float = 4.0
    check_minutes: float = 8.0
    check_images: int = 40
