"""Reads benchmarks by name; the docstring of each module shows a record and its source."""

from inspect import signature
from pathlib import Path
from typing import Any

from sam3_agent import registry
from sam3_agent.entry_points import make
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark


def read(
    name: str, data: Path | None = None, split: str | None = None, **options: Any
) -> Benchmark:
    """Reads the benchmark of this name from its files in `data`; None is the default split.

    name: built-in or of an installed package; see `registry.BENCHMARKS`. Raises InputError when
    there is none of that name, it does not take an option, or `data` does not hold it.
    """
    reader = registry.benchmark_reader(name)
    if "score_size" in options and "score_size" not in signature(reader).parameters:
        raise InputError(
            f"{name} has one size at which masks are compared; --score-size is for refcoco, "
            "refcoco+, refcocog and grefcoco"
        )
    benchmark = make(f"the benchmark {name!r}", reader, data, split, **options)
    if not isinstance(benchmark, Benchmark):
        raise InputError(f"{name!r} is {benchmark!r:.80}, no benchmark: see evals/benchmark.py")
    return benchmark
