"""Rows as JSON values: what a line of `run.jsonl` holds, and the checks of what is read back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Row, RowStatus, Sample
from sam3_agent.evals.json_io import validation_text
from sam3_agent.masks import Masks
from sam3_agent.rle import rle_from_record, rle_record
from sam3_agent.serialization import masks_from_record, masks_record

MAX_NUMBER = 1e15
"""The largest cost, time or count of a row."""


Dollars: TypeAlias = Annotated[float, Field(ge=0, le=MAX_NUMBER, allow_inf_nan=False)]


class StoppedCost(BaseModel):
    """What a sample has cost that was stopped; None when it is not known. index: its row's key."""

    model_config = ConfigDict(strict=True)

    index: Annotated[int, Field(ge=0)]
    cost: Dollars | None


class _Fields(BaseModel):
    """The fields of a row without its masks; older runs lack the last two."""

    model_config = ConfigDict(strict=True)

    index: Annotated[int, Field(ge=0)]
    id: str
    query: str
    tags: dict[str, str]
    about: dict[str, Any]
    text: str
    status: RowStatus
    error: str | None
    usage: dict[str, Any]
    messages: list[dict[str, Any]]
    earlier_cost: Dollars = 0.0
    repeat: Annotated[int, Field(ge=1)] = 1

    @field_validator("usage")
    @classmethod
    def _check_numbers(cls, usage: dict[str, Any]) -> dict[str, Any]:
        for name, value in usage.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                if not abs(value) <= MAX_NUMBER:  # nor NaN
                    raise ValueError(f"{name} is no number up to {MAX_NUMBER:g}")
            elif name in ("cost", "seconds", "turns") and value is not None:
                raise ValueError(f"{name} is {type(value).__name__}, and must be a number")
        return usage


def row_to_dict(index: int, row: Row) -> dict[str, Any]:
    """Turns a row into JSON values; `index` is its key in the run."""
    line = {"kind": "row", "index": index, **vars(row)}
    for name in ("pred", "found", "truth"):
        line[name] = None if line[name] is None else masks_record(line[name])
    line["ignore"] = None if row.ignore is None else rle_record(row.ignore)
    for name in ("tags", "about", "usage"):
        line[name] = dict(line[name])
    line["messages"] = [dict(message) for message in row.messages]
    return line


def row_from_dict(line: Mapping[str, Any]) -> tuple[int, Row]:
    """Reads and checks a `row_to_dict`: its key in the run, and the row.

    InputError says what is wrong with it.
    """
    try:
        fields = _Fields.model_validate(dict(line))
    except ValidationError as error:
        raise InputError(validation_text(error)) from error
    masks = {name: _masks(line, name) for name in ("truth", "pred", "found")}
    pred, found = masks["pred"], masks["found"]
    if pred is None or found is None:
        raise InputError("pred or found is missing")
    ignore = None if line.get("ignore") is None else rle_from_record(line["ignore"])
    # metrics compare these masks by their runs, which means nothing for two sizes
    sizes = {one.size for one in masks.values() if one is not None}
    if ignore is not None:
        sizes.add((ignore["size"][0], ignore["size"][1]))
    # a row that failed before its image was read has masks of no size
    if len(sizes - {(0, 0)}) > 1:
        raise InputError(f"its masks are of different sizes: {sorted(sizes)}")
    row = Row(
        truth=masks["truth"],
        ignore=ignore,
        pred=pred,
        found=found,
        **fields.model_dump(exclude={"index", "messages"}),
        messages=tuple(fields.messages),
    )
    return fields.index, row


def _masks(line: Mapping[str, Any], name: str) -> Masks | None:
    record = line.get(name)
    try:
        return None if record is None else masks_from_record(record)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def check_rows(
    rows: Mapping[int, Row],
    samples: Sequence[tuple[int, Sample]],
    path: Path,
    repeats_after: int | None = None,
) -> None:
    """Raises InputError for a row of the run in `path` that is not about its sample.

    samples: each with the key of its row. repeats_after: the keys of a sample that is asked again
    differ by this number; None where all keys are in `samples`.
    """
    of = dict(samples)
    for index, row in rows.items():
        sample = of.get(index % repeats_after if repeats_after else index)
        if sample is None:
            raise InputError(
                f"{path}: its row {index} ({row.id!r}) is of none of the run's {len(of)} samples; "
                "it is of another run or damaged: delete that line"
            )
        differing = [name for name, same in _compared(row, sample).items() if not same]
        if differing:
            raise InputError(
                f"{path}: its row {index} ({row.id!r}) is not of the sample {sample.id!r}: "
                f"{', '.join(differing)} differ; it is of another run or damaged: delete that line"
            )


def _compared(row: Row, sample: Sample) -> dict[str, bool]:
    """Whether each field that a metric reads is the sample's."""
    return {
        "id": row.id == sample.id,
        "tags": dict(row.tags) == dict(sample.tags),
        # JSON makes lists of tuples
        "about": row.about == plain(sample.about),
        "truth": _same_masks(row.truth, sample.truth),
        "ignore": row.ignore == sample.ignore,
    }


def _same_masks(first: Masks | None, second: Masks | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.size == second.size and first.rles == second.rles


def plain(value: Any) -> Any:
    """JSON values as they are read back from a file: tuples as lists, names as text."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
