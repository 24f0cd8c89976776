"""The agent as a strategy, and its ceiling: the oracle."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sam3_agent.agent import Agent
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.strategies.strategy import Outcome
from sam3_agent.evals.strategies.subset import best_subset
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.scene import Scene
from sam3_agent.tool import Tool


class AgentStrategy:
    """Asks an agent.

    agent: makes one; every sample has its own, since the masks that it found are kept.
    """

    def __init__(self, agent: Callable[[], Agent]) -> None:
        self._agent = agent

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Strategy.solve`."""
        agent = self._agent()
        scenes: list[Scene] = []
        agent.tools = {name: _seen(tool, scenes) for name, tool in agent.tools.items()}
        answer = agent.ask(image, sample.query)
        found = scenes[-1].masks if scenes else Masks.empty(answer.masks.size)
        return Outcome.of_answer(answer, found)


class OracleStrategy:
    """Answers with the best subset of all that the agent found: the ceiling of its choices."""

    def __init__(self, agent: AgentStrategy) -> None:
        self._agent = agent

    def solve(self, image: Pixels, sample: Sample) -> Outcome:
        """See `Strategy.solve`."""
        outcome = self._agent.solve(image, sample)
        if sample.truth is None:
            return outcome
        best = outcome.found[best_subset(outcome.found, sample.truth)]
        return replace(outcome, pred=best, status="answered" if len(best) else "no_target")


def _seen(tool: Tool, scenes: list[Scene]) -> Tool:
    """A tool that tells which scene it worked on."""

    def function(scene: Scene, **arguments: Any) -> Any:
        scenes[:] = [scene]
        return tool.function(scene, **arguments)

    return replace(tool, function=function)
