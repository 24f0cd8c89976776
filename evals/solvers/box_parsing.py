"""Parses the boxes that multimodal LLMs write, in the forms that are found in practice.

    Gemini           {"box_2d": [y0, x0, y1, x1], "label": "..."}     0-1000
    Qwen3-VL         {"bbox_2d": [x0, y0, x1, y1], "label": "..."}    0-1000
    Qwen2-VL, 2.5    the same in pixels, or (x0,y0),(x1,y1) in 0-1000 as text

Code fences, prose, JSON Lines, lost commas and truncated ends do not matter: each box is parsed by
itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sam3_agent.geometry import Box, Size

Layout: TypeAlias = Literal["yx1000", "xy1000", "xy"]
"""The order of a box's numbers, and their unit: thousandths of the image, or pixels."""

_NUMBER = r"-?\d+(?:\.\d+)?"
_KEY = re.compile(r"""["'](box_2d|bbox_2d|bbox|box)["']\s*:\s*(?=\[)""")
_FOUR = re.compile(rf"\[\s*({_NUMBER})" + rf"\s*,\s*({_NUMBER})" * 3 + r"\s*\]")
_CORNERS = re.compile(
    rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)\s*,?\s*\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)"
)
_LABEL = re.compile(r"""["'](?:label|name|name_en|en|class|category)["']\s*:\s*["']([^"']*)["']""")
_NOTHING = re.compile(r"""(?:^|[:`\s])\[\s*\](?:$|[}`\s])""")
_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class LabelledBox:
    """A box x0 y0 x1 y1 in pixels with the model's label."""

    box: Box
    label: str


def parse_boxes(text: str, size: Size, layout: Layout) -> list[LabelledBox] | None:
    """Parses all boxes in a reply about a (height, width) image; None when it holds no list.

    layout: that of boxes without a known key; `box_2d` is always Gemini's order, `bbox_2d` has x
    first. Boxes outside the image, without area, or with other than four numbers are left out;
    swapped corners are sorted.
    """
    # boxes in the reasoning are drafts, often corrected later
    text = _THINKING.sub("", text)
    # with keys the order of the numbers is known; bare lists count only where there are none
    raw = list(_keyed(text)) or list(_bare(text, layout))
    if not raw:
        return [] if _NOTHING.search(text) else None
    out = []
    for key, numbers, label in raw:
        box = _pixels(numbers, size, _layout(key, layout))
        if box is not None and LabelledBox(box, label) not in out:
            out.append(LabelledBox(box, label))
    return out


def _keyed(text: str) -> Iterator[tuple[str, list[float], str]]:
    """Yields the boxes with a key: the key, four numbers, the label of the same object."""
    keys = list(_KEY.finditer(text))
    for i, key in enumerate(keys):
        # between its neighbours' keys, so that a broken object takes no label of the next one
        end = keys[i + 1].start() if i + 1 < len(keys) else len(text)
        begin = keys[i - 1].end() if i else 0
        value = _value(text, key.end(), end)
        label = _LABEL.search(_object_around(text, key.start(), begin, end))
        for four in _FOUR.finditer(value):
            yield key[1], [float(n) for n in four.groups()], label[1] if label else ""


def _bare(text: str, layout: Layout) -> Iterator[tuple[str, list[float], str]]:
    """Yields the boxes without a key: lists of four numbers, or Qwen's pairs of corners."""
    for four in _FOUR.finditer(text):
        yield "", [float(n) for n in four.groups()], ""
    for corners in _CORNERS.finditer(text):
        yield "corners", [float(n) for n in corners.groups()], ""


def _value(text: str, begin: int, end: int) -> str:
    """Returns the list that begins at `begin`, up to its closing bracket."""
    depth = 0
    for i in range(begin, end):
        depth += {"[": 1, "]": -1}.get(text[i], 0)
        if not depth:
            return text[begin : i + 1]
    return text[begin:end]


def _object_around(text: str, at: int, begin: int, end: int) -> str:
    """Returns the JSON object around a position, as far as its braces are there."""
    opening = text.rfind("{", begin, at)
    closing = text.find("}", at, end)
    return text[max(opening, begin) : end if closing < 0 else closing + 1]


def _layout(key: str, layout: Layout) -> Layout:
    if key == "box_2d":
        return "yx1000"
    # Qwen2.5-VL and Qwen3-VL share this key; only the model's family tells pixels from thousandths
    if key == "bbox_2d":
        return "xy" if layout == "xy" else "xy1000"
    if key == "corners":
        return "xy1000"
    return layout


def _pixels(numbers: list[float], size: Size, layout: Layout) -> Box | None:
    """Converts a box to pixels of a (height, width) image; None for an invalid one."""
    height, width = size
    if layout == "yx1000":
        numbers = [numbers[1], numbers[0], numbers[3], numbers[2]]
    if layout != "xy":
        scale = (width / 1000, height / 1000) * 2
        numbers = [number * side for number, side in zip(numbers, scale, strict=True)]
    x0, x1 = sorted((numbers[0], numbers[2]))
    y0, y1 = sorted((numbers[1], numbers[3]))
    slack = 0.02  # for rounding, and for models that count to 1024
    if x0 < -slack * width or y0 < -slack * height:
        return None
    if x1 > (1 + slack) * width or y1 > (1 + slack) * height:
        return None
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    return (x0, y0, x1, y1) if x1 - x0 >= 1 and y1 - y0 >= 1 else None
