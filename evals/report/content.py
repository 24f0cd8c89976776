"""The content of a report as JSON values, from which the page, the table and --json are made."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark, Row
from sam3_agent.evals.metrics import Tally, difference, holm
from sam3_agent.evals.report.cases import case
from sam3_agent.evals.report.failures import FAILURES, failure, upper_bound
from sam3_agent.evals.report.warnings import warnings
from sam3_agent.evals.results_file import Run
from sam3_agent.evals.summary import summary

BARS = 20
MOST_CHANGED = 6


def content(
    benchmark: Benchmark, runs: Sequence[Run], names: Sequence[str], cases: int = 6
) -> dict[str, Any]:
    """Makes the report of runs of one benchmark, each with its name.

    cases: the number of the worst and of the best samples shown of each run. Raises InputError when
    the runs are not of the same benchmark, split and options.
    """
    _check_comparable(runs)
    config = runs[0].header.config
    differences = [
        _difference(benchmark, runs[0], other, names[0], name)
        for other, name in zip(runs[1:], names[1:], strict=True)
    ]
    _correct(differences)
    out = {
        "benchmark": benchmark.name,
        "split": config.get("split"),
        "runs": [_run(benchmark, run, name, cases) for run, name in zip(runs, names, strict=True)],
        "published": [] if benchmark.dataset is None else published(*benchmark.dataset),
        "differences": differences,
        "failure_classes": FAILURES,
    }
    return {**out, "warnings": warnings(out)}


def labels(runs: Sequence[Run]) -> list[str]:
    """Names runs by solver, planner and whatever else differs in their configs, or by folder."""
    parts = [
        {
            # the solver's name in run files, whose keys stay as they were
            "strategy": run.header.config.get("strategy"),
            **{n: run.header.config.get(n) for n in ("planner", "segmenter", "effort", "boxes")},
            "folder": run.path.parent.name,
        }
        for run in runs
    ]
    differing = [n for n in parts[0] if len({str(one[n]) for one in parts}) > 1 and n != "folder"]
    shown = ["strategy", "planner", *(n for n in differing if n not in ("strategy", "planner"))]
    out = [" · ".join(str(one[n]) for n in shown if one[n] not in (None, "none")) for one in parts]
    if len(set(out)) < len(out):
        out = [f"{name} ({one['folder']})" for name, one in zip(out, parts, strict=True)]
    return out


def _run(benchmark: Benchmark, run: Run, name: str, cases: int) -> dict[str, Any]:
    rows = run.ordered
    scores = [benchmark.score(row) for row in rows]
    failures = [failure(row, score) for row, score in zip(rows, scores, strict=True)]
    bounds = [upper_bound(row) for row in rows if row.truth is not None]
    counts = Counter(failures)
    samples = {sample.id: sample for sample in benchmark.samples}
    worst, best = _shown(rows, scores, failures, cases)
    header = run.header

    def shown(place: int) -> dict[str, Any]:
        row = rows[place]
        return case(row, samples.get(row.id), scores[place], failures[place])

    return {
        "name": name,
        "path": str(run.path),
        "config": dict(header.config),
        "versions": dict(header.versions),
        "setup": dict(header.setup),
        "problems": len(benchmark.problems),
        "commit": header.commit,
        "resumed": [one.model_dump() for one in header.resumed],
        "began": header.began,
        **summary(benchmark, run),
        "score": float(np.mean(scores)) if scores else None,
        "ceiling": float(np.mean(bounds)) if bounds else None,
        "failures": {one: counts[one] for one in FAILURES if counts[one]},
        "distributions": {
            "score": _histogram(scores, (0.0, 1.0)),
            "seconds": _histogram(_values(rows, "seconds")),
            "cost": _histogram(_values(rows, "cost")),
            "turns": _histogram(_values(rows, "turns")),
        },
        "worst": [shown(place) for place in worst],
        "best": [shown(place) for place in best],
    }


def _shown(
    rows: Sequence[Row], scores: Sequence[float], failures: Sequence[str | None], cases: int
) -> tuple[list[int], list[int]]:
    """Selects the indexes of the worst samples, and of the best of those that are right.

    Of equally bad ones those with the most turns and time.
    """

    def rank(place: int) -> tuple[float, float, float]:
        usage = rows[place].usage
        return scores[place], -(usage.get("turns") or 0), -(usage.get("seconds") or 0.0)

    places = range(len(rows))
    worst = sorted(places, key=rank)[:cases]
    right = [p for p in places if failures[p] is None]
    best = sorted(
        (p for p in right if rows[p].truth is None or rows[p].truth), key=lambda p: -scores[p]
    )
    return worst, [p for p in best if p not in worst][:cases]


def _values(rows: Sequence[Row], name: str) -> list[float]:
    values = [row.usage.get(name) for row in rows if row.status != "failed"]
    return [float(value) for value in values if isinstance(value, int | float)]


def _histogram(
    values: Sequence[float], reach: tuple[float, float] | None = None
) -> dict[str, Any] | None:
    """Counts values in equal bins; None where there are none, or all are 0."""
    if not values or (reach is None and max(values) <= 0):
        return None
    low, high = reach or (0.0, float(np.percentile(values, 99)) * 1.05 or 1.0)
    counts, edges = np.histogram(np.clip(values, low, high), BARS, (low, high))
    return {
        "counts": counts.tolist(),
        "edges": [round(float(edge), 6) for edge in edges],
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": float(max(values)),
    }


def _difference(
    benchmark: Benchmark, first: Run, other: Run, name: str, other_name: str
) -> dict[str, Any]:
    """Compares other with first on the samples that both have, paired."""
    # an unfinished run is compared on what it has, since only the same samples can be paired
    shared = sorted(first.rows.keys() & other.rows.keys())
    ours, theirs = [other.rows[i] for i in shared], [first.rows[i] for i in shared]
    scores = np.array(
        [[benchmark.score(a), benchmark.score(b)] for a, b in zip(ours, theirs, strict=True)]
    )
    scores = scores.reshape(-1, 2)
    pairs = [
        # OmniLabel's AP is no function of sums, so its mean score is compared
        benchmark.tally(rows) or _mean_tally(scores[:, column])
        for column, rows in enumerate((ours, theirs))
    ]
    groups = [row.about.get("image", row.id) for row in ours]
    above = difference(pairs[0], pairs[1], groups)
    after, before = (one.value() for one in pairs)
    change = scores[:, 0] - scores[:, 1]
    places = sorted(range(len(shared)), key=lambda i: change[i])
    largest = [
        i for i in [*places[:MOST_CHANGED], *places[::-1][:MOST_CHANGED]] if abs(change[i]) > 0.1
    ]
    return {
        "of": other_name,
        "above": name,
        "n": len(shared),
        "metrics": {
            metric: {
                "value": one.value,
                "interval": list(one.interval),
                "p": one.p,
                "before": before[metric],
                "after": after[metric],
            }
            for metric, one in above.items()
        },
        "better": int((change > 0.1).sum()),
        "worse": int((change < -0.1).sum()),
        "changed": [
            {
                "id": ours[i].id,
                "query": ours[i].query,
                "before": float(scores[i, 1]),
                "after": float(scores[i, 0]),
            }
            for i in dict.fromkeys(largest)
        ],
    }


def _correct(differences: Sequence[dict[str, Any]]) -> None:
    """Adds to every p-value the one corrected for the number of comparisons of its metric."""
    for metric in dict.fromkeys(name for one in differences for name in one["metrics"]):
        own = [one["metrics"][metric] for one in differences if metric in one["metrics"]]
        for change, p in zip(own, holm([change["p"] for change in own]), strict=True):
            change["p_holm"] = p


def _mean_tally(scores: Any) -> Tally:
    columns = np.stack([scores, np.ones(len(scores))], axis=1)
    return Tally(columns, lambda sums: {"score": float(sums[0] / max(sums[1], 1))})


def _check_comparable(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        for name in ("benchmark", "split", "options"):
            ours, theirs = run.header.config.get(name), runs[0].header.config.get(name)
            if ours != theirs:
                raise InputError(
                    f"{run.path} and {runs[0].path} cannot be in one report: {name} is "
                    f"{ours!r} and {theirs!r}"
                )


def published(benchmark: str, split: str | None) -> list[Mapping[str, Any]]:
    """Reads the published results on a split, each with its source and who measured it."""
    text = (
        resources.files("sam3_agent.evals.report")
        .joinpath("published.json")
        .read_text(encoding="utf-8")
    )
    rows: list[Mapping[str, Any]] = json.loads(text)["rows"]
    return [row for row in rows if (row["benchmark"], row["split"]) == (benchmark, split)]
