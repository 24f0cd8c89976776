"""The solver `segmenter`: the whole query as one concept phrase, without a planner."""

import time

from sam3_agent.answer import Status
from sam3_agent.errors import PromptError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.solvers.solver import Outcome
from sam3_agent.images import Pixels
from sam3_agent.scene import Scene
from sam3_agent.segmenter import Segmenter
from sam3_agent.usage import Usage


class SegmenterSolver:
    """Answers with all masks that the segmenter finds; a query too long for it ends `unable`."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Solver.solve`."""
        began = time.monotonic()
        scene = Scene(image, self._segmenter)
        text = ""
        try:
            scene.segment([sample.query])
        except PromptError as error:
            text = str(error)
        usage = Usage(seconds=time.monotonic() - began, segmenter_seconds=scene.segmenter_seconds)
        masks = scene.masks
        status: Status = "answered" if len(masks) else "unable" if text else "no_target"
        return Outcome(masks, masks, text, status, usage)
