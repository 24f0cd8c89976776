"""Masks as data for `get_masks`: RLE, polygons or PNG, as many as one result takes."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sam3_agent.errors import ToolError
from sam3_agent.mask_polygons import mask_polygons
from sam3_agent.masks import Masks
from sam3_agent.plugin.result_size import MAX_RESULT_TOKENS, picture_tokens, tokens
from sam3_agent.scene import Scene
from sam3_agent.serialization import mask_png

MaskFormat: TypeAlias = Literal["rle", "polygons", "png"]

MAX_TOLERANCE = 100
"""Pixels that a polygon may be from its mask's outline."""

MAX_DATA_TOKENS = 11_000
"""Tokens of the data as text: where structured content is sent too, the text comes twice."""

MAX_PICTURE_TOKENS = MAX_RESULT_TOKENS - 5_000
"""Tokens of PNG files as pictures."""

TITLES = {
    "rle": "as compressed COCO RLE, a JSON object a line:",
    "polygons": "as polygons, each a list of rings, the first its outline and the others holes, "
    "each ring x, y, x, y, ... in pixels; a JSON object a line:",
    "png": "as PNG of the image's size, black but for the mask, in this order:",
}


@dataclass(frozen=True)
class MaskData:
    """Masks in words, as JSON values, and as PNG files."""

    text: str
    details: dict[str, Any]
    files: tuple[bytes, ...] = ()


def chosen_numbers(scene: Scene, numbers: Sequence[int] | None) -> tuple[int, ...]:
    """The numbers, each once, or those of all masks that are not dropped; raises ToolError."""
    known = len(scene.masks)
    if not known:
        raise ToolError("no mask has been found in this image yet: use ask_image or segment first")
    if numbers is None:
        return scene.numbers
    wrong = [number for number in numbers if not 1 <= number <= known]
    if wrong or not numbers:
        what = f"there is no mask {str(wrong[0])[:20]}" if wrong else "numbers is empty"
        raise ToolError(f"{what}; the image has the masks 1 to {known}")
    return tuple(dict.fromkeys(numbers))


def encoded(
    masks: Masks, numbers: Sequence[int], form: MaskFormat, tolerance: float, handle: str
) -> MaskData:
    """N masks with these N numbers; raises ToolError when they do not fit into one result.

    tolerance: for polygons, in pixels. handle: of the image, for the error's advice.
    """
    if not 0 <= tolerance <= MAX_TOLERANCE:
        raise ToolError(f"the tolerance {tolerance:g} is not from 0 to {MAX_TOLERANCE} pixels")
    records: list[dict[str, Any]] = []
    files: list[bytes] = []
    total = 0
    height, width = masks.size
    most = MAX_PICTURE_TOKENS // picture_tokens(width, height) if form == "png" else len(numbers)
    for i, number in enumerate(numbers):
        # one after the other, so that what cannot fit costs no more than what can
        value = _value(masks[i], form, tolerance)
        if isinstance(value, bytes):
            files.append(value)
            value = base64.b64encode(value).decode("ascii")
        records.append({"number": number, "segmentation" if form == "rle" else form: value})
        total += tokens(_line(records[-1]))
        if total > MAX_DATA_TOKENS or i >= most:
            raise ToolError(_too_many(numbers, i, form, handle))
    count = f"{len(numbers)} mask{'s' * (len(numbers) != 1)}"
    title = f"{count} {TITLES[form]}"
    details = {"format": form, "masks": records}
    if form == "png":
        return MaskData(f"{title} {', '.join(map(str, numbers))}", details, tuple(files))
    return MaskData("\n".join([title, *map(_line, records)]), details)


def _value(mask: Masks, form: MaskFormat, tolerance: float) -> Any:
    """One mask as JSON values, or as the bytes of a PNG."""
    if form == "rle":
        return mask.rle()[0]
    if form == "polygons":
        return mask_polygons(*mask.crop(0), tolerance)
    return mask_png(mask)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


def _too_many(numbers: Sequence[int], fitting: int, form: MaskFormat, handle: str) -> str:
    """What to do where only the first `fitting` masks fit."""
    if fitting:
        return (
            f"these {len(numbers)} masks do not fit into one result as {form}: ask for fewer "
            f"numbers at a time, first {list(numbers[:fitting])}"
        )
    return (
        f"mask {numbers[0]} alone does not fit into one result as {form}: ask for polygons with a "
        f"larger tolerance, or read its file masks/{numbers[0]}.png (over MCP the resource "
        f"sam3://{handle}/masks/{numbers[0]}.png, over REST /images/{handle}/masks/"
        f"{numbers[0]}.png)"
    )
