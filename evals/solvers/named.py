"""Strategies by name."""

from collections.abc import Callable
from typing import get_args

from sam3_agent.agent import Agent
from sam3_agent.errors import InputError
from sam3_agent.evals.solvers.agent import AgentSolver, OracleSolver
from sam3_agent.evals.solvers.box_parsing import Layout
from sam3_agent.evals.solvers.meta_agent import MetaAgentSolver
from sam3_agent.evals.solvers.mllm_boxes import BoxSolver
from sam3_agent.evals.solvers.segmenter_only import SegmenterSolver
from sam3_agent.evals.solvers.solver import Solver
from sam3_agent.evals.solvers.within_domain import WithinDomain
from sam3_agent.planner import Planner
from sam3_agent.segmenter import Segmenter

SOLVERS = {
    "agent": "the agent",
    "oracle": "the best subset of all masks that the agent found: the ceiling of its choices",
    "segmenter": "the whole query as one concept phrase, no planner",
    "mllm": "the planner's own boxes, into SAM 3 box prompts",
    "reference": "the rules of Meta's SAM 3 agent with this planner",
}


def solver_named(
    name: str,
    planner: Planner | None,
    segmenter: Segmenter,
    *,
    agent: Callable[..., Agent] = Agent,
    boxes: str | None = None,
) -> Solver:
    """The solver of this name; `planner` may be None for `segmenter` alone.

    agent: makes an Agent of planner and segmenter, with whatever options it shall have. boxes: how
    the planner of `mllm` writes boxes. Raises InputError for another name, and where it cannot
    work with this planner.
    """
    if name == "segmenter":
        return WithinDomain(SegmenterSolver(segmenter), segmenter)
    if name not in SOLVERS:
        raise InputError(f"there is no solver {name!r}; choose one of {', '.join(SOLVERS)}")
    if planner is None:
        raise InputError(f"the solver {name!r} needs a planner")
    if name in ("agent", "oracle"):
        ask = AgentSolver(agent(planner, segmenter))
        return ask if name == "agent" else OracleSolver(ask)
    if planner.name == "offline":
        raise InputError(
            f"the solver {name!r} needs an MLLM, and the offline planner is none: "
            "choose --planner openai:MODEL or gemini:MODEL"
        )
    if name == "reference":
        return WithinDomain(MetaAgentSolver(planner, segmenter), segmenter)
    if boxes is not None and boxes not in get_args(Layout):
        raise InputError(f"boxes are written as {', '.join(get_args(Layout))}, not {boxes!r}")
    by_boxes = BoxSolver(planner, segmenter, boxes)  # type: ignore[arg-type]
    return WithinDomain(by_boxes, segmenter)
