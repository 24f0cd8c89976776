"""A measurement of the bench, and functions that measure time and memory."""

import multiprocessing
import os
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sam3_agent.geometry import Size

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """One measured piece of work.

    ours, reference: in `unit`; None when it takes Meta's package, and that is not installed. met:
    whether the target is met; None when that is not known.
    """

    work: str
    unit: str
    ours: float | None
    reference: float | None
    target: str
    met: bool | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON values, with the ratio reference / ours."""
        ratio = self.reference / self.ours if self.reference and self.ours else None
        return {**asdict(self), "ratio": ratio}


def cpu_seconds(work: Callable[[], T]) -> tuple[float, T]:
    # not wall time, which other programs on the machine lengthen; CPU time adds up all threads, so
    # that more cores make neither side look cheaper
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def in_new_process(work: Callable[..., float], *arguments: int) -> float:
    """Returns the result of `work` in a new process, whose peak memory is its own."""
    # the peak of a process never falls again, so that of earlier work would hide this one's;
    # "spawn", since a forked child begins with the memory of its parent
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def peak_memory() -> float:
    """Returns the peak memory of this process in MB.

    From /proc where it exists: on Linux `ru_maxrss` of a child begins with its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_memory(pid: int | None = None) -> float:
    """Returns the memory that a process has now, in MB; None for this one."""
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid or os.getpid())], capture_output=True, check=True
    )
    return int(shown.stdout) / 1024


def noise(size: Size) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
