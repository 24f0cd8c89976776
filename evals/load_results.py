"""Reads runs again: shards merged, with the benchmark that they are of."""

from collections.abc import Sequence
from pathlib import Path

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark, Row
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.results_file import Run, read_run


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads the runs in these folders; shards of one run become one, in place of the first."""
    groups: list[list[Run]] = []
    for run in map(read_run, paths):
        group = next((group for group in groups if _are_shards(run, group[0])), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return [group[0] if len(group) == 1 else merged(group) for group in groups]


def read_benchmark(run: Run, data: Path | None = None, score_size: int | None = None) -> Benchmark:
    """Reads the benchmark of a run, from `data` or from where its files were when it ran.

    score_size: scores a run of a referring benchmark at another size than it was run with.
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


def merged(runs: Sequence[Run]) -> Run:
    """Merges the shards of one run.

    Raises InputError when they differ in config or samples, or share a row.
    """
    first = runs[0]
    whole = first.header.without_shard()
    rows: dict[int, Row] = {}
    stopped: dict[int, float | None] = {}
    for run in runs:
        differing = whole.differences(run.header.without_shard())
        if differing or run.header.samples != whole.samples:
            raise InputError(
                f"{run.path} is no shard of the run of {first.path}: "
                f"{', '.join(differing or ['the samples'])} differ"
            )
        if twice := rows.keys() & run.rows.keys():
            raise InputError(
                f"{run.path}: its row {run.rows[min(twice)].id!r} is in another shard, too"
            )
        rows.update(run.rows)
        stopped.update(run.stopped)
    # each shard states its own part, so what is missing in one of them stays missing in the whole
    total = sum(run.header.total for run in runs)
    return Run(first.path, whole.model_copy(update={"total": total}), rows, stopped)


def _are_shards(run: Run, other: Run) -> bool:
    """Whether two runs are different shards of one run."""
    shards = run.header.config.get("shard"), other.header.config.get("shard")
    return (
        None not in shards
        and shards[0] != shards[1]
        and not run.header.without_shard().differences(other.header.without_shard())
        and run.header.samples == other.header.samples
    )
