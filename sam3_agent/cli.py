"""The command line: the commands by name, logging, and the version.

With --json stdout is exactly one JSON object; everything else goes to stderr. Exit codes: 0 a
finished run (also when nothing matched), 2 bad usage or input, 3 a planner or segmenter failed,
130 Ctrl-C, 143 SIGTERM and 129 SIGHUP during `eval`.
"""

import contextlib
import importlib
import inspect
import logging
import os
import re
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import sam3_agent
from sam3_agent.commands.interrupts import INTERRUPTED, STOPPED
from sam3_agent.commands.output import discard, print_stderr
from sam3_agent.sanitize import PrintableFormatter

COMMANDS = {
    "ask": ("ask:ask", "Ask a question about an image; get words and masks."),
    "segment": (
        "segment:segment",
        "Find every instance of concepts, or the object at a point; no planner.",
    ),
    "replay": ("ask:replay", "Run a recorded ask again, without network or key."),
    "setup": (
        "setup:setup",
        "Choose planner and segmenter, check what they need, and write the choice to a file.",
    ),
    "doctor": (
        "doctor:doctor",
        "Report which planner and segmenter would run, and whether all that they need is there.",
    ),
    "bench": (
        "bench:bench",
        "Measure what segmenting costs, next to Meta's package where that is installed.",
    ),
    "mcp": ("mcp:mcp", "Serve the tools to a chat assistant over MCP."),
    "serve": ("serve:serve", "Serve the tools over HTTP; /docs describes the paths."),
    "eval": (
        "evaluate:evaluate",
        "Measure a solver, such as the agent, on a benchmark with known truth.",
    ),
    "report": ("report:report", "Make one page of one run or several."),
    "merge": ("report:merge", "Merge the shards of one run."),
    "train-tiny": (
        "train:train_tiny",
        "Train the tiny SAM 3 on synthetic scenes; an interrupted run continues.",
    ),
}
"""The function of each command in `sam3_agent.commands`, and its line in the overview."""


class CommandGroup(TyperGroup):
    """Imports the module of a command only when that command runs: all of them take a second."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The name, the command and its arguments."""
        name, _, rest = super().resolve_command(ctx, args)
        module, _, function = COMMANDS[str(name)][0].partition(":")
        run = getattr(importlib.import_module(f"sam3_agent.commands.{module}"), function)
        # the lines of a docstring are no lines of a terminal: each paragraph is wrapped anew
        paragraphs = re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.getdoc(run) or "")
        single = typer.Typer(add_completion=False)
        single.command(name, help=paragraphs)(run)
        return name, typer.main.get_command(single), rest


app = typer.Typer(
    cls=CommandGroup,
    help="Ask a picture a question in plain language; get words and pixel-exact masks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, (_, _line) in COMMANDS.items():
    app.command(_name, help=_line)(lambda: None)  # `CommandGroup` puts the function in its place


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sam3-agent {sam3_agent.__version__}")
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
    """Sets up logging and output for every command."""
    handler = logging.StreamHandler(sys.stderr)
    # libraries log to handlers of their own, too; two lines for each of their warnings say no more
    handler.addFilter(lambda one: one.name.startswith("sam3_agent") or one.levelno >= logging.ERROR)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    logging.captureWarnings(True)  # Pillow's own, such as of broken EXIF, go the same way
    logging.getLogger("sam3_agent").setLevel(logging.INFO if verbose else logging.WARNING)
    if isinstance(sys.stdout, TextIOWrapper):  # an answer that was paid for is printed anyhow
        sys.stdout.reconfigure(errors="backslashreplace")


def _occupy_closed_streams() -> None:
    """Opens the null device as each standard stream that the shell has closed.

    The next file that is opened would else be that stream, and get what libraries print there.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def run() -> None:
    """The program: `app`, which ends at once when it was interrupted."""
    code: Any = INTERRUPTED
    _occupy_closed_streams()
    try:
        app()
    except KeyboardInterrupt:
        print_stderr("stopped")
    except SystemExit as ended:
        code = ended.code
    except OSError as error:  # of stdout, when typer prints help or the version
        discard(sys.stdout, 1)
        print_stderr(f"error: {error}")
        code = 2
    if code not in STOPPED:
        sys.exit(code)
    # threads with a model call in flight would be waited for, for as long as their server takes
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed by the shell
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
