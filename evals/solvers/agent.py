"""The agent as a solver, and the oracle, which is its upper bound."""

from dataclasses import replace

import numpy as np

from sam3_agent.agent import Agent
from sam3_agent.answer import Status
from sam3_agent.budget import UsageTracker
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.solvers.best_subset import best_subset
from sam3_agent.evals.solvers.solver import Outcome, accounted
from sam3_agent.events import final_answer
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.scene import Scene
from sam3_agent.task import Task, checked_query


class AgentSolver:
    """Asks an agent, which has no state between questions, so one serves all threads."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Solver.solve`."""
        tracker = UsageTracker(self._agent.budget)
        scene = Scene(image, self._agent.segmenter)
        with accounted(tracker.usage):
            task = Task(scene, checked_query(sample.query))
            answer = final_answer(self._agent.stream_task(task, tracker))
            return Outcome(
                answer.masks,
                _all(scene.masks, answer.masks),
                answer.text,
                answer.status,
                answer.usage,
                answer.messages,
            )


class OracleSolver:
    """Answers with the best subset of all masks that the agent found: its upper bound."""

    def __init__(self, agent: AgentSolver) -> None:
        self._agent = agent

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Solver.solve`."""
        outcome = self._agent.solve(image, sample)
        if sample.truth is None:
            return outcome
        best = outcome.found[best_subset(outcome.found, sample.truth)]
        nothing: Status = "unable" if outcome.status == "unable" else "no_target"
        return replace(outcome, pred=best, status="answered" if len(best) else nothing)


def _all(found: Masks, answered: Masks) -> Masks:
    """Joins the masks of a scene and those answered from another one (a second reading)."""
    # a second reading has a scene of its own, in which the same object may have an equal mask
    known = answered.overlap(found).max(axis=1, initial=0.0) > 0.999
    return Masks.concatenate([found, answered[np.flatnonzero(~known)]])
