"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that refer to one object in a COCO image.

Papers: arXiv 1608.00272 (RefCOCO, RefCOCO+), 1511.02283 (RefCOCOg). In `refcoco/refs(unc).p`, a
pickled list::

    {"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "category_id": 1, "split": "train",
     "file_name": "COCO_train2014_000000581857_16.jpg", "sent_ids": [0, 1],
     "sentences": [{"sent_id": 0, "sent": "the lady with the blue shirt",
                    "raw": "THE LADY WITH THE BLUE SHIRT", "tokens": [...]}, ...]}

and in `refcoco/instances.json`, COCO's annotations with their polygons. Every sentence is a sample.
"""

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Dataset, Row, Sample
from sam3_agent.evals.benchmarks.instances import Instances
from sam3_agent.evals.benchmarks.scored import ScoredBenchmark
from sam3_agent.evals.dataset_io import collect, folder
from sam3_agent.evals.json_io import check_regular, field, text
from sam3_agent.evals.metrics import (
    Overlap,
    Tally,
    mask_overlap,
    refcoco_tally,
    resized_overlap,
)
from sam3_agent.sanitize import shorten

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


PLAIN = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG "
    "LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 "
    "TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT "
    "LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL INST"
).split()
"""The instructions of a pickle of plain values; the last three name a global, and are refused."""


class _PlainUnpickler(pickle._Unpickler):
    """Unpickles lists, dicts, text and numbers; a pickle could run any code by its globals.

    The implementation in Python, not the faster one in C: that reserves memory for as many values
    as a pickle's highest key of a value, of which 10 bytes can make it 64 GB.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in PLAIN)
    }

    # called for each global that a pickle names; without any it can only build plain values
    def find_class(self, module: str, name: str) -> Any:
        raise InputError(f"it loads {module}.{name}, which plain values do not need")


def load_refs(path: Path) -> list[Any]:
    """Reads the list in a pickle file that holds plain values only; runs no code of the file."""
    try:
        check_regular(path)
        # from memory: of a file, as many bytes as a length in it says would be reserved
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        # written by Python 2, whose text is bytes
        refs = _PlainUnpickler(file, encoding="utf-8").load()
    except InputError as error:
        raise InputError(f"{path} is refused: {error}") from error
    except KeyError as error:
        raise InputError(
            f"{path} is refused: it has the instruction {error}, which plain values do not need"
        ) from error
    except Exception as error:  # a broken pickle can raise anything
        why = f"{type(error).__name__}: {shorten(str(error), 200)}"
        what = "is empty" if not path.stat().st_size else f"is no pickle of plain values: {why}"
        raise InputError(f"{path} {what}") from error
    if not isinstance(refs, list) or not refs:
        raise InputError(f"{path} holds no list of references")
    return refs


def of_split(refs: Sequence[Any], split: str, path: Path) -> list[tuple[int, Any]]:
    """Selects the references of a split; testA includes testAB, test includes all of these."""

    def holds(own: Any) -> bool:
        # the rules of REFER's own reader: testA takes all splits of "test..." with an A in the rest
        if not isinstance(own, str):
            return False
        if split in ("train", "val"):
            return own == split
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
        own = [ref.get("split") for ref in refs if isinstance(ref, dict)]
        # a value of another kind may be a list of lists of lists whose text has no end
        known = shorten(", ".join(sorted({one for one in own if isinstance(one, str)})), 200)
        raise InputError(f"{path} has no split {split!r}, only {known}")
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
