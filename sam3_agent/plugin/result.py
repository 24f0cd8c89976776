"""A sight: what a tool of the plugin shows its caller, in words, numbers and pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

import numpy as np

from sam3_agent.answer import Status
from sam3_agent.image_encoding import encode_png
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.scene import Scene
from sam3_agent.serialization import instance_records, rounded_box


@dataclass(frozen=True)
class Mark:
    """One mask: its number for good, and where it is.

    box: x0, y0, x1, y1 in pixels; box_percent: in percent of the image's width and height, as the
    tools take places. area: pixels; area_percent: of the image.
    """

    number: int
    phrase: str
    score: float
    box: tuple[float, ...]
    box_percent: tuple[float, ...]
    area: int
    area_percent: float


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives back.

    image: the handle to go on with; width, height: of the image in pixels.
    text: what a model should read. status: how an ask ended, else "done".
    masks: those that the call is about; details: more numbers of some tools.
    segmentations: the masks themselves, as compressed COCO RLE, in the order of `masks`.
    pictures: each (H, W, 3) uint8, the image with the masks or close-ups of it.
    """

    image: str
    width: int
    height: int
    text: str
    status: str = "done"
    masks: tuple[Mark, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    segmentations: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    pictures: tuple[Pixels, ...] = field(default=(), compare=False, repr=False)

    @property
    def picture(self) -> Pixels | None:
        """The first picture; None if there is none."""
        return self.pictures[0] if self.pictures else None

    def __str__(self) -> str:
        head = f"image {self.image} ({self.width}x{self.height})\n" if self.image else ""
        return head + self.text

    def report(self) -> str:
        """All that `to_dict` holds as words, for a model that reads no structured content."""
        details = dict(self.details)
        omitted = details.pop("omitted", None)
        lines = [str(self), f"status: {self.status}"]
        lines += [f"details: {json.dumps(details, ensure_ascii=False)}"] if details else []
        lines += [omitted] if omitted else []
        lines += [ROWS_TITLE, *map(_row, self.masks)] if self.masks else []
        return "\n".join(lines)

    def to_dict(self, segmentations: bool = False) -> dict[str, Any]:
        """The sight as JSON values, without pictures; masks with their pixels if asked for."""
        hidden = ("pictures", "segmentations")
        values = {name: value for name, value in vars(self).items() if name not in hidden}
        masks = [asdict(mark) for mark in self.masks]
        masks = [
            {**mark, "box": [*mark["box"]], "box_percent": [*mark["box_percent"]]} for mark in masks
        ]
        if segmentations:
            pairs = zip(masks, self.segmentations, strict=True)
            masks = [{**mask, "segmentation": rle} for mask, rle in pairs]
        return {**values, "masks": masks}


ROWS_TITLE = (
    "masks: number phrase score | box x0,y0,x1,y1 in pixels | in percent | area in pixels | "
    "in percent"
)


def _row(mark: Mark) -> str:
    """A mask in one line, as ROWS_TITLE says."""
    box, percent = (",".join(map(_plain, one)) for one in (mark.box, mark.box_percent))
    phrase = json.dumps(mark.phrase, ensure_ascii=False)
    area = f"{mark.area} | {_plain(mark.area_percent)}"
    return f"{mark.number} {phrase} {_plain(mark.score)} | {box} | {percent} | {area}"


def _plain(value: float) -> str:
    """A number with all its digits, without a ".0"."""
    return repr(value).removesuffix(".0")


_BOX = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What a tool found.",
    "properties": {
        "image": {"type": "string", "description": "The image's handle for further calls."},
        "width": {"type": "integer", "description": "The image's width in pixels."},
        "height": {"type": "integer", "description": "The image's height in pixels."},
        "text": {"type": "string", "description": "The answer, or the findings, in words."},
        "status": {
            "enum": ["done", *get_args(Status)],
            "description": "no_target: looked for, and not there. unable: not read, or not known "
            "to the models; the text says what to do.",
        },
        "masks": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "number": {"type": "integer", "description": "Kept for good."},
                    "phrase": {"type": "string"},
                    "score": {"type": "number", "minimum": 0, "maximum": 1},
                    "box": {**_BOX, "description": "x0, y0, x1, y1 in pixels."},
                    "box_percent": {**_BOX, "description": "The same in percent of the image."},
                    "area": {"type": "integer", "description": "Pixels."},
                    "area_percent": {"type": "number"},
                },
                "required": [field.name for field in fields(Mark)],
            },
        },
        "details": {"type": "object", "description": "More numbers of some tools."},
    },
    "required": ["image", "width", "height", "text", "status", "masks", "details"],
}
"""The JSON schema of `ToolResult.to_dict()`."""


def marks(masks: Masks, numbers: Sequence[int]) -> tuple[Mark, ...]:
    """The marks of N masks with these N numbers, in order."""
    height, width = masks.size
    percent = masks.boxes * (100 / np.array([width, height, width, height]))
    return tuple(
        Mark(
            record["number"],
            record["phrase"],
            record["score"],
            tuple(record["box"]),
            tuple(rounded_box(percent[i])),
            record["area"],
            round(100 * record["area"] / (width * height), 2),
        )
        for i, record in enumerate(instance_records(masks, numbers))
    )


def mask_file(scene: Scene, number: int) -> bytes:
    """One mask as a PNG of the image's size: 8-bit grey, 255 where the mask is."""
    dense = scene.select([number]).dense()[0].astype(np.uint8) * 255
    return encode_png(dense).data
