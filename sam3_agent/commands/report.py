"""`sam3-agent report` and `sam3-agent merge`: runs as a page, and shards as one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sam3_agent.commands.eval_data import ScoreSizeOption
from sam3_agent.commands.options import JsonOption, command
from sam3_agent.commands.output import print_json, print_stderr, print_stdout
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark
from sam3_agent.evals.load_results import check_run, merged, read_benchmark, read_runs
from sam3_agent.evals.report.content import content, labels
from sam3_agent.evals.report.page import markdown as table
from sam3_agent.evals.report.page import page
from sam3_agent.evals.results_file import Run, read_run, write_run
from sam3_agent.saving import write_files


@command
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of eval runs.")],
    out: Annotated[
        Path | None, typer.Option(help="The page. Default: report.html in the first run's folder.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The benchmark's files. Default: where they were for the run."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Allow that the runs' benchmark is this function of a Python module.",
        ),
    ] = None,
    score_size: ScoreSizeOption = None,
    cases: Annotated[int, typer.Option(min=0, help="Worst and best samples to show.")] = 6,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table of results as Markdown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make one page of one run or several.

    It shows metrics, differences from the first run, failures, costs and cases. No model runs; the
    benchmark's files are read for the images. Shards of one run are merged.
    """
    found = read_runs(runs)
    of = read_benchmark(found[0], data, score_size, benchmark)
    shown = _content(of, found, cases)
    if as_json:
        print_json(shown)
    elif markdown:
        print_stdout(table(shown))
    else:
        print_stdout(table(shown))
        target = out or found[0].path.parent / "report.html"
        _write(target, page(shown))
        print_stderr(f"wrote {target}")


@command
def merge(
    out: Annotated[Path, typer.Argument(help="Folder of the whole run; must hold no run yet.")],
    shards: Annotated[list[Path], typer.Argument(help="Folders of its shards.")],
) -> None:
    """Merge the shards of one run."""
    parts = [read_run(shard) for shard in shards]
    whole = merged(parts)
    path = write_run(whole, out)
    count = int(str(parts[0].header.config.get("shard") or "1/1").partition("/")[2])
    lacking = count - len(parts)
    left = f"; {lacking} of {count} shards are not in it" if lacking else ""
    print_stderr(f"wrote {len(whole.rows)} of {whole.header.total} samples to {path}{left}")


def _content(benchmark: Benchmark, runs: Sequence[Run], cases: int) -> dict[str, Any]:
    """The report's content; InputError for rows that the benchmark cannot score."""
    # every run: rows of one whose samples have changed since may lack what the metric needs
    same = [check_run(run, benchmark) for run in runs]
    try:
        return content(benchmark, runs, labels(runs), cases)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        if all(same):
            raise
        changed = ", ".join(
            str(run.path) for run, is_same in zip(runs, same, strict=True) if not is_same
        )
        raise InputError(
            f"rows of {changed} cannot be scored ({type(error).__name__}: {error}): the samples of "
            "the benchmark are others than when it ran; give its data with --data"
        ) from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    write_files(path.parent, {path.name: text.encode("utf-8", "replace")})  # a page whole, or none
