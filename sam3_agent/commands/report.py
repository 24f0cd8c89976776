"""`sam3-agent report` and `sam3-agent merge`: runs as a page, and shards as one run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sam3_agent.commands.console import JsonOption, or_exit, print_json, say
from sam3_agent.errors import InputError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of eval runs.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; report.html in the first run's folder if not.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the benchmark's files are now, if they moved.")
    ] = None,
    score_size: Annotated[
        int | None,
        typer.Option(min=1, help="Referring benchmarks: compare masks at this size; see eval."),
    ] = None,
    cases: Annotated[int, typer.Option(min=0, help="Worst and best samples to show.")] = 6,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table of results as Markdown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """One page about one run or several: metrics, differences, failures, cost, cases.

    The first run is what the others are compared with. Nothing is asked again; the benchmark's
    files are read for the pictures. Shards of one run are put together.
    """
    from sam3_agent.evals.load_results import read_benchmark, read_runs
    from sam3_agent.evals.report.content import content, labels
    from sam3_agent.evals.report.page import markdown as table
    from sam3_agent.evals.report.page import page

    def made() -> tuple[dict[str, Any], Path]:
        found = read_runs(runs)
        told = content(read_benchmark(found[0], data, score_size), found, labels(found), cases)
        target = out or found[0].path.parent / "report.html"
        if not (as_json or markdown):
            _write(target, page(told))
        return told, target

    told, target = or_exit(made)
    if as_json:
        print_json(told)
    elif markdown:
        typer.echo(table(told))
    else:
        say(f"wrote {target}")
        typer.echo(table(told))


def merge(
    out: Annotated[Path, typer.Argument(help="Folder of the whole run; must hold none yet.")],
    shards: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of its shards.")],
) -> None:
    """Put the shards of one run together."""
    from sam3_agent.evals.load_results import merged
    from sam3_agent.evals.results_file import read_run, write_run

    def made() -> str:
        parts = [read_run(shard) for shard in shards]
        whole = merged(parts)
        path = write_run(whole, out)
        _, _, count = str(parts[0].header.config.get("shard") or "1/1").partition("/")
        lacking = int(count) - len(parts)
        left = f"; {lacking} of {count} shards are not in it" if lacking else ""
        return f"wrote {len(whole.rows)} of {whole.header.total} samples to {path}{left}"

    say(or_exit(made))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
