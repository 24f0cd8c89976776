"""Metrics of counting questions (CountBench, PixMo-Count)."""

from collections.abc import Iterable

import numpy as np

from sam3_agent.evals.metrics.bootstrap import Columns, Tally, as_original, ratio


def counting(samples: Iterable[tuple[int, int]]) -> dict[str, float]:
    """Computes how exact counts are; a sample is (pred, truth).

    accuracy: the share of exact counts (0..1); within_1: of those off by at most one; mae and rmse:
    mean absolute and root mean square error, in objects.
    """
    return as_original(counting_tally(samples).value())


def counting_tally(samples: Iterable[tuple[int, int]]) -> Tally:
    """Tallies what `counting` computes."""
    errors = np.array([pred - truth for pred, truth in samples], np.float64)
    sizes = np.abs(errors)
    columns = np.stack([sizes == 0, sizes <= 1, sizes, errors**2, np.ones_like(errors)], axis=1)
    return Tally(columns.astype(np.float64), _finish)


def _finish(sums: Columns) -> dict[str, float]:
    exact, near, size, square, count = (float(one) for one in sums)
    return {
        "accuracy": ratio(exact, count),
        "within_1": ratio(near, count),
        "mae": ratio(size, count),
        "rmse": ratio(square, count) ** 0.5,
    }
