"""A run on disk: `run.jsonl`, one header line, then one line per row, written as they are finished.

    {"kind": "run", "format": "sam3-agent run", "version": 1, "config": {...}, "samples": ...}
    {"kind": "row", "index": 17, "id": ..., "pred": ..., ...}
    {"kind": "resumed", "versions": ..., "commit": ...}      when it went on with other code

A line counts once its newline is on disk: each is written at once and synced, so that `kill -9`
loses at most what was still being asked. A torn last line is cut off on resuming. A row that comes
again for the same id takes the place of the earlier one. `finish` puts the rows in order.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Row
from sam3_agent.rle import rle_from_record, rle_record
from sam3_agent.serialization import masks_from_record, masks_record

FORMAT = "sam3-agent run"
VERSION = 1
FILE_NAME = "run.jsonl"


@dataclass(frozen=True, eq=False)
class Header:
    """What a run is of.

    config: what decides the rows: benchmark, data, split, strategy, planner, segmenter, effort,
        seed, limit, shard and the like. samples: a digest of all samples. total: rows when done.
    versions, commit: of the code that began it. setup: settings of the models and a hash of the
        prompts, see `setup.setup`. resumed: all three of what went on with it, if other.
    """

    config: Mapping[str, Any]
    samples: str
    total: int
    versions: Mapping[str, str]
    commit: str | None
    began: str
    setup: Mapping[str, Any] = field(default_factory=dict)
    resumed: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The header line as JSON values."""
        kept = {name: value for name, value in vars(self).items() if name != "resumed"}
        return {"kind": "run", "format": FORMAT, "version": VERSION, **kept}


@dataclass(frozen=True, eq=False)
class Run:
    """A run as it was read: its rows by their keys (see `runner.chosen`)."""

    path: Path
    header: Header
    rows: Mapping[int, Row]

    @property
    def ordered(self) -> list[Row]:
        """The rows in the order of the samples."""
        return [self.rows[index] for index in sorted(self.rows)]

    @property
    def usd(self) -> float:
        """What all its rows cost, as far as prices are known."""
        return sum(row.cost or 0.0 for row in self.rows.values())


class RunFile:
    """A run that is being written; a context manager that holds the file for itself.

    folder: gets `run.jsonl`. header: as a new run would have it. resume: go on with the rows that
    are there. Raises InputError for a folder that holds a run already (without `resume`), a run of
    other config or samples, a broken file, or one that another process is writing.
    """

    def __init__(self, folder: Path, header: Header, *, resume: bool = False) -> None:
        self.path = folder / FILE_NAME
        self.rows: dict[int, Row] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # no "x": a file that is there may be empty, of a run that died before its first line
            self._file: IO[bytes] = self.path.open("a+b")
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
        try:
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
        """Put a row on disk."""
        self.rows[index] = row
        self._write(row_to_dict(index, row))

    def finish(self) -> Run:
        """The rows in order and each once, on disk too."""
        lines = [self.header.to_dict(), *({"kind": "resumed", **r} for r in self.header.resumed)]
        lines += [row_to_dict(index, self.rows[index]) for index in sorted(self.rows)]
        _replace(self.path, lines)
        return Run(self.path, self.header, dict(self.rows))

    def _begin(self, header: Header, resume: bool) -> Header:
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            self._file.truncate(0)
            self._write(header.to_dict())
            return header
        if not resume:
            raise InputError(
                f"{self.path} holds a run already; go on with it (--resume) or choose another --out"
            )
        run = _parsed(whole, self.path)
        _check_same(run.header, header, self.path)
        self._file.truncate(_end_of_last(whole))
        self.rows = dict(run.rows)
        now = {
            "versions": header.versions,
            "commit": header.commit,
            "setup": json.loads(json.dumps(header.setup)),
        }
        last = run.header.resumed[-1] if run.header.resumed else vars(run.header)
        if any(last.get(name) != value for name, value in now.items()):
            self._write({"kind": "resumed", **now})
            return Header(**{**vars(run.header), "resumed": (*run.header.resumed, now)})
        return run.header

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(_encoded(line))
        self._file.flush()
        os.fsync(self._file.fileno())


def read_run(path: Path) -> Run:
    """The run in a folder or file, finished or not; InputError says what is wrong with it."""
    path = path / FILE_NAME if path.is_dir() else path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        raise InputError(f"{path}: holds no run: not one whole line is in it")
    return _parsed(whole, path)


def merged(runs: Sequence[Run]) -> Run:
    """The shards of one run as one.

    Raises InputError when they are not of one config and one set of samples, or overlap.
    """
    first = runs[0]
    rows: dict[int, Row] = {}
    for run in runs:
        ours, theirs = ({**r.header.config, "shard": None} for r in (first, run))
        if ours != theirs or run.header.samples != first.header.samples:
            told = _differences(ours, theirs) or ["the samples"]
            raise InputError(
                f"{run.path} is no shard of the run of {first.path}: {', '.join(told)} differ"
            )
        twice = rows.keys() & run.rows.keys()
        if twice:
            raise InputError(
                f"{run.path}: its row {run.rows[min(twice)].id!r} is in another shard, too"
            )
        rows.update(run.rows)
    header = Header(
        **{
            **vars(first.header),
            "config": {**first.header.config, "shard": None},
            "total": sum(run.header.total for run in runs),
        }
    )
    return Run(first.path, header, rows)


def write_run(run: Run, folder: Path) -> Path:
    """Write a whole run into a folder, which must hold none; the path of the file."""
    with RunFile(folder, run.header) as file:
        file.rows = dict(run.rows)
        return file.finish().path


def _parsed(data: bytes, path: Path) -> Run:
    header: Header | None = None
    resumed: list[Mapping[str, Any]] = []
    rows: dict[int, Row] = {}
    for number, line, last in _lines(data):
        try:
            content = json.loads(line)
            kind = content["kind"]
        except (ValueError, KeyError, TypeError) as error:
            if last and header is not None:
                break  # torn: a machine that lost power may leave any bytes at the end
            raise InputError(f"{path}, line {number}: is no line of a run: {error}") from error
        try:
            if header is None:
                header = _header(content, path)
            elif kind == "resumed":
                told = {"versions": content["versions"], "commit": content["commit"]}
                resumed.append({**told, "setup": content.get("setup", {})})
            else:
                rows[int(content["index"])] = row_from_dict(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: is broken: {type(error).__name__}: {error}"
            ) from error
    assert header is not None
    return Run(path, Header(**{**vars(header), "resumed": tuple(resumed)}), rows)


def _header(content: dict[str, Any], path: Path) -> Header:
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: is no run of sam3-agent eval (its first line says otherwise)")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: is a run of format {content.get('version')}, this is {VERSION}: "
            "use the version of sam3-agent that wrote it, or run it again"
        )
    return Header(
        dict(content["config"]),
        str(content["samples"]),
        int(content["total"]),
        dict(content["versions"]),
        content["commit"],
        str(content["began"]),
        dict(content.get("setup", {})),
    )


def _check_same(there: Header, wanted: Header, path: Path) -> None:
    told = _differences(there.config, json.loads(json.dumps(wanted.config)))
    if told:
        raise InputError(
            f"{path} is a run of another config, so it cannot be resumed: {', '.join(told)}"
        )
    if there.samples != wanted.samples:
        raise InputError(
            f"{path} cannot be resumed: the benchmark's samples are others now than they were then"
        )


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*there, *wanted])
    return [
        f"{name} was {there.get(name)!r} and is {wanted.get(name)!r}"
        for name in names
        if there.get(name) != wanted.get(name)
    ]


def _lines(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """The number of each line, the line, and whether it is the last."""
    lines = data.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        yield number, line, number == len(lines)


def _end_of_last(data: bytes) -> int:
    """Where the last line that is JSON ends."""
    begin = data.rfind(b"\n", 0, len(data) - 1) + 1
    try:
        json.loads(data[begin:])
    except ValueError:
        return begin
    return len(data)


def row_to_dict(index: int, row: Row) -> dict[str, Any]:
    """A row's line as JSON values; `index` is its key in the run (see `runner.chosen`)."""
    line = {"kind": "row", "index": index, **vars(row)}
    for name in ("pred", "found", "truth"):
        line[name] = None if line[name] is None else masks_record(line[name])
    line["ignore"] = None if row.ignore is None else rle_record(row.ignore)
    for name in ("tags", "about", "usage"):
        line[name] = dict(line[name])
    line["messages"] = [dict(message) for message in row.messages]
    return line


def row_from_dict(line: Mapping[str, Any]) -> Row:
    """The row of a line; raises ValueError, KeyError or TypeError for one that is none."""
    ignore = None if line["ignore"] is None else rle_from_record(line["ignore"])
    truth = None if line["truth"] is None else masks_from_record(line["truth"])
    pred, found = masks_from_record(line["pred"]), masks_from_record(line["found"])
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
        earlier_cost=float(line.get("earlier_cost", 0.0)),
        repeat=int(line.get("repeat", 1)),
    )


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _replace(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write a file anew so that at any moment the old or the new one is there, whole."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        for line in lines:
            file.write(_encoded(line))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lock(file: IO[bytes], path: Path) -> None:
    """Hold the file until it is closed or this process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{path} is being written by another process") from error
