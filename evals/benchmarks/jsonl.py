"""jsonl: your own images, queries and masks, one JSON object a line.

    {"image": "kitchen.jpg", "query": "what holds the soup?", "masks": [
        {"size": [480, 640], "counts": "PS1..."},          an RLE, COCO's, compressed or not
        [[10, 10], [90, 10], [90, 60]],                    a polygon, or flat: [10, 10, 90, 10, ...]
        [[10, 10, 90, 10, 90, 60], [95, 20, ...]],         several polygons of one instance
        "kitchen_pot.png"                                  an image; what is not black is the mask
    ], "id": "soup", "ignore": "blur.png", "tags": {"kind": "function"}}

Each entry of `masks` is one instance; an empty list means that the query has no target. An instance
without a pixel, such as a black image, is an error, and so is an image with grey values between
black and white (a JPEG). `id` (default "line 12"), `ignore` (one mask) and `tags` are optional.
Paths are relative to the file. Nothing needs to be downloaded.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Row, Sample
from sam3_agent.evals.benchmarks.grefcoco import score, target_overlap
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.dataset_io import collect, folder, image_size
from sam3_agent.evals.json_io import field, json_lines, text
from sam3_agent.evals.mask_io import (
    coco_mask,
    instance,
    masks_of,
    png_mask,
    polygon_mask,
)
from sam3_agent.evals.metrics import (
    ConceptSample,
    Tally,
    concept_tally,
    counting_tally,
    grefcoco_tally,
    joined,
)
from sam3_agent.extras import require
from sam3_agent.geometry import Size
from sam3_agent.rle import RLE, rle_from_record

SOURCE = (
    "write a file of lines such as "
    '{"image": "a.jpg", "query": "the red cup", "masks": [[[10, 10], [90, 10], [90, 60]]]}'
)


def read(data: Path | None = None, split: str | None = None) -> ScoredBenchmark:
    """Reads the file, or the only *.jsonl file of the folder; a split selects by that tag."""
    require("scipy", purpose="the metric of concepts")
    root = folder(data, "jsonl", SOURCE)
    path = _file(root)
    size = cache(image_size)
    samples, problems = collect(_samples(path, size))
    if split is not None:
        samples = [sample for sample in samples if sample.tags.get("split") == split]
        if not samples:
            raise InputError(f'{path} has no line with "tags": {{"split": "{split}"}}')
    return ScoredBenchmark("jsonl", samples, problems, tally, score)


def _file(root: Path) -> Path:
    if root.is_file():
        return root
    found = sorted(root.glob("*.jsonl"))
    if len(found) != 1:
        raise InputError(f"jsonl: {root} holds {len(found)} .jsonl files; pass one of them")
    return found[0]


def tally(rows: Sequence[Row]) -> Tally:
    """Tallies gRefCOCO's metrics of unions, SA-Co's of instances, counting's of their number."""
    truths = [row.truth for row in rows if row.truth is not None]
    pairs = list(zip(rows, truths, strict=True))
    return joined(
        [
            ("", grefcoco_tally([target_overlap(row) for row in rows])),
            ("", concept_tally(ConceptSample(row.pred.overlap(truth)) for row, truth in pairs)),
            ("count_", counting_tally((len(row.pred), len(truth)) for row, truth in pairs)),
        ]
    )


def _samples(
    path: Path, size: Callable[[Path], Size]
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    for number, parse in json_lines(path):
        yield f"{path}:{number}", partial(_sample, path, number, parse, size)


def _sample(
    path: Path, number: int, parse: Callable[[], Any], size: Callable[[Path], Size]
) -> Sample:
    record = parse()
    name, query = field(record, "image", str), text(record, "query")
    image = path.parent / name
    shape = size(image)
    rles = []
    for place, one in enumerate(field(record, "masks", list)):
        try:
            rles.append(instance(_mask(one, shape, path.parent)))
        except InputError as error:
            raise InputError(f"masks[{place}]: {error}") from error
    tags = field(record, "tags", dict) if "tags" in record else {}
    ignore = record.get("ignore")
    return Sample(
        id=str(record.get("id", f"line {number}")),
        query=query,
        image=image,
        truth=masks_of(rles, shape),
        ignore=None if ignore is None else _mask(ignore, shape, path.parent),
        tags={str(key): str(value) for key, value in tags.items()},
        about={"image": name},
    )


def _mask(shape: Any, size: Size, folder: Path) -> RLE:
    if isinstance(shape, str):
        return png_mask(folder / shape, size)
    if isinstance(shape, dict):
        return rle_from_record(shape, size)
    if not isinstance(shape, list) or not shape:
        raise InputError("it is neither an RLE, nor a polygon, nor the name of an image")
    # [[x, y], ...] is one polygon, [[x, y, x, y, x, y], ...] several: the first entry tells which
    first = shape[0]
    if isinstance(first, dict) or (isinstance(first, list) and first and _is_polygon(first)):
        return coco_mask(shape, size)
    return polygon_mask(shape, size)


def _is_polygon(entry: list[Any]) -> bool:
    """Whether an entry of a list is a polygon, not a point of one."""
    return len(entry) > 2 or isinstance(entry[0], list)
