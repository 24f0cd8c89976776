"""What commands print: progress on stderr, results on stdout, and the exit code of an error."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from sam3_agent.answer import Answer
from sam3_agent.commands.interrupts import INTERRUPTED
from sam3_agent.errors import InputError, ModelError

stderr = Console(stderr=True, highlight=False)


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Prints an error in one line and exits: with 2 for bad input, with 3 for a failed model.

    Ctrl-C ends with 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        print_stderr("stopped")
        raise typer.Exit(INTERRUPTED) from None
    except (InputError, ModelError) as error:
        print_stderr(f"error: {error}")
        raise typer.Exit(2 if isinstance(error, InputError) else 3) from None


def print_stderr(line: str) -> None:
    """Prints progress, a warning or an error."""
    stderr.print(escape(printable(line)), soft_wrap=True)


def print_json(value: Any) -> None:
    """Prints one JSON object on stdout; ValueError for NaN, which JSON has not."""
    typer.echo(json.dumps(value, allow_nan=False))


def printable(text: str) -> str:
    """The text without control characters: escape codes from a model could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def print_models(planner: str | None, segmenter: str) -> None:
    """Prints which planner and segmenter run, and how to change them."""
    parts = []
    if planner is not None:
        what = " (a small English grammar, no MLLM)" if planner == "offline" else ""
        parts.append(f"planner {planner}{what}, change with --planner")
    what = " (knows only its icon nouns; for photos open:tiny)" if segmenter == "tiny" else ""
    parts.append(f"segmenter {segmenter}{what}, change with --segmenter")
    print_stderr("; ".join(parts))


def print_answer(
    answer: Answer, out: Path | None, as_json: bool, extra: dict[str, Any] | None = None
) -> None:
    """Prints an answer, after saving it in the folder `out`; extra: more fields of its JSON."""
    extra = extra or {}
    if out is not None:
        folder = answer.save(out)
        print_stderr(f"wrote {len(answer.masks)} masks, answer.json and {folder / 'overlay.png'}")
    if as_json:
        print_json({**answer.to_dict(), **extra})
        return
    typer.echo(printable(answer.text))
    if answer.status != "answered":
        typer.echo(f"status: {answer.status}")
    for instance in answer.to_dict()["instances"]:
        box = ",".join(f"{v:.0f}" for v in instance["box"])
        line = f"  {instance['number']}: {instance['phrase']}  score {instance['score']:.2f}  "
        typer.echo(printable(f"{line}box {box} px  area {instance['area']} px"))
    for phrase, presence in extra.get("presence", {}).items():
        typer.echo(f"  presence of {phrase!r}: {presence:.2f}")
