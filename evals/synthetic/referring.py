"""Referring queries: English queries about a synthetic scene whose targets are known exactly.

Every query is unambiguous: left and right go by box centre x, above and below by centre y, size by
visible area, "next to" by the gap between boxes. Where two objects are too close to call, no query
is made.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sam3_agent.evals.synthetic.query_kinds import KINDS
from sam3_agent.evals.synthetic.scene_view import SceneView
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES

SCENES_PER_SEED = 1_000_000


@dataclass(frozen=True)
class ReferringQuery:
    """A query about a scene, with the indexes of its target objects.

    count: the number that a "how many" question asks for; None for other queries.
    """

    text: str
    kind: str
    targets: tuple[int, ...]
    count: int | None = None


def referring_queries(scene: SyntheticScene, seed: int, limit: int) -> list[ReferringQuery]:
    """Makes up to `limit` different queries about a scene, of as many kinds as it allows."""
    # the first number keeps these draws apart from those that composed the scene of the same seed
    rng = np.random.default_rng([3, seed])
    found: dict[str, ReferringQuery] = {}
    kinds = [str(kind) for kind in rng.permutation(list(KINDS))]
    for _ in range(limit):
        for kind in kinds:
            query = _query(scene, kind, rng)
            if query and len(found) < limit:
                # each round takes one of every kind, so that even a few queries differ in kind
                found.setdefault(query.text, query)
    return list(found.values())


def held_out_scenes(
    seed: int, limit: int, styles: tuple[str, ...] = TRAIN_STYLES
) -> Iterator[tuple[int, SyntheticScene, ReferringQuery]]:
    """Yields `limit` held-out scenes with their seeds and one query each, in turn of every kind.

    A smaller limit yields the beginning of the same stream.
    """
    scene_seeds = itertools.count(seed * SCENES_PER_SEED)
    for kind in itertools.islice(itertools.cycle(KINDS), limit):
        for scene_seed in scene_seeds:
            scene = compose(scene_seed, styles=styles)
            query = _query(scene, kind, np.random.default_rng([4, scene_seed]))
            # a scene that allows no query of this kind is passed over for good
            if query is not None:
                yield scene_seed, scene, query
                break


def _query(scene: SyntheticScene, kind: str, rng: np.random.Generator) -> ReferringQuery | None:
    options = list(KINDS[kind](SceneView(scene, rng)))
    if not options:
        return None
    # targets first, then words: else targets with many wordings would be asked more often
    option = options[int(rng.integers(len(options)))]
    text = option.texts[int(rng.integers(len(option.texts)))]
    return ReferringQuery(text, kind, option.targets, option.count)
