"""The benchmark `scenes`: held-out synthetic scenes with exact ground truth.

An example: a scene with three red cars and the query "the second red car from the left"; the truth
is that car's visible pixels. A no-target query has no mask as truth. The scenes are composed from a
seed (see `synthetic.scenes` and `synthetic.referring`); nothing is downloaded.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Row, Sample
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.metrics import (
    Columns,
    Overlap,
    Tally,
    joined,
    mask_overlap,
    ratio,
    reasonseg_tally,
)
from sam3_agent.evals.synthetic.referring import ReferringQuery, held_out_scenes
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import HELD_OUT_STYLE, TRAIN_STYLES
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks

STYLES = {"train": TRAIN_STYLES, "heldout": (HELD_OUT_STYLE,)}
"""The drawing styles of a scene: those that the tiny SAM 3 was trained on, or another one."""

CACHED_IMAGES = 400
"""Images that are kept in memory (0.9 MB each); later ones are composed again when asked."""


def read(
    data: Path | None = None,
    split: str | None = None,
    *,
    seed: int = 0,
    limit: int | None = None,
    style: str = "train",
) -> ScoredBenchmark:
    """Composes `limit` scenes (200 by default) with one query each, in turn of every kind."""
    if data is not None or split is not None:
        raise InputError("scenes are made from a seed: they take neither --data nor --split")
    if style not in STYLES:
        raise InputError(f"there is no style {style!r}; choose {' or '.join(STYLES)}")
    scenes = held_out_scenes(seed, 200 if limit is None else limit, STYLES[style])
    samples = [
        _sample(scene_seed, scene, query, STYLES[style], cached=number < CACHED_IMAGES)
        for number, (scene_seed, scene, query) in enumerate(scenes)
    ]
    return ScoredBenchmark("scenes", samples, (), tally, score)


def score(row: Row) -> float:
    """Computes the IoU of the unions; 1 when both are empty."""
    return _overlap(row).iou(empty=1.0)


def tally(rows: Sequence[Row]) -> Tally:
    """Tallies gIoU and cIoU as on ReasonSeg (LISA's), the accuracy on no-target queries, time.

    no_target_accuracy: the share of no-target queries answered with no pixel.
    seconds_per_ask: mean wall time of an answer.
    """
    overlaps = [_overlap(row) for row in rows]
    columns = [_columns(row, overlap) for row, overlap in zip(rows, overlaps, strict=True)]
    others = Tally(np.array(columns, np.float64).reshape(-1, 4), _ratios)
    return joined([("", reasonseg_tally(overlaps)), ("", others)])


def _overlap(row: Row) -> Overlap:
    assert row.truth is not None
    return mask_overlap(row.pred, row.truth)


def _columns(row: Row, overlap: Overlap) -> tuple[bool, bool, float, int]:
    """Returns: no-target query with an empty prediction, no-target query, seconds, 1."""
    no_target = row.truth is not None and not len(row.truth)
    return no_target and not overlap.union, no_target, float(row.usage.get("seconds", 0.0)), 1


def _ratios(sums: Columns) -> dict[str, float]:
    right, no_target, seconds, rows = (float(one) for one in sums)
    return {
        "no_target_accuracy": ratio(right, no_target),
        "seconds_per_ask": ratio(seconds, rows),
    }


def _sample(
    seed: int,
    scene: SyntheticScene,
    query: ReferringQuery,
    styles: tuple[str, ...],
    *,
    cached: bool,
) -> Sample:
    return Sample(
        id=str(seed),
        query=query.text,
        image=partial(_image, seed, styles, scene.image if cached else None),
        truth=_targets(scene, query.targets),
        tags={"kind": query.kind},
        about={"count": query.count},
    )


def _image(seed: int, styles: tuple[str, ...], cached: Pixels | None) -> Pixels:
    return compose(seed, styles=styles).image if cached is None else cached


def _targets(scene: SyntheticScene, targets: Sequence[int]) -> Masks:
    """Returns the visible pixels of a query's target objects, one mask each."""
    if not targets:
        return Masks.empty(scene.size)
    dense = np.array([scene.mask(index) for index in targets], np.bool_)
    return Masks.from_dense(dense, phrases=[scene.objects[index].name for index in targets])
