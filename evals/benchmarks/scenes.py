"""The benchmark `scenes`: held-out synthetic scenes with exact truth.

An example: a scene with three red cars and the query "the second red car from the left"; the truth
is that car's visible pixels. A query that means nothing in its scene has no mask as truth. The
scenes are made on the fly from a seed (see `scenes` and `referring`); nothing is downloaded.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Interval, Row, Sample
from sam3_agent.evals.metrics import (
    Overlap,
    Tally,
    intervals,
    mask_overlap,
    ratio,
    reasonseg_tally,
)
from sam3_agent.evals.synthetic.referring import held_out_scenes
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import HELD_OUT_STYLE, TRAIN_STYLES
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks

STYLES = {"train": TRAIN_STYLES, "heldout": (HELD_OUT_STYLE,)}
"""The drawing styles of a scene: those that the tiny SAM 3 was trained on, or another one."""

KEPT_IMAGES = 400
"""Pictures that are kept in memory (0.9 MB each); those after them are made again when asked."""


def read(
    data: Path | None = None,
    split: str | None = None,
    *,
    seed: int = 0,
    limit: int | None = None,
    style: str = "train",
) -> "ScenesBenchmark":
    """`limit` scenes (200 by default) with one query each, the kinds taking turns."""
    if data is not None or split is not None:
        raise InputError("scenes are made from a seed: they take neither --data nor --split")
    if style not in STYLES:
        raise InputError(f"there is no style {style!r}; choose {' or '.join(STYLES)}")
    return ScenesBenchmark(seed, 200 if limit is None else limit, STYLES[style])


class ScenesBenchmark:
    """See `benchmark.Benchmark`."""

    name = "scenes"
    note = ""
    dataset = None
    problems: Sequence[str] = ()

    def __init__(self, seed: int, limit: int, styles: tuple[str, ...]) -> None:
        self.samples: Sequence[Sample] = [
            Sample(
                id=str(scene_seed),
                query=query.text,
                image=partial(
                    _image, scene_seed, styles, scene.image if number < KEPT_IMAGES else None
                ),
                truth=_targets(scene, query.targets),
                tags={"kind": query.kind},
                about={"count": query.count},
            )
            for number, (scene_seed, scene, query) in enumerate(
                held_out_scenes(seed, limit, styles)
            )
        ]

    def score(self, row: Row) -> float:
        """The IoU of the unions; 1 when both are empty."""
        return _overlap(row).iou(empty=1.0)

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        """gIoU and cIoU as on ReasonSeg (LISA's), and how often a no-target query is seen as one.

        seconds_per_ask: mean wall time of an answer.
        """
        return self.tally(rows).value()

    def intervals(self, rows: Sequence[Row]) -> dict[str, Interval]:
        """Bootstrap 95 % intervals of all metrics."""
        return intervals(self.tally(rows), [row.id for row in rows])

    def tally(self, rows: Sequence[Row]) -> Tally:
        """The metrics as a function of sums over rows."""
        overlaps = [_overlap(row) for row in rows]
        base = reasonseg_tally(overlaps)
        others = [_others(row, overlap) for row, overlap in zip(rows, overlaps, strict=True)]
        columns = np.array(others, np.float64).reshape(-1, 4)

        def finish(sums: npt.NDArray[np.float64]) -> dict[str, float]:
            right, no_target, seconds, asked = (float(one) for one in sums[-4:])
            return {
                **base.finish(sums[:-4]),
                "no_target_accuracy": ratio(right, no_target),
                "seconds_per_ask": ratio(seconds, asked),
            }

        return Tally(np.concatenate([base.columns, columns], axis=1), finish)


def _overlap(row: Row) -> Overlap:
    assert row.truth is not None
    return mask_overlap(row.pred, row.truth)


def _others(row: Row, overlap: Overlap) -> tuple[bool, bool, float, int]:
    """Whether it is a no-target query seen as one, whether it is one, its seconds, and 1."""
    no_target = row.truth is not None and not len(row.truth)
    return no_target and not overlap.union, no_target, float(row.usage.get("seconds", 0.0)), 1


def _targets(scene: SyntheticScene, targets: Sequence[int]) -> Masks:
    """The visible pixels of the things that a query means, one mask each."""
    dense = np.array([scene.mask(index) for index in targets], np.bool_)
    phrases = [scene.things[index].name for index in targets]
    size = (int(scene.labels.shape[0]), int(scene.labels.shape[1]))
    return Masks.from_dense(dense, phrases=phrases) if targets else Masks.empty(size)


def _image(scene_seed: int, styles: tuple[str, ...], kept: Pixels | None) -> Pixels:
    return compose(scene_seed, styles=styles).image if kept is None else kept
