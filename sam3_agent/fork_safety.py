"""Locks that a forked worker process can go on using."""

import os
import threading
import weakref
from typing import Any


def fork_safe_lock() -> Any:
    """Makes a reentrant lock that no other thread holds while the process forks.

    Only the thread that forks lives on in the child, so a lock that another one held would never be
    released there, and what it protects may be half done: a model in the middle of a forward pass.
    """
    lock = threading.RLock()
    _LOCKS.add(lock)
    return lock


_LOCKS: "weakref.WeakSet[Any]" = weakref.WeakSet()
_held: list[Any] = []


def _acquire_all() -> None:
    # no thread holds one of these locks while it waits for another, so the order does not matter
    for lock in list(_LOCKS):
        lock.acquire()
        _held.append(lock)


def _release_all() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):  # not on Windows, where no process forks
    os.register_at_fork(
        before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all
    )
