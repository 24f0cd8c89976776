"""Records: what the loaders of benchmarks read out of files, with errors that say where and what.

A file that cannot be this benchmark's raises InputError; a record that is broken becomes a line of
`problems`, and the others go on.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image, UnidentifiedImageError

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Sample

Value = TypeVar("Value")

TURNED = range(5, 9)
"""The EXIF orientations that swap width and height."""


def folder(data: Path | None, benchmark: str, source: str) -> Path:
    """The folder (or file) that holds a benchmark; InputError says where to get the data."""
    if data is None:
        raise InputError(f"{benchmark} needs --data: {source}")
    if not data.exists():
        raise InputError(f"{benchmark}: there is nothing at {data}. {source}")
    return data


def collect(
    records: Iterable[tuple[str, Callable[[], Sample]]],
) -> tuple[list[Sample], list[str]]:
    """The samples that are whole, and a line for each that is not or whose id is taken.

    A record is where it stands, and what makes its sample or raises InputError. InputError when not
    one is whole: then the file is another benchmark's, or the pictures are elsewhere.
    """
    samples: dict[str, Sample] = {}
    problems = []
    for where, make in records:
        try:
            sample = make()
        except InputError as error:
            problems.append(f"{where}: {error}")
            continue
        if sample.id in samples:
            problems.append(f"{where}: the id {sample.id!r} is there twice")
        samples.setdefault(sample.id, sample)
    if problems and not samples:
        raise InputError(f"none of {len(problems)} records can be used; the first: {problems[0]}")
    return list(samples.values()), problems


def read_text(path: Path, *fallbacks: str) -> str:
    """A file that is UTF-8, or else in one of the other encodings; InputError otherwise."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not raw.strip():
        raise InputError(f"{path} is empty")
    for encoding in ("utf-8-sig", *fallbacks):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError as error:
            problem = error
    raise InputError(f"{path} is no text: {problem}")


def read_json(path: Path, *fallbacks: str) -> Any:
    """A JSON file; InputError names the line that is none."""
    try:
        return json.loads(read_text(path, *fallbacks))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error


def json_lines(path: Path) -> Iterator[tuple[int, Callable[[], Any]]]:
    """The number of each line that is not blank, and what reads it or raises InputError."""

    def parse(line: str) -> Any:
        try:
            return json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"not JSON: {error.msg} at column {error.colno}") from error

    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, lambda line=line: parse(line)  # type: ignore[misc]


def field(record: Any, name: str, kind: type[Value] | tuple[type[Value], ...]) -> Value:
    """A field that must be there and be of a kind."""
    if not isinstance(record, dict):
        raise InputError(f"it is {type(record).__name__}, and must be an object with {name!r}")
    if name not in record:
        raise InputError(f"{name!r} is missing")
    value = record[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        wanted = " or ".join(one.__name__ for one in kinds)
        raise InputError(f"{name!r} is {type(value).__name__}, and must be {wanted}")
    return value


def text(record: Any, name: str) -> str:
    """A field of text that says something, without the blanks around it."""
    value = field(record, name, str).strip()
    if not value:
        raise InputError(f"{name!r} is empty")
    return value


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of a picture as it is shown (EXIF turned), from its header."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(0x0112) in TURNED
    except FileNotFoundError as error:
        raise InputError(f"there is no image {path}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no image that can be read: {error}") from error
    return (width, height) if turned else (height, width)


def check_size(path: Path, size: tuple[int, int], found: tuple[int, int]) -> None:
    """InputError when a picture has not the (height, width) of its annotation."""
    if size != found:
        raise InputError(
            f"{path} is {found[1]}x{found[0]} pixels, annotated as {size[1]}x{size[0]}"
        )
