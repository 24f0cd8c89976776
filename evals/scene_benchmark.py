"""The benchmark `scenes`: held-out synthetic scenes with exact truth.

An example: a scene with three red cars and the query "the second red car from the left"; the truth
is that car's visible pixels. A query that means nothing in its scene has an empty mask as truth.
The scenes are made on the fly from a seed (see `scenes` and `referring`); nothing is downloaded.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam3_agent.agent import Agent
from sam3_agent.errors import PromptError, Sam3AgentError
from sam3_agent.evals.metrics import ConceptSample, cgf1, reasonseg
from sam3_agent.evals.prompts import prompts
from sam3_agent.evals.referring import SCENES_PER_SEED, held_out_queries
from sam3_agent.evals.scenes import compose
from sam3_agent.evals.sprites import TRAIN_STYLES
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.rle import BoolArray
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter

Solver = Callable[[Pixels, str], BoolArray]
"""(H, W, 3) uint8 image and a query to the (H, W) bool union of the masks that answer it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One query, what was predicted and what is true ((H, W) bool), and how long it took."""

    query: str
    kind: str
    pred: BoolArray
    truth: BoolArray
    seconds: float
    error: str | None = None


def agent_solver(agent: Agent) -> Solver:
    """The agent's answer."""
    return lambda image, query: agent.ask(image, query).masks.union()


def segmenter_solver(segmenter: Segmenter) -> Solver:
    """The baseline without a planner: the whole query as one concept phrase."""

    def solve(image: Pixels, query: str) -> BoolArray:
        scene = Scene(image, segmenter)
        with contextlib.suppress(PromptError):  # longer than the text context: finds nothing
            scene.find([query])
        return scene.masks.union()

    return solve


def referring_samples(
    solve: Solver, seed: int, limit: int, styles: tuple[str, ...] = TRAIN_STYLES
) -> Iterator[Sample]:
    """`limit` held-out scenes with one query each, the kinds taking turns.

    A query that ends in an error counts as answered with nothing.
    """
    for scene, query in held_out_queries(seed, limit, styles):
        error = None
        began = time.perf_counter()
        try:
            pred = solve(scene.image, query.text)
        except Sam3AgentError as raised:
            pred, error = np.zeros(scene.labels.shape, np.bool_), str(raised)
        seconds = time.perf_counter() - began
        truth = np.isin(scene.labels, [index + 1 for index in query.targets])
        yield Sample(query.text, query.kind, pred, truth, seconds, error)


def referring_report(samples: list[Sample]) -> dict[str, Any]:
    """Metrics over all samples and for each kind of query."""
    no_target = [sample for sample in samples if not sample.truth.any()]
    kinds = list(dict.fromkeys(sample.kind for sample in samples))
    return {
        "metrics": {
            **_overlap(samples),
            "no_target_accuracy": _mean([not sample.pred.any() for sample in no_target]),
            "seconds_per_ask": _mean([sample.seconds for sample in samples]),
        },
        "kinds": {
            kind: _overlap([sample for sample in samples if sample.kind == kind]) for kind in kinds
        },
        "errors": [
            {"query": sample.query, "error": sample.error} for sample in samples if sample.error
        ],
    }


def concept_report(
    segmenter: Segmenter,
    seed: int,
    limit: int,
    styles: tuple[str, ...] = TRAIN_STYLES,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """The segmenter alone: `limit` held-out scenes with 2 present and 2 absent phrases each."""
    samples: list[ConceptSample] = []
    presence_right, count_right, seconds = [], [], []
    for number in range(limit):
        scene_seed = seed * SCENES_PER_SEED + number
        scene = compose(scene_seed, styles=styles)
        asked = prompts(scene, np.random.default_rng([5, scene_seed]), 2, 2)
        began = time.perf_counter()
        features = segmenter.encode(scene.image)
        detections = segmenter.detect(features, [phrase for phrase, _ in asked])
        seconds.append(time.perf_counter() - began)
        for (_, things), found in zip(asked, detections, strict=True):
            masks = found.masks[found.masks.scores >= 0.5]
            there = np.array([scene.mask(index) for index in things])
            truth = Masks.from_dense(there) if things else Masks.empty(scene.labels.shape)
            samples.append(ConceptSample(masks.overlap(truth)))
            presence_right.append((found.presence >= 0.5) == bool(things))
            count_right.append(len(masks) == len(things))
        advance()
    return {
        "metrics": {
            **cgf1(samples),
            "presence_accuracy": _mean(presence_right),
            "count_accuracy": _mean(count_right),
            "n": len(samples),
            "seconds_per_scene": _mean(seconds),
        }
    }


def _overlap(samples: list[Sample]) -> dict[str, float]:
    return reasonseg((sample.pred, sample.truth, None) for sample in samples)


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else 0.0
