"""A benchmark of colored stripes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sam3_agent import InputError, Masks
from sam3_agent.evals.benchmark import Row, Sample
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.metrics import Overlap, Tally, mask_overlap, refcoco_tally
from sam3_agent.images import Pixels

COLORS = ("red", "green", "blue")


def read(data: Path | None = None, split: str | None = None) -> ScoredBenchmark:
    """One question about each stripe of a picture with three of them."""
    if data is not None or split is not None:
        raise InputError("stripes is made in memory: it takes neither --data nor --split")
    samples = [
        Sample(f"stripe {color}", f"the {color}", draw, truth(place))
        for place, color in enumerate(COLORS)
    ]
    return ScoredBenchmark("stripes", samples, (), tally, score)


def draw() -> Pixels:
    """Three stripes of 20 pixels each, red, green and blue."""
    return np.repeat(255 * np.eye(3, dtype=np.uint8), 20, axis=0)[None].repeat(30, axis=0)


def truth(place: int) -> Masks:
    """The mask of one stripe."""
    mask = np.zeros((1, 30, 60), np.bool_)
    mask[:, :, 20 * place : 20 * place + 20] = True
    return Masks.from_dense(mask)


def tally(rows: Sequence[Row]) -> Tally:
    """RefCOCO's metrics."""
    return refcoco_tally([overlap(row) for row in rows])


def score(row: Row) -> float:
    """The IoU of what was answered and what is true."""
    return overlap(row).iou(empty=1.0)


def overlap(row: Row) -> Overlap:
    """The overlap of what was answered and what is true."""
    assert row.truth is not None
    return mask_overlap(row.pred, row.truth)
