"""Checks the segmenter's domain for solvers that do not use an Agent."""

from dataclasses import dataclass

from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.solvers.solver import Outcome, Solver
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.segmenter import Segmenter, outside_domain
from sam3_agent.usage import Usage


@dataclass(frozen=True)
class WithinDomain:
    """Wraps a solver to answer `unable` for images outside the domain of its segmenter."""

    solver: Solver
    segmenter: Segmenter

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Solver.solve`."""
        why = outside_domain(self.segmenter, image)
        if why is None:
            return self.solver.solve(image, sample)
        nothing = Masks.empty((int(image.shape[0]), int(image.shape[1])))
        return Outcome(nothing, nothing, why, "unable", Usage())
