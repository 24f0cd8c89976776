"""Opens files below a folder, and nothing outside of it, for callers who are not trusted.

A path is judged by its text first: what leads out of the folder, even if it comes back, is refused
before any file is touched, so that the answer does not depend on what exists outside. Then it is
opened part by part, and a link is followed only as far as its own text stays inside.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath

MAX_LINKS = 40
"""Links that are followed in one path, as in Linux."""

_NO_FOLLOW, _DIRECTORY = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_DIRECTORY", 0)
_FOLDER = os.O_RDONLY | _NO_FOLLOW | _DIRECTORY

# O_NONBLOCK: opening a pipe, should the file just have become one, must not wait for its writer
_FILE = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class OutsideError(Exception):
    """The path leads out of the folder."""


def open_below(root: Path, path: PurePath) -> int:
    """A descriptor of the regular file at a path, which is absolute or relative to the root.

    Raises OutsideError, IsADirectoryError for a folder, and OSError or ValueError for what cannot
    be opened or is no regular file.
    """
    base = root.resolve(strict=True)
    bases = (base, Path(os.path.abspath(root)))
    parts = _normal(_inside(path, bases))
    if os.open not in os.supports_dir_fd:  # Windows
        return _open_resolved(base, parts)
    opened = [os.open(base, os.O_RDONLY | _DIRECTORY)]
    try:
        return _open_parts(opened, parts, bases)
    finally:
        for folder in opened:
            os.close(folder)


def _inside(path: PurePath, bases: Sequence[Path]) -> tuple[str, ...]:
    """The parts of a path below the folder, of which any spelling in `bases` is known."""
    if not path.anchor:
        return path.parts
    for base in bases:
        if path.is_relative_to(base):
            return path.relative_to(base).parts
    raise OutsideError


def _normal(parts: Sequence[str]) -> list[str]:
    """The parts without "..", which may not lead out of the folder at any point."""
    normal: list[str] = []
    for part in parts:
        if part != "..":
            normal.append(part)
        elif normal:
            normal.pop()
        else:
            raise OutsideError
    return normal


def _open_parts(opened: list[int], parts: Sequence[str], bases: Sequence[Path]) -> int:
    """The descriptor of a file; `opened` gets those of the folders on the way, the root's first."""
    left, links = [*reversed(parts)], 0
    while left:
        part = left.pop()
        if part == "..":  # in a link
            if len(opened) == 1:  # it may come back: that its text says
                around = os.path.normpath(bases[0].joinpath("..", *reversed(left)))
                left = [*reversed(_inside(PurePath(around), bases))]
            else:
                os.close(opened.pop())
            continue
        mode = os.stat(part, dir_fd=opened[-1], follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            links += 1
            if links > MAX_LINKS:
                raise OSError("too many links")
            target = PurePath(os.readlink(part, dir_fd=opened[-1]))
            if target.is_absolute():
                target = PurePath(os.path.normpath(target))
                while len(opened) > 1:
                    os.close(opened.pop())
            left += reversed(_inside(target, bases))
        elif left:
            # not followed: what is a link now was a folder before
            opened.append(os.open(part, _FOLDER, dir_fd=opened[-1]))
        elif stat.S_ISREG(mode):
            return os.open(part, _FILE, dir_fd=opened[-1])
        elif not stat.S_ISDIR(mode):
            raise OSError("no regular file")
    raise IsADirectoryError


def _open_resolved(base: Path, parts: Sequence[str]) -> int:
    path = base.joinpath(*parts).resolve(strict=True)
    if not path.is_relative_to(base):
        raise OutsideError
    return os.open(path, _FILE)
