"""gRefCOCO: expressions that refer to several objects, one, or none in a COCO image.

Paper: GRES (arXiv 2306.00968). In `grefs(unc).json`, a list; -1 for no target::

    {"ref_id": 12114, "image_id": 73648, "split": "val", "ann_id": [-1], "category_id": [-1],
     "no_target": true, "sentences": [{"sent_id": 33413, "sent": "two men on the left", ...}]}

and in `instances.json`, COCO's annotations with their polygons. Every sentence is a sample.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.benchmarks.instances import Instances
from sam3_agent.evals.benchmarks.refcoco import of_split, overlap, sentences, size_note
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.dataset_io import collect, folder
from sam3_agent.evals.json_io import field, read_json, text
from sam3_agent.evals.metrics import Tally, TargetOverlap, grefcoco_tally

SOURCE = (
    "get grefs(unc).json and instances.json from https://github.com/henghuiding/gRefCOCO and "
    "train2014 from https://cocodataset.org, unpack them as grefcoco/ and "
    "images/mscoco/images/train2014/ in one folder, and pass that"
)
REFS = "grefs(unc).json"
NO_TARGET = -1


def read(
    data: Path | None = None, split: str | None = None, *, score_size: int | None = None
) -> ScoredBenchmark:
    """Reads a split: val (default), testA, testB. score_size: see `refcoco.size_note`."""
    root = folder(data, "grefcoco", SOURCE)
    place = next((p for p in (root / "grefcoco", root) if (p / REFS).exists()), None)
    if place is None:
        raise InputError(f"grefcoco: there is no {REFS} in {root}. {SOURCE}")
    path = place / REFS
    refs = read_json(path)
    if not isinstance(refs, list) or not refs:
        raise InputError(f"{path} holds no list of references. {SOURCE}")
    chosen = of_split(refs, split or "val", path)
    make = partial(_sample, Instances(place), split or "val")
    samples, problems = collect(sentences(chosen, path, make))
    return ScoredBenchmark(
        "grefcoco",
        samples,
        problems,
        partial(tally, score_size=score_size),
        partial(score, score_size=score_size),
        size_note(score_size),
        Dataset("grefcoco", split or "val") if score_size is None else None,
    )


def tally(rows: Sequence[Row], score_size: int | None = None) -> Tally:
    """Tallies gIoU, cIoU, n_acc, t_acc and pr@X; an empty prediction means "no target"."""
    return grefcoco_tally([target_overlap(row, score_size) for row in rows])


def score(row: Row, score_size: int | None = None) -> float:
    """Returns the row's part in gIoU: the IoU, or whether "no target" is right."""
    one = target_overlap(row, score_size)
    return float(one.pred_is_no_target) if one.truth_is_no_target else one.overlap.iou()


def target_overlap(row: Row, score_size: int | None = None) -> TargetOverlap:
    """Compares prediction and truth, and says which of them is empty."""
    assert row.truth is not None
    pred_is_empty = not row.pred.areas().any()
    return TargetOverlap(overlap(row, score_size), pred_is_empty, not len(row.truth))


def _sample(instances: Instances, split: str, ref: Any, place: int) -> Sample:
    own = field(ref, "sentences", list)
    if not own:
        raise InputError("'sentences' is empty")
    image_id = field(ref, "image_id", int)
    ids = field(ref, "ann_id", list)
    if not all(isinstance(number, int) for number in ids):
        raise InputError(f"'ann_id' is {ids}, and must hold whole numbers")
    absent = ids == [NO_TARGET]
    # both fields say it, and a record in which they differ has no known truth
    if ref.get("no_target", absent) is not absent or not ids:
        raise InputError(f"'no_target' is {ref.get('no_target')}, but 'ann_id' is {ids}")
    image, size = instances.image(image_id)
    truth = instances.masks([] if absent else ids, image_id, size)
    kind = "no target" if absent else "one" if len(ids) == 1 else "several"
    return Sample(
        id=f"{field(ref, 'ref_id', int)}-{field(own[place], 'sent_id', int)}",
        query=text(own[place], "sent"),
        image=image,
        truth=truth,
        tags={"split": split, "kind": kind},
        about={"image": image.name},
    )
