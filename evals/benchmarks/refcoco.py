"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that refer to one object in a COCO image.

Papers: arXiv 1608.00272 (RefCOCO, RefCOCO+), 1511.02283 (RefCOCOg). In `refcoco/refs(unc).p`, a
pickled list::

    {"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "category_id": 1, "split": "train",
     "file_name": "COCO_train2014_000000581857_16.jpg", "sent_ids": [0, 1],
     "sentences": [{"sent_id": 0, "sent": "the lady with the blue shirt",
                    "raw": "THE LADY WITH THE BLUE SHIRT", "tokens": [...]}, ...]}

and in `refcoco/instances.json`, COCO's annotations with their polygons. Every sentence is a sample.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.benchmarks.instances import Instances
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.dataset_io import collect, folder
from sam3_agent.evals.json_io import field, text
from sam3_agent.evals.metrics import (
    Overlap,
    Tally,
    mask_overlap,
    refcoco_tally,
    resized_overlap,
)

SOURCE = (
    "get refcoco.zip, refcoco+.zip and refcocog.zip from https://github.com/lichengunc/refer and "
    "train2014 from https://cocodataset.org, unpack them as refcoco/, refcoco+/, refcocog/ and "
    "images/mscoco/images/train2014/ in one folder, and pass that"
)


def read(
    data: Path | None = None,
    split: str | None = None,
    *,
    dataset: str = "refcoco",
    by: str = "unc",
    score_size: int | None = None,
) -> ScoredBenchmark:
    """Reads a split (val by default; testA, testB or test) of a dataset.

    by: the authors of the split, `unc`, `umd` or `google`.
    score_size: the side to which masks are resized before they are compared; see `size_note`.
    """
    name = f"{dataset}-google" if by == "google" else dataset
    root = folder(data, name, SOURCE)
    place = next((p for p in (root / dataset, root) if (p / f"refs({by}).p").exists()), None)
    if place is None:
        raise InputError(f"{name}: there is no refs({by}).p in {root / dataset}. {SOURCE}")
    path = place / f"refs({by}).p"
    refs = load_refs(path)
    chosen = of_split(refs, split or "val", path)
    make = partial(_sample, Instances(place), split or "val")
    samples, problems = collect(sentences(chosen, path, make))
    return ScoredBenchmark(
        name,
        samples,
        problems,
        partial(tally, score_size=score_size),
        partial(score, score_size=score_size),
        size_note(score_size),
        # no published row here is known to be of another size
        Dataset(name, split or "val") if score_size is None else None,
    )


def tally(rows: Sequence[Row], score_size: int | None = None) -> Tally:
    """Tallies cIoU, mIoU and pr@X of the unions."""
    return refcoco_tally([overlap(row, score_size) for row in rows])


def score(row: Row, score_size: int | None = None) -> float:
    """Returns the IoU of the unions."""
    return overlap(row, score_size).iou()


def overlap(row: Row, score_size: int | None = None) -> Overlap:
    """Compares prediction and truth."""
    assert row.truth is not None
    if score_size is None:
        return mask_overlap(row.pred, row.truth, row.ignore)
    return resized_overlap(row.pred.coverage(), row.truth.coverage(), score_size)


def size_note(score_size: int | None) -> str:
    """Describes at which size masks are compared, and which papers use another."""
    if score_size is None:
        return (
            "masks are compared at the size of the image; LAVT, ReLA and what builds on their "
            "code compare them at 480x480 (--score-size 480): do not mix the two in one table"
        )
    return (
        f"masks are resized to {score_size}x{score_size} (nearest pixel) before they are compared, "
        "as LAVT does at 480 (arXiv 2112.02244); ReLA (arXiv 2306.00968) draws the truth's "
        "polygons at 480x480; most MLLM papers since LISA compare at the size of the image"
    )


read_plus = partial(read, dataset="refcoco+")
read_umd = partial(read, dataset="refcocog", by="umd")
read_google = partial(read, dataset="refcocog", by="google")


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, dicts, text and numbers; a pickle could run any code by its globals."""

    # called for each global that a pickle names; without any it can only build plain values
    def find_class(self, module: str, name: str) -> Any:
        raise InputError(f"it loads {module}.{name}, which plain values do not need")


def load_refs(path: Path) -> list[Any]:
    """Reads the list in a pickle file that holds plain values only; runs no code of the file."""
    try:
        with path.open("rb") as file:
            # written by Python 2, whose text is bytes
            refs = _PlainUnpickler(file, encoding="utf-8").load()
    except InputError as error:
        raise InputError(f"{path} is refused: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # a broken pickle can raise anything
        what = "is empty" if not path.stat().st_size else f"is no pickle of plain values: {error}"
        raise InputError(f"{path} {what}") from error
    if not isinstance(refs, list) or not refs:
        raise InputError(f"{path} holds no list of references")
    return refs


def of_split(refs: Sequence[Any], split: str, path: Path) -> list[tuple[int, Any]]:
    """Selects the references of a split; testA includes testAB, test includes all of these."""

    def holds(own: Any) -> bool:
        # the rules of REFER's own reader: testA takes all splits of "test..." with an A in the rest
        if not isinstance(own, str) or split in ("train", "val"):
            return bool(own == split)
        if split == "test":
            return "test" in own
        return own.startswith("test") and split.startswith("test") and split[4:] in own[4:]

    chosen = [
        (number, ref)
        for number, ref in enumerate(refs)
        # what is no object is kept, so that it is reported as a broken record
        if not isinstance(ref, dict) or holds(ref.get("split"))
    ]
    if not chosen:
        known = sorted({str(ref.get("split")) for ref in refs if isinstance(ref, dict)})
        raise InputError(f"{path} has no split {split!r}, only {', '.join(known)}")
    return chosen


def sentences(
    refs: Sequence[tuple[int, Any]], path: Path, make: Callable[[Any, int], Sample]
) -> Iterator[tuple[str, Callable[[], Sample]]]:
    """Yields the place of each sentence in the file, and what makes its sample."""
    for number, ref in refs:
        own = ref.get("sentences") if isinstance(ref, dict) else None
        for place in range(len(own) if isinstance(own, list) else 1):
            yield f"{path} [{number}].sentences[{place}]", partial(make, ref, place)


def _sample(instances: Instances, split: str, ref: Any, place: int) -> Sample:
    own = field(ref, "sentences", list)
    if not own:
        raise InputError("'sentences' is empty")
    image_id, annotation = field(ref, "image_id", int), field(ref, "ann_id", int)
    image, size = instances.image(image_id)
    return Sample(
        id=f"{field(ref, 'ref_id', int)}-{field(own[place], 'sent_id', int)}",
        query=text(own[place], "sent"),
        image=image,
        truth=instances.masks([annotation], image_id, size),
        tags={"split": split},
        about={"image": image.name},
    )
