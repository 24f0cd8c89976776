"""`sam3-agent bench`: what the eye costs on this machine, next to Meta's package."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sam3_agent.commands.console import JsonOption, or_exit, print_json, progress


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="phrases, numbers, masks, memory, size, ask, pictures; all by default.",
        ),
    ] = None,
    masks: Annotated[int, typer.Option(min=2, help="How many masks.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Measure the eye; Meta's package is the peer where it is installed.

    All of it takes some 25 minutes on one core with the peer, 5 without.
    """

    def run() -> list[dict[str, object]]:
        from sam3_agent.evals.bench import bench as measure

        rows = []
        for row in measure(names or None, masks=masks):
            progress.print(f"{row.work}: {row.ours:.3f} {row.unit}")
            rows.append(row.to_dict())
        return rows

    rows = or_exit(run)
    if as_json:
        print_json({"rows": rows})
        return
    table = Table("work", "ours", "reference", "ratio", "target", "met", "note")
    for row in rows:
        met = {True: "yes", False: "NO", None: "?"}[row["met"]]  # type: ignore[index]
        table.add_row(
            str(row["work"]),
            f"{row['ours']:.3g} {row['unit']}",
            "-" if row["reference"] is None else f"{row['reference']:.4g}",
            "-" if row["ratio"] is None else f"{row['ratio']:.0f}",
            str(row["target"]),
            met,
            str(row["note"]),
        )
    Console(width=200).print(table)
