"""Why a sample was answered wrongly, from its row alone."""

from sam3_agent.evals.benchmark import Row
from sam3_agent.evals.metrics import mask_overlap
from sam3_agent.evals.solvers.best_subset import best_subset

RIGHT = 0.5
"""A sample with at least this score is no failure."""

FAILURES = {
    "error": "ended in an error of a model or of its data",
    "unable": "the question could not be read, or names what the models do not know",
    "gave up": "the budget was spent without an answer",
    "false target": "nothing was meant, and something was answered",
    "missed": "nothing, or only a part of what is meant, was answered",
    "wrong concept": "no choice among all masks that were found would have been right",
    "wrong pick": "the right masks were found, and others were answered",
    "wrong": "wrong, in a benchmark without masks to tell why",
}
"""The classes in the order in which they are tried."""


def failure(row: Row, score: float) -> str | None:
    """The class of a failure; None for a sample that was answered rightly.

    Of a target that is there it is told by the answer's precision (how much of it is target), and
    by the ceiling, the best that a choice among the found masks could have reached.
    """
    if row.status == "failed":
        return "error"
    if score >= RIGHT:
        return None
    if row.status == "unable":
        return "unable"
    if row.status == "out_of_budget":
        return "gave up"
    if row.truth is None:
        return "wrong"
    if not len(row.truth):
        return "false target"
    overlap = mask_overlap(row.pred, row.truth, row.ignore)
    answered = mask_overlap(row.pred, row.pred).union
    if not answered or overlap.intersection >= RIGHT * answered:
        return "missed"
    return "wrong pick" if ceiling(row) >= RIGHT else "wrong concept"


def ceiling(row: Row) -> float:
    """The best IoU that a choice among the found masks could have had; 1 where nothing is meant."""
    assert row.truth is not None
    best = row.found[best_subset(row.found, row.truth)]
    return mask_overlap(best, row.truth, row.ignore).iou(empty=1.0)
