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
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from pydantic import ValidationError

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Row
from sam3_agent.evals.json_io import validation_text
from sam3_agent.evals.run_header import FORMAT, VERSION, Header, Resumption
from sam3_agent.rle import rle_from_record, rle_record
from sam3_agent.serialization import masks_from_record, masks_record

FILE_NAME = "run.jsonl"


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
    try:
        with (folder / FILE_NAME).open("rb") as file:
            return file.readline().endswith(b"\n")
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
            # no "x": the file may be there, empty, of a run that was killed before its first line
            # unbuffered: what could not be written must not be written again on closing
            self._file: IO[bytes] = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
        try:
            # before it is read: else two processes could both resume, and ask the same samples
            _lock(self._file, self.path)
            self.header = self._begin(header, resume)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, index: int, row: Row) -> None:
        """Writes a row to disk."""
        self.rows[index] = row
        self.stopped.pop(index, None)
        self._write(row_to_dict(index, row))

    def append_stopped(self, index: int, cost: float | None) -> None:
        """Writes what a sample has cost that was stopped; it goes into its row's `earlier_cost`."""
        before = self.stopped.get(index, 0.0)
        self.stopped[index] = None if cost is None or before is None else before + cost
        self._write(_stopped_line(index, self.stopped[index]))

    def finish(self) -> Run:
        """Rewrites the file with the rows in order and each once; returns the run."""
        lines = [self.header.model_dump(), *map(_resumed_line, self.header.resumed)]
        lines += [row_to_dict(index, self.rows[index]) for index in sorted(self.rows)]
        lines += [_stopped_line(*one) for one in sorted(self.stopped.items())]
        try:
            _replace(self.path, lines)
        except OSError as error:
            raise _unwritten(self.path, error) from error
        return Run(self.path, self.header, dict(self.rows), dict(self.stopped))

    def _begin(self, header: Header, resume: bool) -> Header:
        self._file.seek(0)
        data = self._file.read()
        # a process that was killed while it wrote leaves half a line, which has no newline yet
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            # nothing but half a header, so nothing that was paid for can be lost
            self._file.truncate(0)
            self._write(header.model_dump())
            return header
        if not resume:
            raise InputError(
                f"{self.path} holds a run already; continue it (--resume) or choose another --out"
            )
        run = _parsed(whole, self.path)
        _check_same(run.header, header, self.path)
        # what is cut off here would otherwise run into the next line that is appended
        self._file.truncate(_end_of_last(whole))
        self.rows, self.stopped = dict(run.rows), dict(run.stopped)
        # rows of two versions of the code may stand in one file, so it says where the other begins
        now, before = header.made_with(), run.header.resumed or (run.header.made_with(),)
        if now == before[-1]:
            return run.header
        self._write(_resumed_line(now))
        return run.header.model_copy(update={"resumed": (*run.header.resumed, now)})

    def _write(self, line: Mapping[str, Any]) -> None:
        begin = self._file.seek(0, os.SEEK_END)
        left = memoryview(_encoded(line))
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(begin)  # half a line, once others follow it, is damage
            raise _unwritten(self.path, error) from error


def read_run(path: Path) -> Run:
    """Reads the run in a folder or file, finished or not; InputError says what is wrong with it."""
    path = path / FILE_NAME if os.path.isdir(path) else path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        raise InputError(f"{path}: holds no run: it has not one complete line")
    return _parsed(whole, path)


def write_run(run: Run, folder: Path) -> Path:
    """Writes a whole run into a folder that holds none; returns the path of the file."""
    with RunFile(folder, run.header) as file:
        file.rows, file.stopped = dict(run.rows), dict(run.stopped)
        return file.finish().path


def _parsed(data: bytes, path: Path) -> Run:
    header: Header | None = None
    resumed: list[Resumption] = []
    rows: dict[int, Row] = {}
    stopped: dict[int, float | None] = {}
    lines = data.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            kind = content["kind"]
        except (ValueError, KeyError, TypeError) as error:
            # only the last line may be broken: in the middle it is damage, and no kill
            if number == len(lines) and header is not None:
                break  # after a power failure any bytes may be at the end
            raise InputError(f"{path}, line {number}: is no line of a run: {error}") from error
        try:
            if header is None:
                header = _header(content, path)
            elif kind == "resumed":
                resumed.append(Resumption.model_validate(content))
            elif kind == "stopped":
                cost = content["cost"]
                stopped[int(content["index"])] = None if cost is None else float(cost)
            else:
                rows[int(content["index"])] = row_from_dict(content)
                stopped.pop(int(content["index"]), None)
        except InputError as error:
            if header is None:
                raise
            raise InputError(f"{path}, line {number}: is broken: {error}") from error
        except ValidationError as error:
            raise InputError(
                f"{path}, line {number}: is broken: {validation_text(error)}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: is broken: {type(error).__name__}: {error}"
            ) from error
    assert header is not None
    return Run(path, header.model_copy(update={"resumed": tuple(resumed)}), rows, stopped)


def _header(content: dict[str, Any], path: Path) -> Header:
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: is no run of sam3-agent eval (its first line says otherwise)")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: is a run of format {content.get('version')}, this is {VERSION}: "
            "use the version of sam3-agent that wrote it, or run it again"
        )
    return Header.model_validate({name: content[name] for name in content if name != "resumed"})


def _resumed_line(resumption: Resumption) -> dict[str, Any]:
    return {"kind": "resumed", **resumption.model_dump()}


def _stopped_line(index: int, cost: float | None) -> dict[str, Any]:
    return {"kind": "stopped", "index": index, "cost": cost}


def _check_same(there: Header, wanted: Header, path: Path) -> None:
    if differing := there.differences(wanted):
        raise InputError(
            f"{path} is a run of another config, so it cannot be resumed: {', '.join(differing)}"
        )
    if there.samples != wanted.samples:
        raise InputError(
            f"{path} cannot be resumed: the benchmark's samples have changed since it began"
        )


def _end_of_last(data: bytes) -> int:
    """Returns the position after the last line, or before it where it is not JSON."""
    begin = data.rfind(b"\n", 0, len(data) - 1) + 1
    try:
        json.loads(data[begin:])
    except ValueError:
        return begin
    return len(data)


def row_to_dict(index: int, row: Row) -> dict[str, Any]:
    """Turns a row into JSON values; `index` is its key in the run."""
    line = {"kind": "row", "index": index, **vars(row)}
    for name in ("pred", "found", "truth"):
        line[name] = None if line[name] is None else masks_record(line[name])
    line["ignore"] = None if row.ignore is None else rle_record(row.ignore)
    for name in ("tags", "about", "usage"):
        line[name] = dict(line[name])
    line["messages"] = [dict(message) for message in row.messages]
    return line


def row_from_dict(line: Mapping[str, Any]) -> Row:
    """Reads the row of a line; raises ValueError, KeyError, TypeError or InputError for another."""
    ignore = None if line["ignore"] is None else rle_from_record(line["ignore"])
    truth = None if line["truth"] is None else masks_from_record(line["truth"])
    pred, found = masks_from_record(line["pred"]), masks_from_record(line["found"])
    # metrics compare these masks by their runs, which means nothing for two sizes
    sizes = {masks.size for masks in (truth, pred, found) if masks is not None}
    if len(sizes) > 1:
        raise ValueError(f"its masks are of different sizes: {sorted(sizes)}")
    return Row(
        id=line["id"],
        query=line["query"],
        truth=truth,
        ignore=ignore,
        tags=dict(line["tags"]),
        about=dict(line["about"]),
        pred=pred,
        found=found,
        text=line["text"],
        status=line["status"],
        error=line["error"],
        usage=dict(line["usage"]),
        messages=tuple(line["messages"]),
        # older runs lack these two fields
        earlier_cost=float(line.get("earlier_cost", 0.0)),
        repeat=int(line.get("repeat", 1)),
    )


def _unwritten(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write to {path}: {error.strerror or error}; its finished rows are kept: make room "
        "and continue with --resume"
    )


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _replace(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a file atomically: at any moment the old or the new one is there, whole."""
    # in the same folder: only within one file system does a rename replace a file in one step
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            for line in lines:
                file.write(_encoded(line))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lock(file: IO[bytes], path: Path) -> None:
    """Locks the file until it is closed or this process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        # the kernel releases it even after kill -9, so that no stale lock file can block a run
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{path} is being written by another process") from error
