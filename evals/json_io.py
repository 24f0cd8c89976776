"""Reads JSON and JSON Lines files, and checks the fields of their records.

Errors are InputError and say which file, line or field is wrong.
"""

import json
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sam3_agent.errors import InputError

Value = TypeVar("Value")


MAX_VALUE = 1e12
"""The largest coordinate or score of a file."""

MAX_BYTES = 4_000_000_000
"""Bytes of a JSON file; the largest benchmark's has 1.5 GB."""


def check_regular(path: Path) -> None:
    """Raises InputError for a folder, a pipe or a device; OSError where nothing is there."""
    mode = path.stat().st_mode
    # a pipe or a device may never end
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise InputError(f"{path} cannot be read: it is {what}")


def parse_json(text: str, finite: bool = False) -> Any:
    """Parses a JSON text; InputError says what is wrong with it, and where.

    finite: whether NaN and Infinity, which Python reads and JSON has not, are errors.
    """
    try:
        return json.loads(text, parse_constant=_not_finite if finite else None)
    except json.JSONDecodeError as error:
        place = (
            f"line {error.lineno}, column {error.colno}"
            if "\n" in text.strip()
            else (f"column {error.colno}")
        )
        raise InputError(f"not JSON: {error.msg} at {place}") from error
    except RecursionError as error:
        raise InputError("its JSON is nested too deeply") from error
    except ValueError as error:  # a whole number of more than 4300 digits
        raise InputError(f"its JSON holds a number that cannot be read: {error}") from error


def _not_finite(name: str) -> float:
    raise InputError(f"it holds {name}, which is no JSON")


def read_text(path: Path, *fallbacks: str) -> str:
    """Reads a file as UTF-8, or else in one of the `fallbacks` encodings."""
    try:
        check_regular(path)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise InputError(f"{path} has {size} bytes, and at most {MAX_BYTES} are read")
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
    content = read_text(path, *fallbacks)
    try:
        return parse_json(content)
    except InputError as error:
        cause = error.__cause__
        line = f":{cause.lineno}" if isinstance(cause, json.JSONDecodeError) else ""
        raise InputError(f"{path}{line}: {error}") from error


def json_lines(path: Path) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Yields the number of each line that is not blank, and a function that parses it."""
    # not splitlines(), which would also cut a line at U+2028, legal inside a JSON text
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, partial(parse_json, line)


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
    # the text of a number may be longer than Python prints
    if isinstance(value, int) and abs(value) >= 2**63:
        raise InputError(f"{name!r} is a number of more than 63 bits")
    return value


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number, and neither NaN, infinite nor beyond MAX_VALUE."""
    # compared and not converted: a whole number can be too large for any float
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -MAX_VALUE <= value <= MAX_VALUE
    )


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
