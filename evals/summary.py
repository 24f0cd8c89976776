"""Summarises a run: metrics over all rows and by tag, costs, errors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sam3_agent.evals.benchmark import Benchmark, Row
from sam3_agent.evals.results_file import Run


def groups(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Groups rows by tag and value: tag -> value -> rows, in order of appearance."""
    out: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        for tag, value in row.tags.items():
            out.setdefault(tag, {}).setdefault(value, []).append(row)
    return out


def summary(benchmark: Benchmark, run: Run) -> dict[str, Any]:
    """Computes metrics, their intervals, metrics by tag, costs and errors, as JSON values.

    A metric that no row enters is None. `unable` is the number of rows with that status, `repeats`
    None unless samples were asked several times, `missing` the rows that an unfinished run lacks.
    """
    rows = run.ordered
    return {
        "metrics": measured(benchmark, rows),
        "note": benchmark.note,
        "intervals": {name: list(ends) for name, ends in benchmark.intervals(rows).items()},
        "groups": {
            tag: {value: measured(benchmark, part) for value, part in parts.items()}
            for tag, parts in groups(rows).items()
        },
        "repeats": repeats(benchmark, rows),
        "missing": run.header.total - len(rows),
        "usage": usage(rows),
        "errors": [
            {"id": row.id, "query": row.query, "error": row.error} for row in rows if row.error
        ],
    }


def measured(benchmark: Benchmark, rows: Sequence[Row]) -> dict[str, float | None]:
    """Computes the metrics as JSON values, None for NaN, and the number of unable rows."""
    values = benchmark.metrics(rows)
    out = {name: None if math.isnan(value) else value for name, value in values.items()}
    return {**out, "unable": sum(row.status == "unable" for row in rows)}


def repeats(benchmark: Benchmark, rows: Sequence[Row]) -> dict[str, Any] | None:
    """Computes the spread of the metrics over repeats; None where every sample was asked once.

    runs: the metrics of each repeat. spread: the mean, sample standard deviation, minimum and
    maximum of every metric over the finished repeats.
    """
    parts: dict[int, list[Row]] = {}
    for row in rows:
        parts.setdefault(row.repeat, []).append(row)
    if len(parts) < 2:
        return None
    runs = {number: measured(benchmark, parts[number]) for number in sorted(parts)}
    # a repeat that is not finished is of other samples, and does not enter the spread
    most = max(len(part) for part in parts.values())
    whole = [runs[number] for number in runs if len(parts[number]) == most]
    spread = {}
    for name in whole[0]:
        values = [one[name] for one in whole]
        known = np.array([value for value in values if value is not None], np.float64)
        if name != "n" and len(known) == len(values) > 1:
            spread[name] = {
                "mean": float(known.mean()),
                "sd": float(known.std(ddof=1)),
                "min": float(known.min()),
                "max": float(known.max()),
            }
    return {"runs": list(runs.values()), "finished": len(whole), "spread": spread}


def usage(rows: Sequence[Row]) -> dict[str, Any]:
    """Computes mean, median and 95th percentile of every usage value, over answered rows.

    Over the failed rows where all have failed. The sum is over all rows, including failed ones and
    earlier attempts. `cost` is left out when that of any row is not known.
    """
    # failed rows often end early, and would make an answer look cheaper than it is
    counted = [row.usage for row in rows if row.status != "failed"] or [row.usage for row in rows]
    out: dict[str, Any] = {}
    for name in counted[0] if counted else ():
        values = [one.get(name) for one in counted]
        sums = [row.cost if name == "cost" else row.usage.get(name, 0) for row in rows]
        if not all(isinstance(value, int | float) for value in [*values, *sums]):
            continue  # an unknown price, or a value that is no number
        numbers = np.array(values, np.float64)
        out[name] = {
            "sum": float(np.array(sums, np.float64).sum()),
            "mean": float(numbers.mean()),
            "median": float(np.median(numbers)),
            "p95": float(np.percentile(numbers, 95)),
        }
    return out
