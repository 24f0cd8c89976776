"""Locks a file for one process at a time."""

import logging
import os
from pathlib import Path
from typing import IO, Any

from sam3_agent.errors import InputError

logger = logging.getLogger(__name__)

WINDOWS_PLACE = 2**62
"""The byte that is locked on Windows, where others cannot read what is locked: behind any end."""


def lock(file: IO[Any], path: Path) -> None:
    """Locks an open file until it is closed or this process ends.

    The system releases it even after kill -9, so that no stale lock can be left. Raises InputError
    when another process has locked it, or has replaced the file since it was opened.
    """
    try:
        _lock(file)
    except (BlockingIOError, PermissionError) as error:
        raise InputError(f"{path} is being written by another process") from error
    except OSError as error:
        # such as a network file system without locks
        logger.warning("%s cannot be locked (%s): let no other process write it", path, error)
    try:
        same = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        same = False
    # a run that is finished replaces its file: what is written to the old one would be lost
    if not same:
        raise InputError(f"{path} has just been replaced by another process: try again")


def _lock(file: IO[Any]) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        system: Any = msvcrt  # has these functions on Windows alone
        file.seek(WINDOWS_PLACE)
        system.locking(file.fileno(), system.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
