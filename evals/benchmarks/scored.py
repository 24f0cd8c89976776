"""ScoredBenchmark: samples with a metric that is a tally of their rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.metrics import Interval, Tally, intervals


def _no_files(rows: Sequence[Row]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, eq=False)
class ScoredBenchmark:
    """A `Benchmark` made of values and functions; the bootstrap draws whole images.

    Rows belong to one image where their `about["image"]` is the same.
    """

    name: str
    samples: Sequence[Sample]
    problems: Sequence[str]
    tally: Callable[[Sequence[Row]], Tally]
    score: Callable[[Row], float]
    note: str = ""
    dataset: Dataset | None = None
    predictions: Callable[[Sequence[Row]], Mapping[str, Any]] = _no_files

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        """Computes the metrics by the names that the benchmark's authors use; `n` rows."""
        return self.tally(rows).value()

    def intervals(self, rows: Sequence[Row]) -> dict[str, Interval]:
        """Computes bootstrap 95 % confidence intervals of all metrics."""
        # queries about one image are not independent, and repeats of one sample even less
        return intervals(self.tally(rows), [row.about.get("image", row.id) for row in rows])
