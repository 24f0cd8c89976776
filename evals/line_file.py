"""Writes files of JSON lines, each line or the whole file at once."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def encoded(line: Mapping[str, Any]) -> bytes:
    """A line of JSON in ASCII, with its newline."""
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def replace_file(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a file atomically: at any moment the old or the new one is there, whole.

    Raises OSError, and leaves nothing else behind.
    """
    # in the same folder: only within one file system does a rename replace a file in one step
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            for line in lines:
                file.write(encoded(line))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
