"""A run on disk, `run.jsonl`: one header line, then one line for each row, as it is finished.

    {"kind": "run", "format": "sam3-agent run", "version": 1, "config": {...}, "samples": ...}
    {"kind": "row", "index": 17, "id": ..., "pred": ..., ...}
    {"kind": "resumed", "versions": ..., "commit": ...}      when it was resumed with other code
    {"kind": "stopped", "index": 17, "cost": 0.002}          what a sample without a row has cost

Each line is written and synced at once, and counts once its newline is on disk, so that `kill -9`
loses at most the samples in flight. An incomplete last line is cut off on resuming. A later row of
the same index replaces the earlier one. `finish` writes the rows in order.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

from pydantic import ValidationError

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Row
from sam3_agent.evals.file_lock import lock
from sam3_agent.evals.json_io import check_regular, parse_json, validation_text
from sam3_agent.evals.line_file import encoded, replace_file
from sam3_agent.evals.row_record import StoppedCost, row_from_dict, row_to_dict
from sam3_agent.evals.run_header import Header, Resumption, read_header

logger = logging.getLogger(__name__)

FILE_NAME = "run.jsonl"

BEGIN = b'{"kind":"run",'
"""What a run file begins with."""

MAX_LINE = 100_000_000
"""Bytes of a line; a row of 100 masks of 12 megapixels and its conversation has some 5 MB."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run that was read: its rows by their keys (see `runner.select_samples`).

    stopped: by the same keys, what samples have cost in US dollars that were begun and stopped
        since their row, if they have one; None when it is not known.
    """

    path: Path
    header: Header
    rows: Mapping[int, Row]
    stopped: Mapping[int, float | None] = field(default_factory=dict)

    @property
    def ordered(self) -> list[Row]:
        """Returns the rows in the order of the samples."""
        return [self.rows[index] for index in sorted(self.rows)]

    @property
    def usd(self) -> float:
        """Sums the cost of all rows and stopped samples in US dollars, as far as it is known."""
        costs = [*(row.cost for row in self.rows.values()), *self.stopped.values()]
        return sum(cost or 0.0 for cost in costs)


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run that a new one must not overwrite."""
    path = folder / FILE_NAME
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.readline(MAX_LINE).endswith(b"\n")
    except OSError:
        return False


class RunFile:
    """A run that is being written; a context manager that locks the file.

    folder: gets `run.jsonl`. header: that of a new run. resume: keep the rows that are there.
    Raises InputError for a folder that holds a run already (without `resume`), a run of another
    config or of other samples, a broken file, or one that another process is writing.
    """

    def __init__(self, folder: Path, header: Header, *, resume: bool = False) -> None:
        self.path = folder / FILE_NAME
        self.rows: dict[int, Row] = {}
        self.stopped: dict[int, float | None] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                check_regular(self.path)
            # no "x": the file may be there, empty, of a run that was killed before its first line;
            # no buffer, of which a part could be written later when the disk is full
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
        try:
            # before it is read: else two processes could both resume, and ask the same samples
            lock(self._file, self.path)
            self.header = self._begin(header, resume)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, index: int, row: Row) -> None:
        """Writes a row to disk; InputError where that fails, the rows before then being whole."""
        self._write(row_to_dict(index, row))
        self.rows[index] = row
        self.stopped.pop(index, None)

    def append_stopped(self, index: int, cost: float | None) -> None:
        """Writes what a sample has cost that was stopped; it goes into its row's `earlier_cost`."""
        before = self.stopped.get(index, 0.0)
        total = None if cost is None or before is None else before + cost
        self._write(_stopped_line(index, total))
        self.stopped[index] = total

    def finish(self) -> Run:
        """Rewrites the file with the rows in order and each once; returns the run."""
        try:
            self.rewrite()
        except InputError as error:
            # all rows are on disk, only in the order in which they were finished
            logger.warning("%s; its rows stay as they are", error)
        return Run(self.path, self.header, dict(self.rows), dict(self.stopped))

    def rewrite(self) -> None:
        """Writes all rows in order, in place of the file; InputError where that fails."""
        lines = [self.header.model_dump(), *map(_resumed_line, self.header.resumed)]
        lines += [row_to_dict(index, self.rows[index]) for index in sorted(self.rows)]
        lines += [_stopped_line(*one) for one in sorted(self.stopped.items())]
        try:
            replace_file(self.path, lines)
        except OSError as error:
            raise InputError(
                f"cannot write to {self.path.parent}: {error.strerror or error}"
            ) from error

    def _begin(self, header: Header, resume: bool) -> Header:
        with self.path.open("rb") as file:
            read = _parsed(file, self.path)
        if read is None:
            _check_half_header(self.path)
            # nothing but half a header, so nothing that was paid for can be lost
            self._file.truncate(0)
            self._write(header.model_dump())
            return header
        if not resume:
            raise InputError(
                f"{self.path} holds a run already; continue it (--resume) or choose another --out"
            )
        run, end = read
        _check_same(run.header, header, self.path)
        # what is cut off here would otherwise run into the next line that is appended
        self._file.truncate(end)
        self.rows, self.stopped = dict(run.rows), dict(run.stopped)
        # rows of two versions of the code may stand in one file, so it says where the other begins
        now, before = header.made_with(), run.header.resumed or (run.header.made_with(),)
        if now == before[-1]:
            return run.header
        self._write(_resumed_line(now))
        return run.header.model_copy(update={"resumed": (*run.header.resumed, now)})

    def _write(self, line: Mapping[str, Any]) -> None:
        """Writes a line whole or not at all; InputError where the disk is full, or fails."""
        end = self._file.seek(0, os.SEEK_END)
        rest = memoryview(encoded(line))
        try:
            while rest:  # without a buffer a write may take a part
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise InputError(
                f"cannot write to {self.path}: {error.strerror or error}; the rows before are "
                "whole: make room, and continue with --resume"
            ) from error


def read_run(path: Path) -> Run:
    """Reads the run in a folder or file, finished or not; InputError says what is wrong with it."""
    path = path / FILE_NAME if os.path.isdir(path) else path
    try:
        check_regular(path)
        with path.open("rb") as file:
            read = _parsed(file, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if read is None:
        raise InputError(f"{path}: holds no run: it has not one complete line")
    return read[0]


def write_run(run: Run, folder: Path) -> Path:
    """Writes a whole run into a folder that holds none; returns the path of the file."""
    with RunFile(folder, run.header) as file:
        file.rows, file.stopped = dict(run.rows), dict(run.stopped)
        file.rewrite()
        return file.path


def _parsed(file: IO[bytes], path: Path) -> tuple[Run, int] | None:
    """Reads a run, and returns it with the length of its whole lines in bytes.

    None where not even the header is whole: nothing that was paid for can be there.
    """
    header: Header | None = None
    resumed: list[Resumption] = []
    rows: dict[int, Row] = {}
    stopped: dict[int, float | None] = {}
    end = 0
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE + 1), b""), 1):
        if len(line) > MAX_LINE:
            raise InputError(f"{path}, line {number}: is longer than {MAX_LINE} bytes")
        if not line.endswith(b"\n"):
            break  # a process that was killed while it wrote leaves half a line
        try:
            content = _line(line, first=number == 1)
        except InputError as error:
            # only the last line may be broken: in the middle it is damage, and no kill
            broken = isinstance(error.__cause__, json.JSONDecodeError | UnicodeDecodeError)
            if broken and header is not None and not file.read(1):
                break  # after a power failure any bytes may be at the end
            raise InputError(
                f"{path}, line {number}: is no line of a run: {error}; with that line deleted the "
                "others can be read, and --resume asks its sample again"
            ) from error
        try:
            if header is None:
                header = read_header(content, path)
            else:
                _add(content, resumed, rows, stopped)
        except ValidationError as error:
            raise InputError(
                f"{path}, line {number}: is broken: {validation_text(error)}"
            ) from error
        except InputError as error:
            if header is None:
                raise
            raise InputError(f"{path}, line {number}: is broken: {error}") from error
        end += len(line)
    if header is None:
        return None
    return Run(path, header.model_copy(update={"resumed": tuple(resumed)}), rows, stopped), end


def _add(
    content: Mapping[str, Any],
    resumed: list[Resumption],
    rows: dict[int, Row],
    stopped: dict[int, float | None],
) -> None:
    """Adds a line after the header to what was read; raises ValidationError and InputError."""
    if content["kind"] == "resumed":
        resumed.append(Resumption.model_validate(content))
    elif content["kind"] == "stopped":
        cost = StoppedCost.model_validate(content)
        stopped[cost.index] = cost.cost
    else:
        index, row = row_from_dict(content)
        if rows.get(index, row).id != row.id:
            raise InputError(f"row {index} is there with another id, {rows[index].id!r}")
        rows[index] = row
        stopped.pop(index, None)


def _line(line: bytes, first: bool) -> dict[str, Any]:
    """The JSON object of a line; InputError for what is no line of a run."""
    try:
        # an editor may have put a byte order mark before the first line
        content = parse_json(line.decode("utf-8-sig" if first else "utf-8"), finite=True)
    except UnicodeDecodeError as error:
        raise InputError(f"no UTF-8 text: {error.reason}") from error
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind not in ("run", "row", "resumed", "stopped"):
        raise InputError("no object of the kind run, row, resumed or stopped")
    if kind == "run" and not first:
        raise InputError("the header of a second run")
    return dict(content)


def _stopped_line(index: int, cost: float | None) -> dict[str, Any]:
    return {"kind": "stopped", "index": index, "cost": cost}


def _check_half_header(path: Path) -> None:
    """Raises InputError for a file without a whole line that is not the begin of a run."""
    with path.open("rb") as file:
        begin = file.read(2 * len(BEGIN)).replace(b" ", b"")[: len(BEGIN)]
    # after a power failure there may be only NUL bytes
    if not BEGIN.startswith(begin) and begin.strip(b"\0"):
        raise InputError(f"{path} is there already, and is no run: choose another --out")


def _resumed_line(resumption: Resumption) -> dict[str, Any]:
    return {"kind": "resumed", **resumption.model_dump()}


def _check_same(there: Header, wanted: Header, path: Path) -> None:
    if differing := there.differences(wanted):
        raise InputError(
            f"{path} is a run of another config, so it cannot be resumed: {', '.join(differing)}"
        )
    if there.samples != wanted.samples:
        raise InputError(
            f"{path} cannot be resumed: the benchmark's samples have changed since it began"
        )
