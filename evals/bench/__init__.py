"""What the eye costs on this machine, side by side with Meta's package where it is installed.

Every row is one piece of work, done by both sides in one run, with the target that it is held to.
CPU seconds are those of the process (`time.process_time`): machines are noisy, so look at ratios.
Weights are random and of full size, so results mean nothing and costs everything.
"""

from collections.abc import Callable, Iterator

from sam3_agent.errors import InputError
from sam3_agent.evals.bench import ask, segmenter
from sam3_agent.evals.bench import masks as of_masks
from sam3_agent.evals.bench.measurement import Measurement

BENCHMARKS: dict[str, Callable[[int], Iterator[Measurement]]] = {
    "phrases": segmenter.phrases,
    "numbers": segmenter.numbers,
    "size": segmenter.size,
    "masks": of_masks.masks_to_rle,
    "memory": of_masks.memory,
    "pictures": of_masks.pictures,
    "ask": ask.rows,
}
"""What can be measured; each takes the number of masks where that matters."""


def bench(names: list[str] | None = None, *, masks: int = 100) -> Iterator[Measurement]:
    """The rows of the named benchmarks, of all when none is named, as they are measured."""
    chosen = names or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise InputError(f"there is no benchmark {unknown[0]!r}; choose: {', '.join(BENCHMARKS)}")
    for name in chosen:
        yield from BENCHMARKS[name](masks)
