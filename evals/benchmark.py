"""The seam between benchmarks and the runner: samples to ask, rows that were answered.

A benchmark reads its authors' files into Samples before anything is asked; the runner turns each
into a Row; the benchmark scores the rows. Rows hold all that a metric or report needs, so nothing
is ever asked twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from sam3_agent.answer import Status
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.rle import RLE

RowStatus: TypeAlias = Status | Literal["failed"]

Interval: TypeAlias = tuple[float, float]
"""The ends of a 95 % interval."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One question about one image, and what is true.

    id: unique in its benchmark, and the same in every run over the same files.
    image: a file, or a function that gives the (H, W, 3) uint8 pixels; read when it is asked.
    truth: the N instances that the query means, none when it means nothing; referring benchmarks
        score their union. None where a benchmark has no masks (boxes or counts are in `about`).
    ignore: pixels that count for nothing, as a compressed RLE of the image's size (ReasonSeg).
    tags: what the report has rows for, such as split, length, kind.
    about: JSON values that the metrics need, such as a count, boxes or the ids of the files.
    """

    id: str
    query: str
    image: Path | Callable[[], Pixels]
    truth: Masks | None
    ignore: RLE | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Row:
    """One sample after it was asked; `id` to `about` are the sample's own.

    pred: the N masks that were answered (boxes, scores, phrases in the same columns); none for a
        failed row and one that could not be answered (`unable`), which every metric counts as
        answered with nothing.
    found: all the masks that were there to choose from.
    text: the answer's words. status: the answer's, or `failed`, and then error says why.
    usage: `Usage.to_dict()`, of a failed row too. messages: the conversation, as
        `Message.to_dict()` each.
    earlier_cost: US dollars that earlier tries at the sample cost, which failed.
    repeat: which time the sample was asked in this run, from 1 on.
    """

    id: str
    query: str
    truth: Masks | None
    ignore: RLE | None
    tags: Mapping[str, str]
    about: Mapping[str, Any]
    pred: Masks
    found: Masks
    text: str
    status: RowStatus
    error: str | None
    usage: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]
    earlier_cost: float = 0.0
    repeat: int = 1

    @property
    def cost(self) -> float | None:
        """US dollars that were spent on the sample; None when a part of it is not known."""
        own: float | None = self.usage.get("cost", 0.0)
        return None if own is None else own + self.earlier_cost


class Dataset(NamedTuple):
    """What published results are of: a set by its name, and its split, None for the whole set."""

    name: str
    split: str | None


class Benchmark(Protocol):
    """Questions with known truth, and the metric that their authors use.

    Made by `sam3_agent.evals.benchmarks.read(name, data, split, **options)`, which checks the
    files: InputError for a folder that is not this benchmark's (it says where to get the data).
    """

    @property
    def name(self) -> str:
        """The name under which it is read."""

    @property
    def dataset(self) -> Dataset | None:
        """The published dataset that the samples are, whole; None for own data or a part."""

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples in the order of the files."""

    @property
    def problems(self) -> Sequence[str]:
        """What is broken and left out, a line each, with file and line (or key)."""

    @property
    def note(self) -> str:
        """What a reader of the numbers must know, such as who scores otherwise; or nothing."""

    def score(self, row: Row) -> float:
        """How well one row was answered, 0..1: its part in the benchmark's mean (an IoU, an F1)."""

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        """The benchmark's metrics over rows (any part of it) by their original names; `n` rows.

        NaN for a metric none of whose samples is among the rows.
        """

    def intervals(self, rows: Sequence[Row]) -> dict[str, Interval]:
        """Bootstrap 95 % intervals of those metrics that have one."""
