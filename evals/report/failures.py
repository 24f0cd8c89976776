"""Classifies wrong answers from their rows alone."""

from sam3_agent.evals.benchmark import Row
from sam3_agent.evals.metrics import mask_overlap
from sam3_agent.evals.solvers.best_subset import best_subset

RIGHT = 0.5
"""A sample with at least this score is no failure."""

FAILURES = {
    "error": "ended in an error of a model or of its data",
    "unable": "the question could not be parsed, or names concepts outside the models' vocabulary",
    "gave up": "the budget was spent without an answer",
    "false target": "the query has no target, and masks were answered",
    "missed": "no target, or only a part of them, was answered",
    "wrong concept": "no subset of all masks that were found is right",
    "wrong pick": "the right masks were found, but others were answered",
    "wrong": "wrong, in a benchmark without masks by which to classify it",
}
"""The classes with their meanings, in the order of the tests."""


def failure(row: Row, score: float) -> str | None:
    """Classifies a failure; None for a right answer.

    For a query with a target, by the precision of the answer (its share of target pixels), and by
    the upper bound, the best IoU that a choice among the found masks can have.
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
    # what was answered is mostly target, so the fault is what it left out
    if not answered or overlap.intersection >= RIGHT * answered:
        return "missed"
    # with the right masks among those found, the choice was wrong, else the searched concept
    return "wrong pick" if upper_bound(row) >= RIGHT else "wrong concept"


def upper_bound(row: Row) -> float:
    """Computes the best IoU that a choice among the found masks can have; 1 without a target."""
    assert row.truth is not None
    best = row.found[best_subset(row.found, row.truth)]
    return mask_overlap(best, row.truth, row.ignore).iou(empty=1.0)
