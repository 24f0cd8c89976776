"""Scored: samples out of files, with a metric that is a tally of their rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam3_agent.evals.benchmark import Dataset, Interval, Row, Sample
from sam3_agent.evals.metrics import Tally, intervals


@dataclass(frozen=True, eq=False)
class ScoredBenchmark:
    """See `benchmark.Benchmark`; rows of one image (`about["image"]`) are drawn together.

    predictions: the rows as the files that the authors' own evaluator reads, by their names.
    """

    name: str
    samples: Sequence[Sample]
    problems: Sequence[str]
    tally: Callable[[Sequence[Row]], Tally]
    rate: Callable[[Row], float]
    note: str = ""
    dataset: Dataset | None = None
    predictions: Callable[[Sequence[Row]], Mapping[str, Any]] | None = None

    def score(self, row: Row) -> float:
        """How well one row was answered, 0..1."""
        return self.rate(row)

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        """The metrics by the names that the benchmark's authors use; `n` rows."""
        return self.tally(rows).value()

    def intervals(self, rows: Sequence[Row]) -> dict[str, Interval]:
        """Bootstrap 95 % intervals of all metrics."""
        return intervals(self.tally(rows), [row.about.get("image", row.id) for row in rows])
