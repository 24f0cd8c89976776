"""Counting: "how many" questions, scored by the number of predicted masks.

CountBench (arXiv 2302.12066) as CountBenchQA, a table (parquet) with `image`, `question` ("How many
headsets are there in the image?") and `number` (10); or the table nielsr/countbench, whose `text`
is a caption that names the number. Rows without an image are left out and counted in the note,
as in other work. PixMo-Count (arXiv 2409.17146), a table without images::

    {"image_url": "https://...", "image_sha256": "60bd...", "label": "people", "count": 4}

Its images are expected in `images/`, named by their hash: `images/60bd....jpg`. Your own counts are
a JSON or JSON Lines file of objects with `image` (a path), `question` or `label`, and `count`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.benchmarks.tables import TableRow, find_tables, table_rows
from sam3_agent.evals.dataset_io import collect, folder, image_size
from sam3_agent.evals.json_io import field, json_lines, read_json, text
from sam3_agent.evals.metrics import Tally, counting_tally
from sam3_agent.sanitize import shorten

SOURCE = (
    "clone huggingface.co/datasets/vikhyatk/CountBenchQA (images inside), or "
    "huggingface.co/datasets/allenai/pixmo-count (ODC-BY) and put its images into images/, each "
    "named by its image_sha256; or write a JSON Lines file with image, question and count"
)


def read(data: Path | None = None, split: str | None = None) -> ScoredBenchmark:
    """Reads the table or file in the folder; a split (PixMo has validation, test) names tables."""
    root = folder(data, "counting", SOURCE)
    note = ""
    dataset = None
    if tables := find_tables(root, split):
        rows = list(table_rows(tables, (), SOURCE))
        # rows of CountBench whose image is no longer on the web: nobody has them, so none is broken
        whole = [row for row in rows if row.has_image is not False]
        if not whole:
            raise InputError(f"counting: none of {len(rows)} rows in {root} has an image. {SOURCE}")
        if len(whole) < len(rows):
            note = f"{len(rows) - len(whole)} of {len(rows)} rows have no image and are left out"
        records = _table_samples(whole, root)
        dataset = _dataset(root, split)
    else:
        if split is not None:
            raise InputError(f"counting: {root} has no tables, and so no split {split!r}")
        records = _file_samples(_file(root))
    samples, problems = collect(records)
    return ScoredBenchmark("counting", samples, problems, tally, score, note, dataset)


def _dataset(root: Path, split: str | None) -> Dataset | None:
    """Recognises the published dataset by the name of its folder."""
    place = str(root.resolve()).lower()
    if "countbench" in place:
        return Dataset("countbench", None)
    return Dataset("pixmo-count", split) if re.search("pixmo.?count", place) else None


def tally(rows: Sequence[Row]) -> Tally:
    """Tallies accuracy, within_1, mae and rmse of the number of masks."""
    return counting_tally((len(row.pred), int(row.about["count"])) for row in rows)


def score(row: Row) -> float:
    """Returns 1 for the exact count, else 0."""
    return float(len(row.pred) == row.about["count"])


def _file(root: Path) -> Path:
    if root.is_file():
        return root
    found = sorted([*root.glob("*.json"), *root.glob("*.jsonl")])
    if len(found) != 1:
        raise InputError(
            f"counting: {root} holds {len(found)} JSON files and no table; pass one. {SOURCE}"
        )
    return found[0]


def _table_samples(
    rows: Sequence[TableRow], root: Path
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    folders = [place / "images" for place in (root, root.parent)]
    for row in rows:
        yield row.where, partial(_table_sample, row, folders)


def _table_sample(row: TableRow, folders: Sequence[Path]) -> Sample:
    record = {name: row.get(name) for name in row.columns if name != "points"}
    split = row.path.name.split("-")[0].split(".")[0]
    if row.has_image:
        return _sample(record, f"{split}-{row.number}", row.image, None, split)
    digest = text(record, "image_sha256")
    if not digest.isalnum():  # else it could lead out of the folder
        raise InputError(f"'image_sha256' is {shorten(digest, 80)!r}, and must be a hash")
    for place in folders:
        # named by hash, with whatever suffix they were saved
        for image in sorted(place.glob(f"{digest}*")):
            return _sample(record, f"{split}-{row.number}", image, digest, split)
    raise InputError(f"there is no {folders[0] / digest}.*; it was at {record.get('image_url')}")


def _file_samples(path: Path) -> Iterator[tuple[str, Callable[[], Sample]]]:
    if path.suffix == ".jsonl":
        for number, parse in json_lines(path):
            yield f"{path}:{number}", partial(_line_sample, path, number, parse)
        return
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise InputError(f"{path} holds no list of questions. {SOURCE}")
    for number, record in enumerate(records):
        yield f"{path} [{number}]", partial(_file_sample, path, number, record)


def _line_sample(path: Path, number: int, parse: Callable[[], Any]) -> Sample:
    return _file_sample(path, number, parse())


def _file_sample(path: Path, number: int, record: Any) -> Sample:
    name = field(record, "image", str)
    sample_id = str(record.get("id", number))
    return _sample(record, sample_id, path.parent / name, name, None)


def _sample(
    record: dict[str, Any], sample_id: str, image: Any, name: str | None, split: str | None
) -> Sample:
    if isinstance(image, Path):
        image_size(image)  # raises where it cannot be read
    count = field(record, "count" if "count" in record else "number", int)
    if count < 0:
        raise InputError(f"its count is {count}")
    if record.get("label") is not None:
        query = f"How many {text(record, 'label')} are there in the image?"
    else:
        query = text(record, "question" if record.get("question") is not None else "text")
    return Sample(
        id=sample_id,
        query=query,
        image=image,
        truth=None,
        tags={} if split is None else {"split": split},
        about={"count": count} | ({} if name is None else {"image": name}),
    )
