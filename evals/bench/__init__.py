"""Measures the cost of segmentation on this machine, and of Meta's package where it is installed.

Every measurement is one piece of work, done by both sides in one run, with its target. CPU seconds
are those of the process (`time.process_time`); machines vary, so compare ratios. Weights are random
and of full size: the masks are meaningless, the costs real.
"""

from collections.abc import Callable, Iterator

from sam3_agent.errors import InputError
from sam3_agent.evals.bench import ask, load, segmenter
from sam3_agent.evals.bench import masks as of_masks
from sam3_agent.evals.bench.measurement import Measurement

BENCHMARKS: dict[str, Callable[[int], Iterator[Measurement]]] = {
    "phrases": segmenter.phrases,
    "numbers": segmenter.numbers,
    "size": segmenter.size,
    "masks": of_masks.masks_to_rle,
    "memory": of_masks.memory,
    "pictures": of_masks.pictures,
    "ask": ask.measurements,
    "load": load.measurements,
}
"""The benchmarks by name; `load` takes a number of calls, the others that of masks or nothing."""


def bench(
    names: list[str] | None = None,
    *,
    masks: int = 100,
    calls: int = 2000,
    on_start: Callable[[str], None] = lambda _: None,
) -> Iterator[Measurement]:
    """Yields the measurements of the named benchmarks, of all when none is named.

    on_start: called with the name of a benchmark before it runs, which may take minutes.
    """
    chosen = names or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise InputError(f"there is no benchmark {unknown[0]!r}; choose: {', '.join(BENCHMARKS)}")
    for name in chosen:
        on_start(name)
        yield from BENCHMARKS[name](calls if name == "load" else masks)
