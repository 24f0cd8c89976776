"""What the eye costs on this machine, side by side with Meta's package where it is installed.

Every row is one piece of work, done by both sides in one run, with the target that it is held to.
CPU seconds are those of the process (`time.process_time`): machines are noisy, so look at ratios.
Weights are random and of full size, so results mean nothing and costs everything.
"""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.errors import InputError
from sam3_agent.evals import ask_bench
from sam3_agent.load import view
from sam3_agent.masks import Masks
from sam3_agent.model.mask_decoding import decode_mask
from sam3_agent.rle import tight_boxes
from sam3_agent.segmenter import ConceptPrompt, Selection

T = TypeVar("T")

PHRASES = ("red car", "dog", "tree", "person", "window", "wheel", "road sign", "cloud")
PHOTO = (1200, 1800)
FULL_HD = (1080, 1920)
FEW = 20
"""Masks that the reference's renderer is given, which takes seconds for them."""

TWELVE_MEGAPIXELS = (3000, 4000)


@dataclass(frozen=True)
class Row:
    """One measured piece of work.

    ours, reference: in `unit`; reference None when Meta's package is not installed. met: whether
    the target holds; None when it cannot be told.
    """

    work: str
    unit: str
    ours: float
    reference: float | None
    target: str
    met: bool | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values, with the ratio reference / ours."""
        ratio = self.reference / self.ours if self.reference and self.ours else None
        return {**asdict(self), "ratio": ratio}


def bench(names: list[str] | None = None, *, masks: int = 100) -> Iterator[Row]:
    """The rows of the named benchmarks, of all when none is named, as they are measured."""
    chosen = names or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise InputError(f"there is no benchmark {unknown[0]!r}; choose: {', '.join(BENCHMARKS)}")
    for name in chosen:
        yield from BENCHMARKS[name](masks)


def _phrases(masks: int) -> Iterator[Row]:
    """Eight phrases on one photo, a second ask, and a moved threshold, at full size, on one core.

    With several threads, CPU time also counts those that wait for the others.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _phrases_on_one_core()
    finally:
        torch.set_num_threads(threads)


def _phrases_on_one_core() -> Iterator[Row]:
    eye = _full_size_segmenter()
    image = _photo(PHOTO)
    encode, features = _cpu(lambda: eye.encode(image))
    # far above what random weights score, so that masks cost nothing on either side
    nothing = Selection(threshold=1.0)
    ask, _ = _cpu(lambda: eye.detect(features, PHRASES, nothing))
    more = [f"{phrase} too" for phrase in PHRASES]
    again, _ = _cpu(lambda: eye.detect(eye.encode(image), more, nothing))
    peer = _peer()
    reference = None
    note = "Meta's package is not installed"
    if peer is not None:
        its_encode, state = _cpu(lambda: peer.encode(image))
        its_ask, _ = _cpu(lambda: peer.detect(state, "red car", 1.0))
        reference = len(PHRASES) * (its_encode + its_ask)
        note = (
            f"ours {encode:.0f} + 8 x {ask / 8:.1f}; the reference encodes for every phrase: "
            f"8 x ({its_encode:.0f} + {its_ask:.1f}), one of the 8 measured"
        )
    yield Row(
        f"{len(PHRASES)} phrases on a photo of {PHOTO[1]}x{PHOTO[0]}",
        "CPU s",
        encode + ask,
        reference,
        "at most 1/4.5 of the reference",
        None if reference is None else encode + ask <= reference / 4.5,
        note,
    )
    yield Row(
        "second ask on the same picture",
        "CPU s",
        again,
        None,
        "no encoder run; at most 1.1 x the phrases",
        eye.encoded == 1 and again <= 1.1 * ask,
        f"{eye.encoded} encoder run; the first 8 phrases took {ask:.1f} s",
    )
    moved, _ = _cpu(lambda: eye.detect(features, more[-1:], Selection(threshold=0.999)))
    yield Row(
        "threshold move",
        "CPU ms",
        1000 * moved,
        None,
        "no forward pass; at most 20 ms",
        moved <= 0.020,
    )


def _numbers(masks: int) -> Iterator[Row]:
    """All candidates of three prompts against the original's, under equal weights."""
    peer = _peer()
    if peer is None:
        yield Row(
            "numbers equal to the original",
            "largest difference",
            float("nan"),
            None,
            "at most 1e-5",
            None,
            "Meta's package is not installed",
        )
        return
    eye = _full_size_segmenter(lambda phrase: {"input_ids": peer.tokens(phrase)})
    peer.take_weights(eye.model.state_dict())
    image = _photo((480, 640))
    features, state = eye.encode(image), peer.encode(image)
    box, other = (64.0, 96.0, 320.0, 384.0), (400.0, 40.0, 600.0, 200.0)
    for what, prompt in {
        "phrase": ConceptPrompt("red car"),
        "phrase and exemplars": ConceptPrompt("red car", (box,), (other,)),
        "exemplar alone": ConceptPrompt("", (box,)),
    }.items():
        eye.detect(features, [prompt], Selection(threshold=1.0))
        ours = features.candidates.get(prompt)
        boxes = [_relative(one, image.shape) for one in (*prompt.positive, *prompt.negative)]
        labels = [True] * len(prompt.positive) + [False] * len(prompt.negative)
        theirs = peer.raw(state, prompt.phrase or "visual", boxes, labels)
        corners = np.array([_corners(one, image.shape) for one in theirs["boxes"]])
        differences = {
            "presence": abs(ours.presence - float(theirs["presence"])),
            "scores": float(np.abs(ours.scores - theirs["scores"]).max()),
            "boxes": float((np.abs(ours.boxes - corners) / max(image.shape)).max()),
            # with random weights logits reach tens: single precision is relative to their size
            "mask logits": float(
                np.abs(ours.logits - theirs["logits"]).max() / np.abs(theirs["logits"]).max()
            ),
        }
        yield Row(
            f"numbers equal to the original: {what}",
            "largest difference",
            max(differences.values()),
            None,
            "at most 1e-5",
            max(differences.values()) <= 1e-5,
            ", ".join(f"{name} {value:.1e}" for name, value in differences.items()),
        )


def _relative(box: Any, shape: tuple[int, ...]) -> list[float]:
    """x0 y0 x1 y1 in pixels to cx cy w h in 0..1."""
    x0, y0, x1, y1 = box
    height, width = shape[:2]
    return [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]


def _corners(box: Any, shape: tuple[int, ...]) -> list[float]:
    """cx cy w h in 0..1 to x0 y0 x1 y1 in pixels."""
    cx, cy, w, h = box
    height, width = shape[:2]
    across, down = (cx - w / 2, cx + w / 2), (cy - h / 2, cy + h / 2)
    return [across[0] * width, down[0] * height, across[1] * width, down[1] * height]


def _masks_to_rle(count: int) -> Iterator[Row]:
    """Low-resolution logits to RLE, and overlap removal by IoM 0.3, at full HD."""
    logits, scores = _blobs(count)
    seconds, rles = _cpu(lambda: [decode_mask(one, FULL_HD) for one in logits])
    found = tuple(rle for rle in rles if rle is not None)
    masks = Masks(FULL_HD, tight_boxes(found), scores, ("",) * len(found), found)
    removal, kept = _cpu(lambda: masks.distinct("iom", 0.3))
    encode_reference = removal_reference = None
    note, removal_note = "Meta's package is not installed", ""
    same = True
    if _peer_installed():
        from sam3_agent.evals import peer

        encode_reference, counts = _cpu(lambda: peer.enlarge_and_encode(logits, FULL_HD))
        its = tuple({"size": list(FULL_HD), "counts": one} for one in counts)
        theirs = Masks(FULL_HD, tight_boxes(its), scores, ("",) * len(its), its)
        iou = np.diag(masks.overlap(theirs))
        removal_reference, stay = _cpu(lambda: peer.remove_overlaps(counts, scores, FULL_HD))
        same = len(stay) == len(kept)
        note = f"least IoU with the reference's masks {iou.min():.5f}"
        removal_note = f"{len(kept)} masks kept, {len(stay)} by the reference"
    total = seconds + removal
    yield Row(
        f"logits to RLE, {count} masks at 1080p",
        "CPU s",
        seconds,
        encode_reference,
        "at most 1/50 of the reference",
        None if encode_reference is None else seconds <= encode_reference / 50,
        note,
    )
    yield Row(
        f"overlap removal, {count} masks at 1080p",
        "CPU s",
        removal,
        removal_reference,
        "at most 1/1000 of the reference",
        None if removal_reference is None else same and removal <= removal_reference / 1000,
        f"{removal_note}; both steps {total:.3f} s".removeprefix("; "),
    )


def _memory(count: int) -> Iterator[Row]:
    """The peak memory that masks of a 12-megapixel photo take, in a process of their own."""
    used = _elsewhere(_peak_of_masks, count)
    yield Row(
        f"{count} masks of a 12-megapixel photo, peak memory",
        "MB",
        used,
        None,
        "at most 300 MB",
        used <= 300,
        "the reference takes 3.3 GiB for every 20 masks (measured once, not in this run)",
    )


def _size(masks: int) -> Iterator[Row]:
    """The peak memory of a process that asks the full-size model for one phrase."""
    used = _elsewhere(_peak_of_full_size)
    yield Row(
        f"full-size model, one phrase on a photo of {PHOTO[1]}x{PHOTO[0]}, peak memory",
        "MB",
        used,
        None,
        "at most 8192 MB",
        used <= 8192,
        "the whole process, from import to masks",
    )


def _ask(masks: int) -> Iterator[Row]:
    """One ask with many candidates, all verified, against a slow stub MLLM."""
    note = "the reference's are those measured once, not in this run"
    for work, unit, ours, reference, target, met in ask_bench.rows():
        yield Row(work, unit, ours, reference, target, met, note)


def _elsewhere(work: Callable[..., float], *arguments: int) -> float:
    """What `work` gives in a fresh process, whose peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _pictures(count: int) -> Iterator[Row]:
    """The picture of numbered masks that a planner is shown, at full HD."""
    logits, scores = _blobs(max(count, FEW))
    rles = tuple(rle for one in logits if (rle := decode_mask(one, FULL_HD)))
    masks = Masks(FULL_HD, tight_boxes(rles), scores[: len(rles)], ("",) * len(rles), rles)
    photo = _photo(FULL_HD)
    view(photo, masks[:1], [1])  # fonts are loaded once
    many, _ = _cpu(lambda: view(photo, masks[:count], range(1, min(count, len(masks)) + 1)))
    yield Row(
        f"picture of {count} masks at 1080p",
        "ms",
        1000 * many,
        None,
        "at most 150 ms for 100 masks",
        many <= 0.150 if count <= 100 else None,
    )
    few, _ = _cpu(lambda: view(photo, masks[:FEW], range(1, FEW + 1)))
    reference = None
    if _peer_installed():
        from sam3_agent.evals import peer

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photo.png"
            Image.fromarray(photo).save(path)
            counts = [rle["counts"] for rle in rles[:FEW]]
            peer.draw(path, counts[:1], masks.boxes[:1])
            reference, _ = _cpu(lambda: peer.draw(path, counts, masks.boxes[:FEW]))
    yield Row(
        f"picture of {FEW} masks at 1080p",
        "CPU s",
        few,
        reference,
        "at most 1/20 of the reference",
        None if reference is None else few <= reference / 20,
        "" if reference else "Meta's package is not installed",
    )


BENCHMARKS: dict[str, Callable[[int], Iterator[Row]]] = {
    "phrases": _phrases,
    "numbers": _numbers,
    "masks": _masks_to_rle,
    "memory": _memory,
    "size": _size,
    "ask": _ask,
    "pictures": _pictures,
}


def _peak_of_masks(count: int) -> float:
    """MB by which decoding and comparing masks raises the peak of this process."""
    logits, scores = _blobs(count)
    before = _peak()
    rles = tuple(rle for one in logits if (rle := decode_mask(one, TWELVE_MEGAPIXELS)))
    masks = Masks(TWELVE_MEGAPIXELS, tight_boxes(rles), scores, ("",) * len(rles), rles)
    masks.distinct("iou", 0.5)
    return _peak() - before


def _peak_of_full_size() -> float:
    """MB that this process has needed at most, after one phrase at full size."""
    eye = _full_size_segmenter()
    eye.detect(eye.encode(_photo(PHOTO)), PHRASES[:1], Selection(threshold=0.0))
    return _peak()


def _peak() -> float:
    """MB that this process has needed at most.

    Not `ru_maxrss` where it can be helped: on Linux a child begins with its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _full_size_segmenter(read: Callable[[str], Any] | None = None) -> Any:
    """SAM 3 as it is released, with random weights; `read` takes the tokenizer's place."""
    import torch
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    from sam3_agent.model.checkpoints import TINY, Checkpoint
    from sam3_agent.model.sam3 import Sam3Segmenter

    torch.manual_seed(0)
    tokenizer: Any = Sam3Processor.from_pretrained(TINY).tokenizer
    if read is not None:
        tokenizer = _Tokens(read)
    processor = SimpleNamespace(image_processor=Sam3ImageProcessor(), tokenizer=tokenizer)
    model = Sam3Model(Sam3Config())
    return Sam3Segmenter(Checkpoint("random", "random", model, processor), device="cpu")


class _Tokens:
    """A tokenizer that reads what another one does."""

    pad_token_id = 0
    model_max_length = 32

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read

    def __call__(self, phrase: str) -> Any:
        return self._read(phrase)


def _peer_installed() -> bool:
    import importlib.util

    return importlib.util.find_spec("sam3") is not None


def _peer() -> Any:
    if not _peer_installed():
        return None
    from sam3_agent.evals.peer import Peer

    return Peer()


def _blobs(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(N, 288, 288) logits of soft-edged ellipses, some overlapping, and (N,) scores.

    The first covers 58 % of the picture, the others 0.1 to 2 %.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:288, :288]
    out = np.empty((count, 288, 288), np.float32)
    for i in range(count):
        cx, cy = rng.uniform(10, 278, 2)
        rx, ry = rng.uniform(4, 24, 2)
        if i == 0:
            cx, cy, rx, ry = 144, 144, 135, 115
        out[i] = 6 * (1 - np.hypot((x - cx) / rx, (y - cy) / ry))
    return out, rng.uniform(0.5, 1.0, count).astype(np.float32)


def _photo(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def _cpu(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result
