"""How `sam3-agent eval` runs: the options, the progress bar, and the files of a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as ProgressBar

from sam3_agent.commands.interrupts import stop_on_signal
from sam3_agent.commands.options import check_writable
from sam3_agent.commands.output import print_stderr, stderr
from sam3_agent.errors import InputError, StoppedError
from sam3_agent.evals.benchmark import Benchmark, Sample
from sam3_agent.evals.results_file import Run, RunFile, holds_run
from sam3_agent.evals.run_header import Header
from sam3_agent.evals.runner import GRACE, Progress, run_samples
from sam3_agent.evals.solvers.solver import Solver
from sam3_agent.saving import write_files


@dataclass(frozen=True)
class RunOptions:
    """Where a run is kept, and how it goes; raises InputError for options that do not fit."""

    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Samples at a time. Default: 1 for offline, 8 for others."),
    ] = None
    max_usd: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no sample after the run has cost this in US dollars."),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Folder of run.jsonl. Default: a new folder in runs/.")
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out; no sample is asked twice.")
    ] = False
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="As --resume, and ask again what failed.")
    ] = False

    def __post_init__(self) -> None:
        if self.resumes and self.out is None:
            raise InputError("--resume and --retry-failed need the run's folder: --out DIR")
        if self.out is not None:
            check_writable(self.out)
            if holds_run(self.out) and not self.resumes:
                raise InputError(
                    f"{self.out} holds a run already; continue it (--resume) or choose another "
                    "--out"
                )

    @property
    def resumes(self) -> bool:
        """Whether a run that is there is continued."""
        return self.resume or self.retry_failed


def new_folder(name: str) -> Path:
    """A folder in runs/ that does not exist yet, with the time in its name."""
    name = name.replace(":", "-")  # of module:function, which Windows takes in no path
    path = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    folders = (path if n == 1 else path.with_name(f"{path.name}-{n}") for n in count(1))
    return next(folder for folder in folders if not folder.exists())


def run_with_progress(
    benchmark: Benchmark,
    solver: Solver,
    samples: Sequence[tuple[int, Sample]],
    header: Header,
    folder: Path,
    options: RunOptions,
    workers: int,
) -> Run:
    """Runs a solver on the samples that have no row in the folder yet, with a progress bar."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[state]}", markup=False),
    )
    with (
        RunFile(folder, header, resume=options.resumes) as file,
        ProgressBar(*columns, console=stderr, transient=True) as bar,
        stop_on_signal() as stop,
    ):
        task = bar.add_task(benchmark.name, total=len(samples), state="")
        try:
            return run_samples(
                benchmark,
                solver,
                samples,
                file,
                workers=workers,
                max_usd=options.max_usd,
                retry_failed=options.retry_failed,
                on_progress=lambda now: bar.update(task, completed=now.done, state=_state(now)),
                stop=stop.requested,
                on_stop=_print_stopping,
            )
        except StoppedError as error:
            print_stderr(f"{error}; continue with --out {folder} --resume")
            raise typer.Exit(stop.code) from None


def _print_stopping(in_flight: int) -> None:
    print_stderr(
        f"stopping: no model is called any more; {in_flight} samples in flight get {GRACE:.0f} s "
        "to finish their calls (again Ctrl-C: end at once)"
    )


def _state(now: Progress) -> str:
    left = "?" if now.seconds_left is None else str(timedelta(seconds=int(now.seconds_left)))
    failed = f"  {now.failed} failed" if now.failed else ""
    return f"score {now.score:.3f}  {now.usd:.2f} USD  {left} left{failed}"


def write_predictions(benchmark: Benchmark, run: Run) -> str:
    """Writes the answers as the benchmark's own evaluator reads them, where it reads a file.

    Returns what could not be written, and "" when all was.
    """
    rows = run.ordered
    for repeat in sorted({row.repeat for row in rows}):
        files = benchmark.predictions([row for row in rows if row.repeat == repeat])
        for name, content in files.items():
            end = f"_{repeat}.json" if repeat > 1 else ".json"
            path = run.path.with_name(name.removesuffix(".json") + end)
            try:
                write_files(path.parent, {path.name: json.dumps(content).encode()})
            except InputError as error:
                return f"{error}; the run itself is whole: --resume writes {path.name} again"
            print_stderr(f"wrote {path}")
    return ""
