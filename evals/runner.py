"""The runner: asks a solver the samples of a benchmark in parallel; each row is stored at once."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sam3_agent.budget import EitherEvent, abandoned, sampling_seed, stop_requested
from sam3_agent.errors import InputError, ModelError, Sam3AgentError, StoppedError
from sam3_agent.evals.benchmark import Benchmark, Row, Sample
from sam3_agent.evals.results_file import Run, RunFile
from sam3_agent.evals.row_record import check_rows
from sam3_agent.evals.solvers.solver import Outcome, Solver, UnfinishedError
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.usage import Usage

logger = logging.getLogger(__name__)

Shard: TypeAlias = tuple[int, int]
"""(i, n): every n-th sample from the i-th on, i counted from 1."""

_InFlight: TypeAlias = dict[Future[tuple[Row, Sam3AgentError | None]], int]

MAX_FAILURES = 12
"""A run is aborted when this many samples failed in a model and none other: a wrong key does."""

GRACE = 30.0
"""Seconds that model calls in flight get after a stop; they are paid for, finished or not."""

RELEASE = 2.0
"""Seconds after the grace in which calls that are given up end."""

POLL = 0.1
"""Seconds between two looks at whether a run is to stop."""


@dataclass(frozen=True, eq=False)
class Progress:
    """The state of a run after a row.

    done, total: rows of this run, including those of before it was resumed. failed: failed ones
    of them. score: mean score so far (of referring benchmarks, the gIoU). usd: US dollars.
    seconds_left: at the pace of this process; None before its first row.
    """

    done: int
    total: int
    failed: int
    score: float
    usd: float
    seconds_left: float | None


def select_samples(
    samples: Sequence[Sample],
    limit: int | None = None,
    shard: Shard | None = None,
    repeats: int = 1,
) -> list[tuple[int, Sample]]:
    """Selects the samples of a run, each with the key of its row: one shard of the first `limit`.

    The key is the sample's index among all N samples of the benchmark. With repeats every sample is
    asked once before any is asked again; the r-th time it has the key (r - 1) x N + index.

    Raises InputError for an invalid shard, and for samples with the same id.
    """
    first, of = shard or (1, 1)
    if not 1 <= first <= of:
        raise InputError(f"there is no shard {first}/{of}; it is i/n with i from 1 to n")
    ids: set[str] = set()
    for sample in samples:
        if sample.id in ids:
            raise InputError(f"the benchmark has two samples with the id {sample.id!r}")
        ids.add(sample.id)
    # the limit first, so that all shards together are the first `limit` samples; every n-th, since
    # files may be sorted by subset, of which each shard then gets its part
    once = list(enumerate(samples))[:limit][first - 1 :: of]
    return [
        (repeat * len(samples) + index, sample)
        for repeat in range(repeats)
        for index, sample in once
    ]


def run_samples(
    benchmark: Benchmark,
    solver: Solver,
    samples: Sequence[tuple[int, Sample]],
    file: RunFile,
    *,
    workers: int = 1,
    max_usd: float | None = None,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: threading.Event | None = None,
    on_stop: Callable[[int], None] = lambda _: None,
    grace: float = GRACE,
) -> Run:
    """Asks all samples that have no row yet, `workers` at a time; each row is on disk at once.

    A sample that fails becomes a row with its error and its cost. max_usd: no sample is started
    once all rows together cost this much, with failed ones and earlier attempts, or once the cost
    of one is not known; samples in flight are finished. retry_failed: also asks samples again whose
    row failed. A sample that is asked repeatedly has another sampling seed each time.

    stop: once it is set, no sample is begun and no model is called. Calls in flight get `grace`
    seconds, after which their replies are not read any more: a sample that ends with them is a row;
    of another one the cost is kept in the file, and goes into its row when the run is resumed.
    on_stop: called with the number of samples in flight when it is stopped.

    Raises ModelError after MAX_FAILURES samples failed with it and none ended otherwise; samples in
    flight are finished, and their rows stay. Raises StoppedError when it was stopped before every
    sample had a row. A KeyboardInterrupt waits for nothing; finished rows are on disk.
    """
    check_rows(file.rows, samples, file.path)
    pending = [
        (index, sample)
        for index, sample in samples
        if index not in file.rows or (retry_failed and file.rows[index].status == "failed")
    ]
    seeded = any(_repeat(index, benchmark) > 1 for index, _ in samples)
    state = _State(benchmark, file, len(samples), len(pending), on_progress)
    queue = iter(pending)
    in_flight: _InFlight = {}
    ended, given_up = EitherEvent(stop), threading.Event()
    pool = ThreadPoolExecutor(workers, "sample")
    try:
        while not ended.is_set():
            # keep `workers` samples in flight, and store whichever is finished first
            # not all at once into the pool: budget and failures are checked before each start
            while len(in_flight) < workers and not state.must_stop(max_usd):
                index, sample = next(queue, (0, None))
                if sample is None:
                    break
                repeat = _repeat(index, benchmark)
                context = copy_context()
                context.run(stop_requested.set, ended)
                context.run(abandoned.set, given_up)
                # where samples are repeated even the first time has a seed; asked once, none has
                context.run(sampling_seed.set, repeat if seeded else None)
                solving = pool.submit(context.run, _solve_repeat, solver, sample, repeat)
                in_flight[solving] = index
            if not in_flight:
                break
            _store(in_flight, state, POLL)
        if in_flight:
            on_stop(len(in_flight))
        # then the reading of replies ends, too, and what their samples have cost so far is known
        for seconds in (grace, RELEASE):
            end = time.monotonic() + seconds
            while in_flight and (left := end - time.monotonic()) > 0:
                _store(in_flight, state, left)
            given_up.set()
        return _finished(file, state, len(in_flight), ended.is_set())
    finally:
        # whatever ends the run, threads that are left must not begin another call; and Ctrl-C must
        # not wait for samples that take minutes
        ended.set()
        given_up.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _store(in_flight: _InFlight, state: "_State", seconds: float) -> None:
    """Stores the rows of the samples that finish first, and takes them out of those in flight."""
    for future in wait(in_flight, seconds, FIRST_COMPLETED).done:
        state.add(in_flight.pop(future), *future.result())


def _finished(file: RunFile, state: "_State", in_flight: int, stopped: bool) -> Run:
    """Returns the run of a file; raises ModelError and StoppedError as `run_samples`."""
    if state.abort is not None:
        raise state.abort
    if stopped and state.missing:
        more = f", {in_flight} of them still in flight" if in_flight else ""
        raise StoppedError(f"stopped with {state.missing} samples left to ask{more}")
    return file.finish()


class _State:
    """Stores the rows of a run, reports its progress, and decides when it must stop.

    abort: the error with which the run ends; None as long as it goes on.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        file: RunFile,
        total: int,
        pending: int,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.abort: ModelError | None = None
        self._benchmark = benchmark
        self._file = file
        self._total = total
        self._pending = pending
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._done = 0
        self._model_failures = 0
        self._scores = {index: benchmark.score(row) for index, row in file.rows.items()}
        self._costs = {index: row.cost for index, row in file.rows.items()}
        self._report()

    @property
    def missing(self) -> int:
        """How many of the samples that were to be asked have no new row yet."""
        return self._pending - self._done

    def must_stop(self, max_usd: float | None) -> bool:
        """Whether no further sample may be started."""
        if self.abort is not None:
            return True
        # a cost that is not known may be any amount
        unknown = None in self._all_costs()
        return max_usd is not None and (unknown or self._known_usd() >= max_usd)

    def add(self, index: int, row: Row, error: Sam3AgentError | None) -> None:
        """Stores a row; `error` is what it failed with.

        Of a sample that was stopped only the cost is stored.
        """
        if isinstance(error, StoppedError):
            self._file.append_stopped(index, row.cost)
            self._report()
            return
        # attempts that failed or were stopped leave nothing else, and must stay in the sum
        before = self._file.rows.get(index)
        earlier = (None if before is None else before.cost, self._file.stopped.get(index))
        row = replace(row, earlier_cost=sum(cost or 0.0 for cost in earlier))
        self._file.append(index, row)
        self._scores[index] = self._benchmark.score(row)
        self._costs[index] = row.cost
        self._done += 1
        self._model_failures += isinstance(error, ModelError)
        # only as long as all failed: a single answer shows that key, address and model are right
        if self._done == self._model_failures >= MAX_FAILURES:
            self.abort = ModelError(
                f"the first {self._done} samples all failed, so the run was stopped: {error}"
            )
            self.abort.__cause__ = error
        self._report()

    def _known_usd(self) -> float:
        return sum(cost for cost in self._all_costs() if cost is not None)

    def _all_costs(self) -> list[float | None]:
        return [*self._costs.values(), *self._file.stopped.values()]

    def _report(self) -> None:
        left = None
        if self._done:
            # rows of before a resumption took none of this process's time
            pace = (time.monotonic() - self._began) / self._done
            left = pace * (self._pending - self._done)
        failed = sum(row.status == "failed" for row in self._file.rows.values())
        score = sum(self._scores.values()) / max(len(self._scores), 1)
        done = len(self._file.rows)
        self._on_progress(Progress(done, self._total, failed, score, self._known_usd(), left))


def _repeat(index: int, benchmark: Benchmark) -> int:
    """Returns which time a sample is asked, from the key of its row."""
    return 1 + index // len(benchmark.samples) if benchmark.samples else 1


def _solve_repeat(solver: Solver, sample: Sample, repeat: int) -> tuple[Row, Sam3AgentError | None]:
    """Solves a sample for the `repeat`-th time."""
    row, error = solve_sample(solver, sample)
    return replace(row, repeat=repeat), error


def solve_sample(solver: Solver, sample: Sample) -> tuple[Row, Sam3AgentError | None]:
    """Returns the row of a sample, and the error if it failed; never raises."""
    began = time.monotonic()
    try:
        image = sample.pixels()
        _check_size(image, sample)
        return _answered(sample, solver.solve(image, sample)), None
    except UnfinishedError as stop:
        error, usage = stop.__cause__, stop.usage
    except Exception as stop:
        error, usage = stop, Usage(seconds=time.monotonic() - began)
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, Sam3AgentError):
        return _failed(sample, text, usage), error
    # a bug in one sample must not cost the other samples
    logger.error("sample %s", sample.id, exc_info=error)
    return _failed(sample, f"{text} (a bug in sam3-agent: please report it)", usage), None


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
        **_fields(sample),
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
        **_fields(sample),
        pred=nothing,
        found=nothing,
        text="",
        status="failed",
        error=error,
        usage=usage.to_dict(),
        messages=(),
    )


def _fields(sample: Sample) -> dict[str, Any]:
    """Returns the fields that a row has from its sample."""
    return {name: value for name, value in vars(sample).items() if name != "image"}
