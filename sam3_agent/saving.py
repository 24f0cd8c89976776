"""Writes files into a folder, each whole or not at all, and checks before whether that will do."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from sam3_agent.errors import InputError
from sam3_agent.local_files import home_expanded

PROBE = b"\0" * 4096
"""What is written to learn whether a folder can be written to: one block of a disk."""


def prepare_folder(folder: Path, *names: str) -> Path:
    """Makes a folder, and refuses one that cannot be written to; returns its path.

    names: patterns of the files that will be written; a folder must not have such a name. Raises
    InputError.
    """
    folder = home_expanded(folder)
    probe = _partial(folder / "probe")
    with _failing(f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        # permissions alone do not tell: the disk may be full, or the file system read-only
        try:
            probe.write_bytes(PROBE)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
        for there in sorted(folder.iterdir()):
            if there.is_dir() and any(fnmatch(there.name, name) for name in names):
                raise InputError(
                    f"cannot write to {folder}: {there.name} in it is a folder, and a file of that "
                    "name would be written; remove it or choose another folder"
                )
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files by their names into a folder; when one cannot be written, none is changed.

    Raises InputError.
    """
    partial = {name: _partial(folder / name) for name in files}
    with _failing(f"nothing was saved in {folder}"):
        try:
            for name, content in files.items():
                partial[name].write_bytes(content)
            for name in files:
                partial[name].replace(folder / name)
        finally:
            for path in partial.values():
                with contextlib.suppress(OSError):
                    path.unlink()


def _partial(path: Path) -> Path:
    """Where a file is until it is whole; another process has another one."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Turns errors of the file system into InputError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{what}: {why}") from error
