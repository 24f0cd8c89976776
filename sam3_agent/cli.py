"""The command line: `sam3-agent ask`, `sam3-agent segment` and their kin.

With --json stdout is exactly one JSON object; everything else goes to stderr. Exit codes: 0 a
finished run (also when nothing matched), 2 bad usage or input, 3 a planner or segmenter failed.
"""

import logging
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from sam3_agent.commands.ask import ask, replay
from sam3_agent.commands.bench import bench
from sam3_agent.commands.doctor import doctor, version
from sam3_agent.commands.evaluate import evaluate
from sam3_agent.commands.mcp import mcp
from sam3_agent.commands.report import merge, report
from sam3_agent.commands.segment import segment
from sam3_agent.commands.serve import serve
from sam3_agent.commands.setup import setup
from sam3_agent.commands.train import train_tiny

app = typer.Typer(
    help="Ask a picture a question in plain language; get words and pixel-exact masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(ask)
app.command()(segment)
app.command()(replay)
app.command()(setup)
app.command()(doctor)
app.command()(bench)
app.command()(mcp)
app.command()(serve)
app.command("eval")(evaluate)
app.command()(report)
app.command()(merge)
app.command("train-tiny")(train_tiny)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sam3-agent {version('sam3-agent')}")
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens to stderr.")] = False,
    _: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Set up logging and output for every command."""
    handler = logging.StreamHandler(sys.stderr)
    # libraries log to handlers of their own, too; two lines for each of their warnings say no more
    handler.addFilter(lambda one: one.name.startswith("sam3_agent") or one.levelno >= logging.ERROR)
    logging.basicConfig(level=logging.ERROR, handlers=[handler], format="%(message)s")
    logging.captureWarnings(True)  # Pillow's own, such as of broken EXIF, go the same way
    logging.getLogger("sam3_agent").setLevel(logging.INFO if verbose else logging.WARNING)
    if isinstance(sys.stdout, TextIOWrapper):  # an answer that was paid for is printed anyhow
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    app()
