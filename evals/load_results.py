"""Reads runs again: shards merged, with the benchmark that they are of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark, Row
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.json_io import validation_text
from sam3_agent.evals.results_file import Run, read_run
from sam3_agent.evals.row_record import check_rows
from sam3_agent.evals.run_header import digest
from sam3_agent.evals.runner import select_samples


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


def read_benchmark(
    run: Run,
    data: Path | None = None,
    score_size: int | None = None,
    name: str | None = None,
) -> Benchmark:
    """Reads the benchmark of a run, from `data` or from where its files were when it ran.

    score_size: scores a run of a referring benchmark at another size than it was run with.
    name: the benchmark's name, which must be given when it is `package.module:function`.
    """
    config = _Config.of(run)
    # a run file may come from anybody, and a name of this form may call any function of Python
    if ":" in config.benchmark and name != config.benchmark:
        raise InputError(
            f"{run.path} is of the benchmark {config.benchmark!r}, which is code outside of "
            "sam3-agent; if you know it, allow it by its name: --benchmark "
            f"{config.benchmark}"
        )
    options = config.options.model_dump(exclude_unset=True)
    if taken := options.keys() & {"name", "data", "split"}:
        raise InputError(f"{run.path}: its config is broken: options: {min(taken)} is none")
    if score_size is not None:
        options["score_size"] = score_size
    there = data or (Path(config.data) if config.data else None)
    try:
        return read(config.benchmark, there, config.split, **options)
    except InputError as error:
        raise InputError(
            f"the benchmark of {run.path} cannot be read again ({error}); "
            "give its folder with --data"
        ) from error


def check_run(run: Run, benchmark: Benchmark) -> bool:
    """Checks the rows of a run against the samples of its benchmark.

    Returns whether the samples are still those that it was run on; where not, its rows cannot be
    compared with them. Raises InputError for a row that is of none of them.
    """
    config = _Config.of(run)
    first, _, of = (config.shard or "1/1").partition("/")
    if run.header.samples != digest(benchmark.samples[: config.limit]):
        return False
    try:
        samples = select_samples(benchmark.samples, config.limit, (int(first), int(of)))
    except InputError as error:
        raise InputError(f"{run.path}: its config is broken: {error}") from error
    check_rows(run.rows, samples, run.path, repeats_after=len(benchmark.samples))
    return True


class _Options(BaseModel):
    """The options of the benchmark's reader that a run was begun with."""

    model_config = ConfigDict(strict=True, extra="allow")

    seed: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    style: str = ""
    score_size: Annotated[int, Field(ge=1, le=10_000)] | None = None


class _Config(BaseModel):
    """What is read of the config of a run."""

    model_config = ConfigDict(strict=True)

    benchmark: str
    data: str | None = None
    split: str | None = None
    options: _Options = _Options()
    limit: Annotated[int, Field(ge=1)] | None = None
    shard: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,8}$")] | None = None

    @classmethod
    def of(cls, run: Run) -> Self:
        try:
            return cls.model_validate(dict(run.header.config))
        except ValidationError as error:
            raise InputError(
                f"{run.path}: its config is broken: {validation_text(error)}"
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
