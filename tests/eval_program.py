"""A run of `scenes` in a process of its own: `python -m tests.eval_program OUT LIMIT`.

The runner, the file, the scenes and the agent are the real ones; only the segmenter is a fake.
"""

import sys
from pathlib import Path

from sam3_agent.agent import Agent
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.results_file import RunFile
from sam3_agent.evals.run_header import new_header
from sam3_agent.evals.runner import run_samples, select_samples
from sam3_agent.evals.solvers import make_solver
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.model.offline.planner import OfflinePlanner
from sam3_agent.model.vocabulary import NOUNS


def main(out: Path, limit: int) -> None:
    """Run or go on with a run of so many scenes, three at a time."""
    places = [(x, y, x + 90, y + 70) for x in (20, 220, 420) for y in (30, 260)]
    segmenter = FakeSegmenter({noun: places[: i % 6] for i, noun in enumerate(NOUNS)})
    scenes = read("scenes", seed=3, limit=limit)
    samples = select_samples(scenes.samples)
    with RunFile(
        out, new_header({"benchmark": "scenes"}, scenes.samples, limit), resume=True
    ) as file:
        run_samples(
            scenes,
            make_solver("agent", OfflinePlanner(), segmenter, agent=Agent),
            samples,
            file,
            workers=3,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
