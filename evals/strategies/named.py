"""Strategies by name."""

from collections.abc import Callable
from typing import get_args

from sam3_agent.agent import Agent
from sam3_agent.errors import InputError
from sam3_agent.evals.strategies.agent import AgentStrategy, OracleStrategy
from sam3_agent.evals.strategies.box_text import Layout
from sam3_agent.evals.strategies.boxes import BoxStrategy
from sam3_agent.evals.strategies.domain import WithinDomain
from sam3_agent.evals.strategies.phrase import PhraseStrategy
from sam3_agent.evals.strategies.reference import ReferenceStrategy
from sam3_agent.evals.strategies.strategy import Strategy
from sam3_agent.planner import Planner
from sam3_agent.segmenter import Segmenter

STRATEGIES = {
    "agent": "the agent",
    "oracle": "the best subset of all masks that the agent found: the ceiling of its choices",
    "segmenter": "the whole query as one concept phrase, no planner",
    "mllm": "the planner's own boxes, into SAM 3 box prompts",
    "reference": "the rules of Meta's SAM 3 agent with this planner",
}


def strategy(
    name: str,
    planner: Planner | None,
    segmenter: Segmenter,
    *,
    agent: Callable[..., Agent] = Agent,
    boxes: str | None = None,
) -> Strategy:
    """The strategy of this name; `planner` may be None for `segmenter` alone.

    agent: makes an Agent of planner and segmenter, with whatever options it shall have. boxes: how
    the planner of `mllm` writes boxes. Raises InputError for another name, and where it cannot
    work with this planner.
    """
    if name == "segmenter":
        return WithinDomain(PhraseStrategy(segmenter), segmenter)
    if name not in STRATEGIES:
        raise InputError(f"there is no strategy {name!r}; choose one of {', '.join(STRATEGIES)}")
    if planner is None:
        raise InputError(f"the strategy {name!r} needs a planner")
    if name in ("agent", "oracle"):
        ask = AgentStrategy(agent(planner, segmenter))
        return ask if name == "agent" else OracleStrategy(ask)
    if planner.name == "offline":
        raise InputError(
            f"the strategy {name!r} needs an MLLM, and the offline planner is none: "
            "choose --planner openai:MODEL or gemini:MODEL"
        )
    if name == "reference":
        return WithinDomain(ReferenceStrategy(planner, segmenter), segmenter)
    if boxes is not None and boxes not in get_args(Layout):
        raise InputError(f"boxes are written as {', '.join(get_args(Layout))}, not {boxes!r}")
    by_boxes = BoxStrategy(planner, segmenter, boxes)  # type: ignore[arg-type]
    return WithinDomain(by_boxes, segmenter)
