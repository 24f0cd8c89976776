"""Solvers by name: the agent, and what it is compared with."""

from collections.abc import Callable
from typing import get_args

from sam3_agent.agent import Agent
from sam3_agent.entry_points import suggestion
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
    "oracle": "the best subset of all masks that the agent found: its upper bound",
    "segmenter": "the whole query as one concept phrase, without a planner",
    "mllm": "the planner's own boxes as SAM 3 box prompts",
    "reference": "the rules of Meta's SAM 3 agent, with the same planner",
}


def check_solver(name: str, planner: str | None, boxes: str | None = None) -> None:
    """Raises InputError for an unknown solver, and for options with which it cannot work.

    planner: the planner's name; None for no planner.
    """
    if name not in SOLVERS:
        near = suggestion(name, SOLVERS)
        raise InputError(f"there is no solver {name!r}{near}; choose one of {', '.join(SOLVERS)}")
    if boxes is not None and boxes not in get_args(Layout):
        raise InputError(f"boxes are written as {', '.join(get_args(Layout))}, not {boxes!r}")
    if name == "segmenter":
        return
    if planner is None:
        raise InputError(f"the solver {name!r} needs a planner")
    if name in ("mllm", "reference") and planner == "offline":
        raise InputError(
            f"the solver {name!r} needs an MLLM, and the offline planner is none: "
            "choose --planner openai:MODEL or gemini:MODEL"
        )


def make_solver(
    name: str,
    planner: Planner | None,
    segmenter: Segmenter,
    *,
    agent: Callable[..., Agent] = Agent,
    boxes: str | None = None,
) -> Solver:
    """Makes the solver of this name; `planner` may be None for `segmenter` only.

    agent: makes an Agent of a planner and a segmenter. boxes: the layout in which the planner of
    `mllm` writes boxes. Raises InputError as `check_solver`.
    """
    check_solver(name, None if planner is None else planner.name, boxes)
    if name == "segmenter" or planner is None:
        return WithinDomain(SegmenterSolver(segmenter), segmenter)
    if name in ("agent", "oracle"):
        # an Agent checks the domain itself; the other solvers are wrapped in that check
        agent_solver = AgentSolver(agent(planner, segmenter))
        return agent_solver if name == "agent" else OracleSolver(agent_solver)
    if name == "reference":
        return WithinDomain(MetaAgentSolver(planner, segmenter), segmenter)
    box_solver = BoxSolver(planner, segmenter, boxes)  # type: ignore[arg-type]
    return WithinDomain(box_solver, segmenter)
