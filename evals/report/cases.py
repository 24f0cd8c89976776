"""Single samples as a report shows them: images, texts, the whole conversation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from sam3_agent.errors import Sam3AgentError
from sam3_agent.evals.benchmark import Row, Sample
from sam3_agent.geometry import Size
from sam3_agent.image_encoding import encode_jpeg
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.overlay import draw_masks
from sam3_agent.rle import BoolArray

SIDE = 560
"""The longer side of an image, in pixels."""

TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = (0, 158, 115), (213, 94, 0), (86, 180, 233)
"""Colours of true positive, false positive and false negative pixels, safe for colour blindness."""


def case(row: Row, sample: Sample | None, score: float, failure: str | None) -> dict[str, Any]:
    """Makes the content of one case; images are data URLs, none where the image cannot be read."""
    return {
        "id": row.id,
        "query": row.query,
        "tags": dict(row.tags),
        "score": score,
        "failure": failure,
        "status": row.status,
        "text": row.text,
        "error": row.error,
        "answered": len(row.pred),
        "meant": None if row.truth is None else len(row.truth),
        "seconds": row.usage.get("seconds"),
        "cost": row.usage.get("cost"),
        "turns": row.usage.get("turns"),
        "pictures": _pictures(row, sample),
        "messages": [_message(message) for message in row.messages],
    }


def _pictures(row: Row, sample: Sample | None) -> list[dict[str, str]]:
    """Draws the predicted masks, and compares them with the ground truth pixel by pixel."""
    if sample is None:
        return []
    try:
        image = sample.pixels()
    except Sam3AgentError:
        return []
    pred = row.pred if row.pred.size == image.shape[:2] else Masks.empty(_size(image))
    shown = [("prediction", draw_masks(image, pred, range(1, len(pred) + 1)))]
    if row.truth is not None and row.truth.size == image.shape[:2]:
        shown.append(
            ("against the ground truth", _comparison(image, pred.coverage(), row.truth.coverage()))
        )
    return [{"what": what, "url": encode_jpeg(picture, SIDE).data_url} for what, picture in shown]


def _comparison(image: Pixels, pred: BoolArray, truth: BoolArray) -> Pixels:
    """Colours true positive, false positive and false negative pixels of the grey image."""
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None]
    out = np.repeat(grey * 0.45 + 120, 3, axis=2)
    for where, color in (
        (pred & truth, TRUE_POSITIVE),
        (pred & ~truth, FALSE_POSITIVE),
        (truth & ~pred, FALSE_NEGATIVE),
    ):
        out[where] = 0.3 * out[where] + 0.7 * np.array(color, np.float32)
    return np.asarray(out.clip(0, 255), np.uint8)


def _size(image: Pixels) -> Size:
    return int(image.shape[0]), int(image.shape[1])


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    calls, pictures = (_objects(message.get(name)) for name in ("tool_calls", "pictures"))
    return {
        "role": str(message.get("role", "")),
        "text": str(message.get("text", "")),
        "calls": [f"{call.get('name')}({call.get('arguments')})" for call in calls],
        "pictures": [f"{one.get('width')}x{one.get('height')}" for one in pictures],
    }


def _objects(values: Any) -> list[Mapping[str, Any]]:
    """The objects in a list of a run file, whose messages may hold anything."""
    listed = values if isinstance(values, Sequence) else ()
    return [one for one in listed if isinstance(one, Mapping)]
