"""Keeps warnings about bytes and text from outside, of which one can bring many, out of the log."""

import contextlib
import warnings
from collections.abc import Iterator

from sam3_agent.fork_safety import fork_safe_lock

_LOCK = fork_safe_lock()


@contextlib.contextmanager
def without_warnings(category: type[Warning] = Warning, module: str = "") -> Iterator[None]:
    """Ignores warnings of a category and a module, whose name begins so; one thread at a time.

    The filters of warnings are those of the whole process, so threads take turns.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=category, module=module)
        yield
