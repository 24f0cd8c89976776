"""The interface between benchmarks and the runner: Sample (asked), Row (answered), Benchmark.

A benchmark reads its authors' files into Samples before anything is asked; the runner turns each
Sample into a Row; the benchmark scores the Rows. A Row holds all that a metric or report needs, so
that a run can be scored again without asking a model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from sam3_agent.answer import Status
from sam3_agent.evals.metrics.bootstrap import Interval, Tally
from sam3_agent.images import Pixels, load_image
from sam3_agent.masks import Masks
from sam3_agent.rle import RLE

RowStatus: TypeAlias = Status | Literal["failed"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One query about one image, with its ground truth.

    id: unique in its benchmark, and the same in every run over the same files.
    image: a file, or a function that returns (H, W, 3) uint8 pixels; read when the sample is asked.
    truth: the N target instances, none for a no-target query; referring benchmarks score their
        union. None where the benchmark has no masks (boxes or counts are in `about`).
    ignore: pixels that are not scored, as a compressed RLE of the image's size (ReasonSeg).
    tags: groups that the report has rows for, such as split, length, kind.
    about: JSON values that the metrics need, such as a count, boxes or ids of the files.
    """

    id: str
    query: str
    image: Path | Callable[[], Pixels]
    truth: Masks | None
    ignore: RLE | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def pixels(self) -> Pixels:
        """Reads the image: (H, W, 3) uint8."""
        return load_image(self.image) if isinstance(self.image, Path) else self.image()


@dataclass(frozen=True, eq=False)
class Row:
    """The prediction for one sample; `id` to `about` are the sample's.

    pred: the N predicted masks; none for a failed row and for one that ended `unable`, both of
        which every metric counts as an empty prediction.
    found: all masks that the solver could choose from.
    text: the answer's text. status: the answer's, or `failed`; error then says why.
    usage: `Usage.to_dict()`, also of a failed row. messages: the conversation, as
        `Message.to_dict()` each.
    earlier_cost: US dollars spent on earlier, failed attempts at the sample.
    repeat: how many times the sample was asked in this run up to this row, from 1 on.
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
        """US dollars spent on the sample; None when a part of it is not known."""
        own: float | None = self.usage.get("cost", 0.0)
        return None if own is None else own + self.earlier_cost


class Dataset(NamedTuple):
    """A published dataset by its name, and its split; None for the whole dataset."""

    name: str
    split: str | None


@runtime_checkable
class Benchmark(Protocol):
    """Samples with ground truth, and the metric of their authors.

    Made by `sam3_agent.evals.benchmarks.read(name, data, split, **options)`, which checks the files
    and raises InputError for a folder that does not hold this benchmark. A class that inherits from
    this one gets the defaults given here.
    """

    @property
    def name(self) -> str:
        """The name under which it is read."""
        ...

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples in the order of the files."""
        ...

    @property
    def dataset(self) -> Dataset | None:
        """The published dataset whose samples these are; None for your own data or a part of it."""
        return None

    @property
    def problems(self) -> Sequence[str]:
        """One line for each broken record that is left out, with file and line (or key)."""
        return ()

    @property
    def note(self) -> str:
        """What must be known to compare the numbers, such as other protocols; or nothing."""
        return ""

    def score(self, row: Row, /) -> float:
        """Scores one row in 0..1: its part in the benchmark's mean (an IoU, an F1)."""
        ...

    def metrics(self, rows: Sequence[Row], /) -> dict[str, float]:
        """Computes the metrics over any rows by their original names; `n` is the number of rows.

        NaN for a metric that none of the rows enters.
        """
        ...

    def intervals(self, rows: Sequence[Row], /) -> dict[str, Interval]:
        """Computes bootstrap 95 % confidence intervals of the metrics that have one."""
        ...

    def tally(self, rows: Sequence[Row], /) -> Tally | None:
        """Returns the metrics as a function of sums over rows, which paired differences need.

        None where they are no such function; the mean score is then compared instead.
        """
        return None

    def predictions(self, rows: Sequence[Row], /) -> Mapping[str, Any]:
        """Returns the JSON files that the authors' own evaluator reads, by file name."""
        return {}
