"""Evaluates a segmenter alone, on present and absent concept phrases of held-out scenes."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sam3_agent.evals.metrics import ConceptSample, cgf1
from sam3_agent.evals.synthetic.concept_phrases import concept_phrases
from sam3_agent.evals.synthetic.referring import SCENES_PER_SEED
from sam3_agent.evals.synthetic.scenes import compose
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES
from sam3_agent.extras import require
from sam3_agent.masks import Masks
from sam3_agent.segmenter import Segmenter


def concept_report(
    segmenter: Segmenter,
    seed: int,
    limit: int,
    styles: tuple[str, ...] = TRAIN_STYLES,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Computes the metrics over `limit` scenes with 2 present and 2 absent phrases each."""
    require("scipy", purpose="the metric of concepts")
    samples: list[ConceptSample] = []
    presence_right, count_right, seconds = [], [], []
    for number in range(limit):
        scene_seed = seed * SCENES_PER_SEED + number
        scene = compose(scene_seed, styles=styles)
        asked = concept_phrases(scene, np.random.default_rng([5, scene_seed]), 2, 2)
        began = time.perf_counter()
        features = segmenter.encode(scene.image)
        detections = segmenter.detect(features, [phrase for phrase, _ in asked])
        seconds.append(time.perf_counter() - began)
        for (_, targets), found in zip(asked, detections, strict=True):
            masks = found.masks[found.masks.scores >= 0.5]
            there = np.array([scene.mask(index) for index in targets])
            truth = Masks.from_dense(there) if targets else Masks.empty(scene.size)
            samples.append(ConceptSample(masks.overlap(truth)))
            presence_right.append((found.presence >= 0.5) == bool(targets))
            count_right.append(len(masks) == len(targets))
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


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else 0.0
