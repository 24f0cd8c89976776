"""The runner: a solver on the samples of a benchmark, many at once, every row on disk at once."""

import hashlib
import json
import logging
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

from sam3_agent.errors import InputError, ModelError, Sam3AgentError
from sam3_agent.evals.benchmark import Benchmark, Row, Sample
from sam3_agent.evals.results_file import Header, Run, RunFile
from sam3_agent.evals.solvers.solver import Outcome, Solver, UnfinishedError
from sam3_agent.images import Pixels, load_image
from sam3_agent.masks import Masks
from sam3_agent.usage import Usage, sampling_seed

logger = logging.getLogger(__name__)

Shard: TypeAlias = tuple[int, int]
"""(i, n): every n-th sample from the i-th on, i counting from 1."""

HOPELESS = 12
"""So many failures of a model, and nothing else, end a run: a wrong key fails every sample."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run is, told after every row.

    done, total: rows of this run, those of before it was resumed among them. failed: those of them
    that failed. score: mean of the benchmark's score so far (of referring benchmarks, the gIoU).
    usd: dollars. seconds_left: at the pace of this process; None before its first row.
    """

    done: int
    total: int
    failed: int
    score: float
    usd: float
    seconds_left: float | None


def chosen(
    samples: Sequence[Sample],
    limit: int | None = None,
    shard: Shard | None = None,
    repeats: int = 1,
) -> list[tuple[int, Sample]]:
    """The samples of a run, each with the key of its row: the first `limit`, of those one shard.

    The key is the sample's place among all N samples of the benchmark; with repeats, all are asked
    once before any is asked again, and the r-th time has the key (r - 1) x N + place.

    Raises InputError for a shard that is none, and for ids that come twice.
    """
    first, of = shard or (1, 1)
    if not 1 <= first <= of:
        raise InputError(f"there is no shard {first}/{of}; it is i/n with i from 1 to n")
    ids: set[str] = set()
    for sample in samples:
        if sample.id in ids:
            raise InputError(f"the benchmark has two samples with the id {sample.id!r}")
        ids.add(sample.id)
    once = list(enumerate(samples))[:limit][first - 1 :: of]
    return [
        (again * len(samples) + place, sample) for again in range(repeats) for place, sample in once
    ]


def header(
    config: Mapping[str, Any],
    samples: Sequence[Sample],
    total: int,
    setup: Mapping[str, Any] | None = None,
) -> Header:
    """The header of a run that begins now, with this code.

    samples: those of all shards. total: how many rows this one will have. setup: see `Header`.
    """
    return Header(
        config=dict(config),
        samples=_digest(samples),
        total=total,
        versions=_versions(),
        commit=_commit(),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        setup=setup or {},
    )


def run(
    benchmark: Benchmark,
    solver: Solver,
    samples: Sequence[tuple[int, Sample]],
    file: RunFile,
    *,
    workers: int = 1,
    max_usd: float | None = None,
    retry_failed: bool = False,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Run:
    """Ask all samples that have no row yet, `workers` at a time; each row is on disk at once.

    A sample that cannot be answered becomes a row with its error and with what it cost. max_usd: no
    sample is begun once all rows together cost this much, failed ones and earlier tries among them,
    or the cost of one is not known (what is in flight is still finished). retry_failed: ask again
    what failed before. A sample that is asked several times has a seed of its own each time.

    Raises ModelError, once HOPELESS samples and no other have failed with it and what was in flight
    is finished; their rows stay. A KeyboardInterrupt waits for nothing: what was finished is on
    disk.
    """
    missing = [
        (index, sample)
        for index, sample in samples
        if index not in file.rows or (retry_failed and file.rows[index].status == "failed")
    ]
    repeats = max((_repeat(index, benchmark) for index, _ in samples), default=1)
    teller = _Teller(benchmark, file, len(samples), len(missing), tell)
    queue = iter(missing)
    flying: dict[Future[tuple[Row, Sam3AgentError | None]], int] = {}
    failures = 0
    hopeful = False
    hopeless: ModelError | None = None
    pool = ThreadPoolExecutor(workers, "sample")
    try:
        while True:
            spent_all = max_usd is not None and (teller.usd is None or teller.usd >= max_usd)
            while len(flying) < workers and not spent_all and hopeless is None:
                following = next(queue, None)
                if following is None:
                    break
                index, sample = following
                again = _repeat(index, benchmark)
                flying[pool.submit(_seeded, solver, sample, again, repeats > 1)] = index
            if not flying and hopeless is not None:
                raise hopeless
            if not flying:
                return file.finish()
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                row, error = future.result()
                index = flying.pop(future)
                before = file.rows.get(index)
                teller.add(index, row if before is None else _again(row, before))
                hopeful = hopeful or not isinstance(error, ModelError)
                failures += isinstance(error, ModelError)
                if failures >= HOPELESS and not hopeful:
                    hopeless = ModelError(
                        f"the first {failures} samples all failed, so the run was stopped: {error}"
                    )
                    hopeless.__cause__ = error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Teller:
    """Puts rows into the file and tells how far the run is."""

    def __init__(
        self,
        benchmark: Benchmark,
        file: RunFile,
        total: int,
        missing: int,
        tell: Callable[[Progress], None],
    ) -> None:
        self._benchmark = benchmark
        self._file = file
        self._total = total
        self._missing = missing
        self._tell = tell
        self._began = time.monotonic()
        self._done = 0
        self._scores = {index: benchmark.score(row) for index, row in file.rows.items()}
        self._costs = {index: row.cost for index, row in file.rows.items()}
        self._report()

    @property
    def usd(self) -> float | None:
        """What all rows cost; None when the cost of one is not known."""
        return None if None in self._costs.values() else self._known_usd()

    def _known_usd(self) -> float:
        return sum(cost for cost in self._costs.values() if cost is not None)

    def add(self, index: int, row: Row) -> None:
        self._file.append(index, row)
        self._scores[index] = self._benchmark.score(row)
        self._costs[index] = row.cost
        self._done += 1
        self._report()

    def _report(self) -> None:
        left = None
        if self._done:
            pace = (time.monotonic() - self._began) / self._done
            left = pace * (self._missing - self._done)
        failed = sum(row.status == "failed" for row in self._file.rows.values())
        score = sum(self._scores.values()) / max(len(self._scores), 1)
        done = len(self._file.rows)
        self._tell(Progress(done, self._total, failed, score, self._known_usd(), left))


def _repeat(index: int, benchmark: Benchmark) -> int:
    """Which time a sample is asked, by the key of its row."""
    return 1 + index // len(benchmark.samples) if benchmark.samples else 1


def _seeded(
    solver: Solver, sample: Sample, repeat: int, several: bool
) -> tuple[Row, Sam3AgentError | None]:
    """`solved`, with a seed that is the repeat's where a sample is asked several times."""
    token = sampling_seed.set(repeat if several else None)
    try:
        row, error = solved(solver, sample)
    finally:
        sampling_seed.reset(token)
    return replace(row, repeat=repeat), error


def solved(solver: Solver, sample: Sample) -> tuple[Row, Sam3AgentError | None]:
    """The row of a sample, and the error when it failed; never raises."""
    began = time.monotonic()
    try:
        image = load_image(sample.image) if isinstance(sample.image, Path) else sample.image()
        _check_size(image, sample)
        return _answered(sample, solver.solve(image, sample)), None
    except UnfinishedError as stop:
        error, usage = stop.__cause__, stop.usage
    except Exception as stop:
        error, usage = stop, Usage(seconds=time.monotonic() - began)
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, Sam3AgentError):
        return _failed(sample, told, usage), error
    # a bug, but one that must not cost the other samples
    logger.error("sample %s", sample.id, exc_info=error)
    told += " (a bug in sam3-agent: please report it)"
    return _failed(sample, told, usage), None


def _again(row: Row, before: Row) -> Row:
    """A row with what the failed one before it cost."""
    return replace(row, earlier_cost=before.cost or 0.0)


def _check_size(image: Pixels, sample: Sample) -> None:
    height, width = (int(side) for side in image.shape[:2])
    if sample.truth is not None and sample.truth.size != (height, width):
        raise InputError(
            f"the image is {width}x{height}, its annotation is made for "
            f"{sample.truth.size[1]}x{sample.truth.size[0]}"
        )


def _answered(sample: Sample, outcome: Outcome) -> Row:
    unable = outcome.status == "unable"
    return Row(
        **_told(sample),
        pred=outcome.pred[[]] if unable else outcome.pred,
        found=outcome.found,
        text=outcome.text,
        status=outcome.status,
        error=None,
        usage=outcome.usage.to_dict(),
        messages=tuple(message.to_dict() for message in outcome.messages),
    )


def _failed(sample: Sample, error: str, usage: Usage) -> Row:
    nothing = Masks.empty((0, 0) if sample.truth is None else sample.truth.size)
    return Row(
        **_told(sample),
        pred=nothing,
        found=nothing,
        text="",
        status="failed",
        error=error,
        usage=usage.to_dict(),
        messages=(),
    )


def _told(sample: Sample) -> dict[str, Any]:
    return {name: value for name, value in vars(sample).items() if name != "image"}


def _digest(samples: Sequence[Sample]) -> str:
    """What tells whether two runs ask the same: ids, queries and truths."""
    digest = hashlib.sha256()
    for sample in samples:
        truth = [] if sample.truth is None else sample.truth.rle()
        asked = [sample.id, sample.query, truth, dict(sample.about)]
        digest.update(json.dumps(asked, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for name in ("sam3-agent", "torch", "transformers", "pycocotools", "openai", "google-genai"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def _commit() -> str | None:
    """The git commit of this code, with "+" when files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
