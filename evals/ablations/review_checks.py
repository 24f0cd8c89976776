"""Ablation of the checks of an answer, with a simulated imperfect MLLM on synthetic scenes.

`python -m sam3_agent.evals.ablations.review_checks` prints the table that evals/LOG.md keeps.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sam3_agent.agent import Agent
from sam3_agent.evals.ablations.simulated_mllm import (
    ModelFaults,
    NoisySegmenter,
    SegmenterFaults,
    SimulatedMLLM,
)
from sam3_agent.evals.metrics import mask_overlap
from sam3_agent.evals.synthetic.referring import held_out_scenes
from sam3_agent.evals.synthetic.scenes import SyntheticScene
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES
from sam3_agent.masks import Masks
from sam3_agent.review import BALANCED, EXHAUSTIVE, THOROUGH, Effort

EFFORTS = {
    "plain": Effort("plain"),
    "+ verify": BALANCED,
    "+ verify, 3 votes": Effort("votes", votes=3),
    "+ complete": Effort("complete", complete=True),
    "+ verify + complete": EXHAUSTIVE,
    "+ second reading": Effort("readings", readings=2),
    "all (thorough)": THOROUGH,
}
"""The efforts that are compared, the plain one first."""


@dataclass(frozen=True)
class Variant:
    """An effort, and the error rates of the model that plans and checks."""

    effort: Effort
    faults: ModelFaults


def variants(faults: ModelFaults) -> dict[str, Variant]:
    """Makes a variant of every effort.

    Where masks are verified, one whose planner accepts every doubt and one whose planner
    reconsiders the doubted masks.
    """
    return {
        f"{name}, {how}" if effort.votes else name: Variant(
            effort, replace(faults, reconsiders=again)
        )
        for name, effort in EFFORTS.items()
        for how, again in (("accepted", False), ("reconsidered", True))
    }


@dataclass(frozen=True)
class Result:
    """gIoU of one variant over scenes, with its standard error; calls: model calls per ask.

    gain, gain_error: mean difference to the plain variant, scene by scene, and its standard error.
    """

    giou: float
    error: float
    gain: float
    gain_error: float
    calls: float


def ablation(
    seed: int,
    limit: int,
    segmenter: SegmenterFaults,
    variants: Mapping[str, Variant],
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Result]:
    """Runs every variant on the same `limit` scenes; the first one is the plain one."""
    scores: dict[str, list[float]] = {name: [] for name in variants}
    calls: dict[str, list[int]] = {name: [] for name in variants}
    for scene_seed, scene, query in held_out_scenes(seed, limit, TRAIN_STYLES):
        rest = [i for i in range(len(scene.objects)) if i not in query.targets]
        targets, others = (_masks(scene, which) for which in (query.targets, rest))
        for name, variant in variants.items():
            noisy = NoisySegmenter(targets, others, segmenter, scene_seed)
            model = SimulatedMLLM(targets.boxes, variant.faults, scene_seed)
            # a seed of its own, so that the checks err independently of the planner
            verifier = SimulatedMLLM(targets.boxes, variant.faults, scene_seed + 1)
            agent = Agent(model, noisy, verifier=verifier, effort=variant.effort)
            answer = agent.ask(scene.image, query.text)
            scores[name].append(mask_overlap(answer.masks, targets).iou(empty=1.0))
            calls[name].append(answer.usage.spent.calls)
        advance()
    plain = np.array(next(iter(scores.values())))
    return {
        name: Result(
            float(np.mean(scores[name])),
            _standard_error(np.array(scores[name])),
            # scene by scene, since scenes differ far more in difficulty than variants do
            float(np.mean(np.array(scores[name]) - plain)),
            _standard_error(np.array(scores[name]) - plain),
            float(np.mean(calls[name])),
        )
        for name in variants
    }


def table(results: Mapping[str, Result]) -> Iterator[str]:
    """Yields the results as lines of a Markdown table."""
    yield "| variant | gIoU | gain over plain | model calls per ask |"
    yield "|---|---|---|---|"
    for name, one in results.items():
        yield (
            f"| {name} | {one.giou:.3f} ± {one.error:.3f} | {one.gain:+.3f} ± {one.gain_error:.3f} "
            f"| {one.calls:.1f} |"
        )


def _masks(scene: SyntheticScene, which: Sequence[int]) -> Masks:
    if not which:
        return Masks.empty(scene.size)
    return Masks.from_dense(np.array([scene.mask(i) for i in which]))


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=4711)
    parser.add_argument("--limit", type=int, default=300)
    rates = {**vars(SegmenterFaults()), **vars(ModelFaults())}
    del rates["reconsiders"]
    for name, value in rates.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    given = vars(parser.parse_args())
    segmenter = SegmenterFaults(**{name: given[name] for name in vars(SegmenterFaults())})
    faults = ModelFaults(**{name: given[name] for name in vars(ModelFaults()) if name in given})
    print("\n".join(table(ablation(given["seed"], given["limit"], segmenter, variants(faults)))))


if __name__ == "__main__":
    main()
