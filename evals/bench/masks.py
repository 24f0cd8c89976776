"""Measures masks: from logits to RLE, overlap removal, memory, drawing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_agent.evals.bench import meta_sam3
from sam3_agent.evals.bench.measurement import (
    Measurement,
    cpu_seconds,
    in_new_process,
    noise,
    peak_memory,
)
from sam3_agent.evals.bench.meta_sam3 import meta_sam3_installed
from sam3_agent.masks import Masks
from sam3_agent.model.mask_decoding import decode_mask
from sam3_agent.overlay import view
from sam3_agent.rle import tight_boxes

FULL_HD = (1080, 1920)
TWELVE_MEGAPIXELS = (3000, 4000)
FEW = 20
"""Masks of the drawing that is compared with the reference's."""


def masks_to_rle(count: int) -> Iterator[Measurement]:
    """Measures low-resolution logits to RLE, and overlap removal by IoM 0.3, at full HD."""
    logits, scores = _blobs(count)
    # `nms` takes the masks best first
    best_first = np.argsort(-scores)
    logits, scores = logits[best_first], scores[best_first]
    seconds, rles = cpu_seconds(lambda: [decode_mask(one, FULL_HD) for one in logits])
    found = tuple(rle for rle in rles if rle is not None)
    masks = Masks(FULL_HD, tight_boxes(found), scores, ("",) * len(found), found)
    removal, kept = cpu_seconds(lambda: masks.nms("iom", 0.3))
    encode_reference = removal_reference = None
    note, removal_note = "Meta's package is not installed", ""
    same = True
    if meta_sam3_installed():
        encode_reference, counts = cpu_seconds(
            lambda: meta_sam3.enlarge_and_encode(logits, FULL_HD)
        )
        its = tuple({"size": list(FULL_HD), "counts": one} for one in counts)
        theirs = Masks(FULL_HD, tight_boxes(its), scores, ("",) * len(its), its)
        iou = np.diag(masks.overlap(theirs))
        removal_reference, stay = cpu_seconds(
            lambda: meta_sam3.remove_overlaps(counts, scores, FULL_HD)
        )
        # a removal that is fast and keeps other masks would not be the same work
        same = sorted(stay) == [found.index(rle) for rle in kept.rles]
        note = f"least IoU with the reference's masks {iou.min():.5f}"
        which = "the same masks are" if same else "OTHER masks are"
        removal_note = f"{which} kept: {len(kept)}, {len(stay)} by the reference"
    total = seconds + removal
    yield Measurement(
        f"logits to RLE, {count} masks at 1080p",
        "CPU s",
        seconds,
        encode_reference,
        "at most 1/50 of the reference",
        None if encode_reference is None else seconds <= encode_reference / 50,
        note,
    )
    yield Measurement(
        f"overlap removal, {count} masks at 1080p",
        "CPU s",
        removal,
        removal_reference,
        "at most 1/1000 of the reference",
        None if removal_reference is None else same and removal <= removal_reference / 1000,
        f"{removal_note}; both steps {total:.3f} s".removeprefix("; "),
    )


def memory(count: int) -> Iterator[Measurement]:
    """Measures the peak memory of masks of a 12-megapixel photo, in a process of its own."""
    used = in_new_process(_peak_of_masks, count)
    yield Measurement(
        f"{count} masks of a 12-megapixel photo, peak memory",
        "MB",
        used,
        None,
        "at most 300 MB",
        used <= 300,
        "the reference takes 3.3 GiB for every 20 masks (measured once, not in this run)",
    )


def pictures(count: int) -> Iterator[Measurement]:
    """Measures the drawing of numbered masks for a planner, at full HD."""
    logits, scores = _blobs(max(count, FEW))
    rles = tuple(rle for one in logits if (rle := decode_mask(one, FULL_HD)))
    masks = Masks(FULL_HD, tight_boxes(rles), scores[: len(rles)], ("",) * len(rles), rles)
    photo = noise(FULL_HD)
    view(photo, masks[:1], [1])  # fonts are loaded once
    many, _ = cpu_seconds(lambda: view(photo, masks[:count], range(1, min(count, len(masks)) + 1)))
    yield Measurement(
        f"picture of {count} masks at 1080p",
        "ms",
        1000 * many,
        None,
        "at most 150 ms for 100 masks",
        many <= 0.150 if count <= 100 else None,
    )
    few, _ = cpu_seconds(lambda: view(photo, masks[:FEW], range(1, FEW + 1)))
    reference = None
    if meta_sam3_installed():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photo.png"
            Image.fromarray(photo).save(path)
            counts = [rle["counts"] for rle in rles[:FEW]]
            meta_sam3.draw(path, counts[:1], masks.boxes[:1])
            reference, _ = cpu_seconds(lambda: meta_sam3.draw(path, counts, masks.boxes[:FEW]))
    yield Measurement(
        f"picture of {FEW} masks at 1080p",
        "CPU s",
        few,
        reference,
        "at most 1/20 of the reference",
        None if reference is None else few <= reference / 20,
        "" if reference else "Meta's package is not installed",
    )


def _peak_of_masks(count: int) -> float:
    """Returns the MB by which decoding and comparing masks raises the peak of this process."""
    logits, scores = _blobs(count)
    before = peak_memory()
    rles = tuple(rle for one in logits if (rle := decode_mask(one, TWELVE_MEGAPIXELS)))
    masks = Masks(TWELVE_MEGAPIXELS, tight_boxes(rles), scores, ("",) * len(rles), rles)
    masks.nms("iou", 0.5)
    return peak_memory() - before


def _blobs(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Makes (N, 288, 288) logits of soft-edged ellipses, some overlapping, and (N,) scores.

    The first covers 58 % of the image, the others 0.1 to 2 %.
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:288, :288]
    out = np.empty((count, 288, 288), np.float32)
    for i in range(count):
        cx, cy = rng.uniform(10, 278, 2)
        rx, ry = rng.uniform(4, 24, 2)
        # one mask of half the picture is the worst case for work that is done inside boxes
        if i == 0:
            cx, cy, rx, ry = 144, 144, 135, 115
        out[i] = 6 * (1 - np.hypot((x - cx) / rx, (y - cy) / ry))
    return out, rng.uniform(0.5, 1.0, count).astype(np.float32)
