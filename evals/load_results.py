"""Runs and their benchmarks, read again."""

from collections.abc import Sequence
from pathlib import Path

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.results_file import Run, merged, read_run


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in these folders; shards of one run become one, at the place of the first."""
    together: list[list[Run]] = []
    for run in (read_run(path) for path in paths):
        parts = next((parts for parts in together if _shard_of(run, parts[0])), None)
        if parts is None:
            together.append([run])
        else:
            parts.append(run)
    return [parts[0] if len(parts) == 1 else merged(parts) for parts in together]


def read_benchmark(run: Run, data: Path | None = None, score_size: int | None = None) -> Benchmark:
    """The benchmark of a run, from `data` or from where its files were then.

    score_size: scores a run of a referring benchmark at another size than it was asked with.
    """
    config = run.header.config
    options = dict(config.get("options", {}))
    if score_size is not None:
        options["score_size"] = score_size
    there = data or (Path(config["data"]) if config.get("data") else None)
    try:
        return read(config["benchmark"], there, config.get("split"), **options)
    except InputError as error:
        raise InputError(
            f"the benchmark of {run.path} cannot be read again ({error}); "
            "give its folder with --data"
        ) from error


def _shard_of(run: Run, other: Run) -> bool:
    one, two = run.header, other.header
    shards = one.config.get("shard"), two.config.get("shard")
    return (
        None not in shards
        and shards[0] != shards[1]
        and {**one.config, "shard": None} == {**two.config, "shard": None}
        and one.samples == two.samples
    )
