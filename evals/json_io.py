"""Reads JSON and JSON Lines files, and checks the fields of their records.

Errors are InputError and say which file, line or field is wrong.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sam3_agent.errors import InputError

Value = TypeVar("Value")


def read_text(path: Path, *fallbacks: str) -> str:
    """Reads a file as UTF-8, or else in one of the `fallbacks` encodings."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not raw.strip():
        raise InputError(f"{path} is empty")
    problem: UnicodeDecodeError | None = None
    for encoding in ("utf-8-sig", *fallbacks):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError as error:
            problem = error
    raise InputError(f"{path} is no text: {problem}")


def read_json(path: Path, *fallbacks: str) -> Any:
    """Reads a JSON file; the error names the line."""
    try:
        return json.loads(read_text(path, *fallbacks))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error


def json_lines(path: Path) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Yields the number of each line that is not blank, and a function that parses it."""
    # not splitlines(), which would also cut a line at U+2028, legal inside a JSON text
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, partial(_parse_line, line)


def _parse_line(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} at column {error.colno}") from error


def field(record: Any, name: str, kind: type[Value] | tuple[type[Value], ...]) -> Value:
    """Returns a required field of a record, whose type must be one of `kind`."""
    if not isinstance(record, dict):
        raise InputError(f"it is {type(record).__name__}, and must be an object with {name!r}")
    if name not in record:
        raise InputError(f"{name!r} is missing")
    value = record[name]
    # for Python, though not for JSON, true is a whole number
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(one.__name__ for one in kinds)
        raise InputError(f"{name!r} is {type(value).__name__}, and must be {expected}")
    return value


def validation_text(error: ValidationError) -> str:
    """Describes pydantic's errors in one line, such as "images[0].width: Field required"."""
    return "; ".join(
        f"{_place(one['loc']) or 'it'}: {one['msg']}" for one in error.errors(include_url=False)
    )


def _place(location: Sequence[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).removeprefix(".")


def text(record: Any, name: str) -> str:
    """Returns a required text field, stripped and not empty."""
    value = field(record, name, str).strip()
    if not value:
        raise InputError(f"{name!r} is empty")
    return value
