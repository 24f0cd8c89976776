"""`sam3-agent bench`: what segmenting costs on this machine, next to Meta's package."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sam3_agent.commands.options import JsonOption, command
from sam3_agent.commands.output import print_json, print_stderr, print_stdout
from sam3_agent.evals.bench import BENCHMARKS
from sam3_agent.evals.bench import bench as measure


@command
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(BENCHMARKS)}. Default: all."),
    ] = None,
    masks: Annotated[int, typer.Option(min=2, help="How many masks.")] = 100,
    calls: Annotated[int, typer.Option(min=80, help="How many calls `load` makes.")] = 2000,
    as_json: JsonOption = False,
) -> None:
    """Measure what segmenting costs, next to Meta's package where that is installed.

    All of it takes some 30 minutes on one core with Meta's package, 10 without. `load` puts many
    calls at a time on one agent and one server, and compares their results with those of one.
    """
    rows = []
    for row in measure(
        names or None, masks=masks, calls=calls, on_start=lambda one: print_stderr(f"{one} ...")
    ):
        print_stderr(f"{row.work}: {_shown(row.ours, '.3f')} {row.unit}")
        rows.append(row.to_dict())
    if as_json:
        print_json({"rows": rows})
    else:
        lines = Console(width=200)
        with lines.capture() as table:
            lines.print(_table(rows))
        print_stdout(table.get().rstrip("\n"))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("work", "ours", "reference", "ratio", "target", "met", "note")
    for row in rows:
        table.add_row(
            row["work"],
            f"{_shown(row['ours'], '.3g')} {row['unit']}",
            _shown(row["reference"], ".4g"),
            _shown(row["ratio"], ".0f"),
            row["target"],
            {True: "yes", False: "NO", None: "?"}[row["met"]],
            row["note"],
        )
    return table


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
