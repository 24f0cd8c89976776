"""Metrics of counting questions (CountBench, PixMo-Count)."""

from collections.abc import Iterable

import numpy as np

from sam3_agent.evals.metrics.bootstrap import Columns, Tally, as_original, ratio


def counting(samples: Iterable[tuple[int, int]]) -> dict[str, float]:
    """How right counts are; a sample is (pred, truth).

    accuracy: the share that is exact (0..1), and within_1 the share off by at most one; mae and
    rmse: the mean absolute and root mean square error, in things.
    """
    return as_original(counting_tally(samples).value())


def counting_tally(samples: Iterable[tuple[int, int]]) -> Tally:
    """The same as a tally."""
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
