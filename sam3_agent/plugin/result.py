"""Result of a tool call: words, numbers and pictures; as text, as JSON values, and its schema."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, get_args

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from sam3_agent.answer import Status
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.serialization import instance_records, rounded_box
from sam3_agent.tool_schema import compact

FourNumbers = Annotated[tuple[float, ...], Field(min_length=4, max_length=4)]


class Segmentation(TypedDict):
    """Compressed COCO run-length encoding."""

    size: list[int]
    counts: str


@dataclass(frozen=True)
class Mark:
    """One mask: its number in the image, its place and its pixels.

    box: x0, y0, x1, y1 in pixels; box_percent: in percent of the image's width and height, as the
    tools take places. area: pixels; area_percent: of the image.
    """

    number: Annotated[int, Field(description="Kept for good.")]
    phrase: str
    score: Annotated[float, Field(ge=0, le=1)]
    box: Annotated[FourNumbers, Field(description="x0, y0, x1, y1 in pixels.")]
    box_percent: Annotated[FourNumbers, Field(description="The same in percent of the image.")]
    area: Annotated[int, Field(description="Pixels.")]
    area_percent: float
    segmentation: Segmentation = field(repr=False)


@dataclass(frozen=True)
class ToolResult:
    """What a tool found.

    image: the handle to go on with; width, height: of the image in pixels.
    text: what a model should read. status: how an ask ended, else "done"; "failed" for a call that
    could not run. masks: those that the call is about; details: more numbers of some tools.
    pictures: each (H, W, 3) uint8, the image with the masks or close-ups of it; files: PNG files of
    masks, whose base64 is in the details; neither is part of JSON.
    """

    image: Annotated[str, Field(description="The image's handle for further calls.")]
    width: Annotated[int, Field(description="The image's width in pixels.")]
    height: Annotated[int, Field(description="The image's height in pixels.")]
    text: Annotated[str, Field(description="The answer, or the findings, in words.")]
    status: Annotated[
        str,
        Field(
            description="no_target: looked for, and not there. unable: not read, or not known to "
            "the models; the text says what to do.",
            json_schema_extra={"enum": ["done", *get_args(Status)]},
        ),
    ] = "done"
    masks: tuple[Mark, ...] = ()
    details: Annotated[dict[str, Any], Field(description="More numbers of some tools.")] = field(
        default_factory=dict
    )
    pictures: Annotated[tuple[Pixels, ...], Field(exclude=True)] = field(
        default=(), compare=False, repr=False
    )
    files: Annotated[tuple[bytes, ...], Field(exclude=True)] = field(default=(), repr=False)

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        arbitrary_types_allowed=True, json_schema_serialization_defaults_required=True
    )

    @property
    def picture(self) -> Pixels | None:
        """The first picture; None if there is none."""
        return self.pictures[0] if self.pictures else None

    def __str__(self) -> str:
        return self.report()

    def report(self, pictures: bool = True) -> str:
        """The result in words, for a model that gets nothing else, or a picture beside them.

        pictures: whether they are sent along. The image's handle, the words, the status, a line for
        each mask, and which tool to call next; details are in the words already, or of no use to a
        model.
        """
        head = f"image {self.image} ({self.width}x{self.height})\n" if self.image else ""
        lines = [head + self.text, f"status: {self.status}"]
        lines += [self.details["omitted"]] if "omitted" in self.details else []
        lines += [ROWS_TITLE, *map(_row, self.masks)] if self.masks else []
        lines += [self._next(pictures)] if self.image else []
        return "\n".join(lines)

    def _next(self, pictures: bool) -> str:
        """What a model may do with this result."""
        look = "look (close-ups), " * pictures
        if self.status == "unable":
            return (
                "next: ask_image in other words, if those of the question were not known; else "
                "give the user the advice of the text (options such as --planner are set where "
                "the server is started); nothing is known about the image yet"
            )
        if not self.masks:
            return (
                f"next, with image {self.image}: segment with other words or a lower threshold, "
                f"{look}or ask_image with another question"
            )
        return (
            f"next, with image {self.image} and numbers of masks: {look}measure (sizes, colours, "
            "distances), refine (more like these), get_masks (RLE, polygons or PNG); ask_image "
            "for a follow-up question"
        )

    def without_pictures(self) -> "ToolResult":
        """The result for what takes words alone: files of masks as lines of base64."""
        if not self.pictures and not self.files:
            return self
        lines = [json.dumps(record) for record in self.details["masks"]] if self.files else []
        lines += ["The picture is not sent here."] if self.pictures else []
        return replace(self, text="\n".join([self.text, *lines]), pictures=(), files=())

    def to_dict(self, segmentations: bool = False) -> dict[str, Any]:
        """All but the pictures as JSON values; masks with their RLE if asked for."""
        hidden = None if segmentations else {"masks": {"__all__": {"segmentation"}}}
        values: dict[str, Any] = _adapter().dump_python(self, mode="json", exclude=hidden)
        return values


@functools.cache
def _adapter() -> TypeAdapter[ToolResult]:
    return TypeAdapter(ToolResult)


@functools.cache
def output_schema() -> dict[str, Any]:
    """The JSON schema of `ToolResult.to_dict()`, without references for MCP clients."""
    adapter = _adapter().json_schema(mode="serialization")
    schema = compact({**adapter, "description": "What a tool found."})
    mask = schema["properties"]["masks"]["items"]
    del mask["properties"]["segmentation"]
    mask["required"].remove("segmentation")
    return schema


ROWS_TITLE = (
    "masks: number phrase score | box x0,y0,x1,y1 in pixels | in percent, as tools take it | "
    "area in pixels | in percent"
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
            record["segmentation"],
        )
        for i, record in enumerate(instance_records(masks, numbers))
    )
