"""The numbers of a run: metrics in all and for every part that its samples' tags make."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sam3_agent.evals.benchmark import Benchmark, Row
from sam3_agent.evals.run_file import Run


def groups(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Tag -> value -> the rows that have it, both in order of appearance."""
    out: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        for tag, value in row.tags.items():
            out.setdefault(tag, {}).setdefault(value, []).append(row)
    return out


def summary(benchmark: Benchmark, run: Run) -> dict[str, Any]:
    """Metrics, their intervals, metrics by tag, costs and errors, as JSON values.

    A metric none of whose samples is there is None.
    A run that is not finished is scored on the rows that it has; `n` and `missing` tell.
    """
    rows = run.ordered
    return {
        "metrics": defined(benchmark.metrics(rows)),
        "note": benchmark.note,
        "intervals": {name: list(ends) for name, ends in benchmark.intervals(rows).items()},
        "groups": {
            tag: {value: defined(benchmark.metrics(part)) for value, part in parts.items()}
            for tag, parts in groups(rows).items()
        },
        "missing": run.header.total - len(rows),
        "usage": usage(rows),
        "errors": [
            {"id": row.id, "query": row.query, "error": row.error} for row in rows if row.error
        ],
    }


def defined(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON values: None for NaN."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def usage(rows: Sequence[Row]) -> dict[str, Any]:
    """What an ask cost: mean, median and 95th percentile of every measure, over answered rows.

    The sum is over all rows, the failed ones and their earlier tries among them. `cost` is left out
    when that of any row is not known.
    """
    answered = [row.usage for row in rows if row.status != "failed"]
    out: dict[str, Any] = {}
    for name in answered[0] if answered else ():
        values = [one.get(name) for one in answered]
        sums = [row.cost if name == "cost" else row.usage.get(name, 0) for row in rows]
        if not all(isinstance(value, int | float) for value in [*values, *sums]):
            continue  # a price that is not known, or no number at all
        numbers = np.array(values, np.float64)
        out[name] = {
            "sum": float(np.array(sums, np.float64).sum()),
            "mean": float(numbers.mean()),
            "median": float(np.median(numbers)),
            "p95": float(np.percentile(numbers, 95)),
        }
    return out
