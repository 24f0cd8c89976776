"""What commands print: progress on stderr, results on stdout, and the exit code of an error."""

import errno
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from sam3_agent.answer import Answer
from sam3_agent.commands.interrupts import INTERRUPTED
from sam3_agent.errors import InputError, ModelError
from sam3_agent.sanitize import printable

logger = logging.getLogger(__name__)

CLOSED_PIPE = 128 + 13
"""The exit code when the reader of stdout has closed it: 141, as shells count SIGPIPE."""


class ProgressConsole(Console):
    """Prints progress; goes silent when nobody takes it any more, and never ends the program."""

    def on_broken_pipe(self) -> None:
        """Prints nothing from now on."""
        self.go_silent()

    def go_silent(self) -> None:
        """Prints nothing from now on, not even what is still buffered."""
        self.quiet = True
        discard(sys.stderr, 2)


stderr = ProgressConsole(stderr=True, highlight=False)


class StdoutError(Exception):
    """A result that could not be printed; its cause is the OSError."""


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Prints an error in one line and exits: with 2 for bad input, with 3 for a failed model.

    Ctrl-C ends with 130; a closed pipe as stdout with 141, as a shell counts SIGPIPE.
    """
    try:
        yield
    except KeyboardInterrupt:
        print_stderr("stopped")
        raise typer.Exit(INTERRUPTED) from None
    except (StdoutError, BrokenPipeError) as error:
        raise typer.Exit(_unprinted(error.__cause__ or error)) from None
    except (InputError, ModelError) as error:
        print_stderr(f"error: {error}")
        raise typer.Exit(2 if isinstance(error, InputError) else 3) from None
    except OSError as error:  # a full disk and its kin, wherever it is met
        logger.info("", exc_info=error)
        print_stderr(f"error: {error}")
        raise typer.Exit(2) from None


def print_stderr(line: str) -> None:
    """Prints progress, a warning or an error; where that fails, nothing."""
    try:
        # neither markup such as [bold] nor the name of an emoji: the line may quote a file or model
        stderr.print(printable(line), markup=False, emoji=False, soft_wrap=True)
    except OSError:  # such as a full disk: no reason to lose an answer
        stderr.go_silent()


def print_stdout(line: str) -> None:
    """Prints a line of the result, without escape codes of a file or model.

    Raises StdoutError when it cannot be printed.
    """
    try:
        if sys.stdout is None:  # closed by the shell, as by `>&-`
            raise OSError(errno.EBADF, "it is closed")
        typer.echo(printable(line))
    except OSError as error:
        raise StdoutError from error


def print_json(value: Any) -> None:
    """Prints one JSON object on stdout; ValueError for NaN, which JSON has not."""
    print_stdout(json.dumps(value, allow_nan=False))


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
    """Prints an answer, then saves it in the folder `out`; extra: more fields of its JSON.

    When one of the two fails the other is done nevertheless: the answer was paid for.
    """
    code = 0
    try:
        if as_json:
            print_json({**answer.to_dict(), **(extra or {})})
        else:
            print_stdout("\n".join(_lines(answer, extra or {})))
    except StdoutError as error:
        code = _unprinted(error.__cause__)
    if out is not None:
        folder = answer.save(out)
        print_stderr(f"wrote {len(answer.masks)} masks, answer.json and {folder / 'overlay.png'}")
    if code:
        raise typer.Exit(code)


def _lines(answer: Answer, extra: dict[str, Any]) -> Iterator[str]:
    """An answer as lines to read."""
    yield answer.text
    if answer.status != "answered":
        yield f"status: {answer.status}"
    for instance in answer.to_dict()["instances"]:
        box = ",".join(f"{v:.0f}" for v in instance["box"])
        line = f"  {instance['number']}: {instance['phrase']}  score {instance['score']:.2f}  "
        yield f"{line}box {box} px  area {instance['area']} px"
    for phrase, presence in extra.get("presence", {}).items():
        yield f"  presence of {phrase!r}: {presence:.2f}"


def _unprinted(why: BaseException | None) -> int:
    """Reports why stdout takes nothing, and gives it up; returns the exit code."""
    if sys.stdout is not None:
        discard(sys.stdout, 1)
    if isinstance(why, BrokenPipeError):  # the reader had enough, as `| head` has
        return CLOSED_PIPE
    reason = getattr(why, "strerror", None) or why
    print_stderr(f"error: the result could not be printed on stdout: {reason}")
    return 2


def discard(stream: Any, descriptor: int) -> None:
    """Sends what a standard stream still holds, and all that follows, nowhere.

    Python would otherwise fail to write it when the program ends.
    """
    if stream is getattr(sys, f"__{stream.name.strip('<>')}__", None):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
