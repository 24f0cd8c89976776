"""Benchmarks by name; each file says where a person gets its data."""

from importlib import import_module
from pathlib import Path
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark

MODULES: dict[str, str] = {
    "scenes": "scenes",
    "reasonseg": "reasonseg",
    "refcoco": "refcoco",
    "refcoco+": "refcoco",
    "refcocog": "refcoco",
    "refcocog-google": "refcoco",
    "grefcoco": "grefcoco",
    "saco-gold": "saco",
    "saco-silver": "saco",
    "omnilabel": "omnilabel",
    "counting": "counting",
    "jsonl": "jsonl",
}
"""The name of a benchmark to the module here whose `read(data, split, **options)` makes it."""

RESIZABLE = ("refcoco", "grefcoco")
"""The modules whose `read` takes a score_size."""

VARIANTS: dict[str, dict[str, str]] = {
    "refcoco+": {"dataset": "refcoco+"},
    "refcocog": {"dataset": "refcocog", "by": "umd"},
    "refcocog-google": {"dataset": "refcocog", "by": "google"},
    "saco-silver": {"part": "silver"},
}
"""What sets a benchmark apart from the others of its module."""


def read(
    name: str, data: Path | None = None, split: str | None = None, **options: Any
) -> Benchmark:
    """The benchmark of this name from its files in `data`; None for a split takes its default.

    Raises InputError when there is none of that name, or `data` does not hold it.
    """
    if name not in MODULES:
        raise InputError(f"there is no benchmark {name!r}; choose one of {', '.join(MODULES)}")
    if "score_size" in options and MODULES[name] not in RESIZABLE:
        raise InputError(
            f"{name} has one size at which masks are compared; --score-size is for refcoco, "
            "refcoco+, refcocog and grefcoco"
        )
    module = import_module(f"sam3_agent.evals.benchmarks.{MODULES[name]}")
    benchmark: Benchmark = module.read(data, split, **VARIANTS.get(name, {}), **options)
    return benchmark
