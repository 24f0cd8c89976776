"""The folders of a training run: checked before training, used by one run at a time."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sam3_agent.errors import InputError

FREE_BYTES = 500_000_000
"""What a run needs on the disk: its state is written beside the one before (60 MB at the default
sizes), and the log and the export grow."""

EXPORTED = ("config.json", "model.safetensors", "tokenizer.json", "vocabulary.json")


@contextmanager
def run_folder(folder: Path, files: tuple[str, ...] = ("state.pt", "log.jsonl")) -> Iterator[None]:
    """Makes a folder that is written to inside, for no other run meanwhile.

    files: names of files that will be written. Raises InputError for a folder that cannot be
    written to, has too little space, or is used by another run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    for name in files:
        if (folder / name).is_dir():
            raise InputError(f"cannot write {folder / name}: it is a folder; take it away")
    if free < FREE_BYTES:
        raise InputError(
            f"the disk of {folder} has {free // 10**6} MB free, training needs "
            f"{FREE_BYTES // 10**6} MB"
        )
    with _locked(folder):
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a lock on a folder, which ends with the process at the latest.

    Where the system has no such locks (Windows), nothing is locked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InputError(
            f"another training writes to {folder}: wait for it, or take another folder"
        ) from error
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)
