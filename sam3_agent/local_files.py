"""Reads files of this machine that may be no files: pipes and devices, which may never end."""

import errno
import os
import stat
from pathlib import Path

MAX_FILE_BYTES = 4_000_000_000
"""Bytes of the largest file that is read whole."""

STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Where the paths of a program's own streams begin, as a shell's `<(...)` has them."""


def home_expanded(path: str | os.PathLike[str]) -> Path:
    """The path with `~` as the home folder; as it is where there is no such user or home."""
    return Path(os.path.expanduser(path))


def read_regular_file(path: Path) -> bytes:
    """The bytes of a file; OSError for a pipe, a device, or more than MAX_FILE_BYTES.

    The null device is an empty file.
    """
    if os.fspath(path) == os.devnull:
        return b""
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # a folder has its error
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file")
    if found.st_size > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_FILE_BYTES / 1e9:g} GB")
    return path.read_bytes()


def read_file_or_stream(path: Path, max_bytes: int) -> bytes:
    """As `read_regular_file`, and also /dev/stdin and its kin, of at most so many bytes."""
    if not os.fspath(path).startswith(STREAMS) or stat.S_ISREG(path.stat().st_mode):
        return read_regular_file(path)
    with path.open("rb") as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes / 1e6:g} MB")
    return content
