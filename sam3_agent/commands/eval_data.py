"""Which samples `sam3-agent eval` asks: the options, and reading the benchmark."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sam3_agent.commands.output import print_stderr
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Benchmark, Sample
from sam3_agent.evals.benchmarks import read
from sam3_agent.evals.runner import Shard, select_samples


class Style(StrEnum):
    """The drawing style of scenes."""

    TRAIN = "train"
    HELDOUT = "heldout"


ScoreSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Referring benchmarks: resize masks to this side before they are compared, such as "
        "480 for LAVT's and ReLA's protocol. Default: not resized.",
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """The samples of a run; raises InputError for a shard that is none."""

    data: Annotated[
        Path | None, typer.Option(help="The benchmark's files, as its authors publish them.")
    ] = None
    split: Annotated[str | None, typer.Option(help="Which part of the benchmark.")] = None
    seed: Annotated[int, typer.Option(min=0, help="Seed of the scenes.")] = 0
    style: Annotated[
        Style, typer.Option(help="heldout: scenes in a drawing style that no model trained on.")
    ] = Style.TRAIN
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, max=10**9, help="Only the first LIMIT samples. Default: all; of scenes 200."
        ),
    ] = None
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only every N-th sample, from the I-th on.")
    ] = None
    repeats: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="How often each sample is asked, each time with a new seed."
        ),
    ] = 1
    score_size: ScoreSizeOption = None
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave broken samples out instead of refusing.")
    ] = False

    def __post_init__(self) -> None:
        select_samples([], shard=self._shard())

    def reader_options(self, name: str) -> dict[str, Any]:
        """What `read` takes for this benchmark besides data and split."""
        options: dict[str, Any] = {}
        if name == "scenes":
            options = {"seed": self.seed, "style": self.style.value, "limit": self.limit}
        if self.score_size is not None:
            options["score_size"] = self.score_size
        return options

    def read(self, name: str) -> Benchmark:
        """The benchmark of this name; prints its problems.

        Raises InputError for problems that are not to be skipped, and for no sample at all.
        """
        benchmark = read(name, self.data, self.split, **self.reader_options(name))
        for problem in benchmark.problems:
            print_stderr(f"bad data: {problem}")
        if benchmark.problems and not self.skip_bad:
            raise InputError(
                f"{len(benchmark.problems)} samples of {name} are broken (see above), so nothing "
                "was asked; mend them, or leave them out with --skip-bad"
            )
        if not benchmark.samples:
            raise InputError(f"{name} has no sample here")
        return benchmark

    def choose(self, benchmark: Benchmark) -> list[tuple[int, Sample]]:
        """The samples of this run, each with the key of its row."""
        return select_samples(benchmark.samples, self.limit, self._shard(), self.repeats)

    def _shard(self) -> Shard | None:
        if self.shard is None:
            return None
        first, _, of = self.shard.partition("/")
        if not (first.isdecimal() and of.isdecimal() and len(self.shard) < 30):
            raise InputError(f"--shard is {self.shard!r}; it is I/N, such as 1/4")
        return int(first), int(of)
