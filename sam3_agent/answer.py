"""The answer to a question: text, masks, and the conversation that led to them."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.mentions import Mention
from sam3_agent.messages import Message
from sam3_agent.overlay import draw_masks
from sam3_agent.sanitize import one_line
from sam3_agent.saving import prepare_folder, write_files
from sam3_agent.serialization import instance_records, mask_png
from sam3_agent.usage import Usage

Status: TypeAlias = Literal["answered", "no_target", "out_of_budget", "unable"]

SAVED = ("overlay.png", "answer.json", "mask_*.png")
"""The names of the files of a saved answer."""

MAX_SHOWN = 12
"""Phrases, and numbers of one phrase, in a printed answer."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What `Agent.ask` returns.

    status: `answered`; `no_target` when what was asked for was looked for and is not there;
        `out_of_budget` when a budget was spent; then the masks are the best so far and the text
        says which; `unable` when the question could not be read, or names what the chosen models
        do not know; then there are no masks and the text says what to do.
    masks: the N instances that the answer is about; `numbers` are their N numbers in the scene.
    messages: the whole conversation with the planner.
    image: (H, W, 3) uint8, as it was read.
    mentions: which words of the text point to which masks, in order.
    context_masks, context_numbers: masks that are only mentioned, such as what the target lies on.
    """

    query: str
    text: str
    status: Status
    masks: Masks
    numbers: tuple[int, ...]
    usage: Usage
    messages: tuple[Message, ...]
    planner: str
    segmenter: str
    image: Pixels
    mentions: tuple[Mention, ...]
    context_masks: Masks
    context_numbers: tuple[int, ...]

    def __str__(self) -> str:
        """One paragraph: the text, the status, the masks by phrase and number, and the usage."""
        words = " ".join(self.text.split())
        return f"{words} [{self.status}; {self._masks_by_phrase()}; {self.usage}]"

    def __repr__(self) -> str:
        query, text = (one_line(words, 80) for words in (self.query, self.text))
        return (
            f"Answer(query={query!r}, status={self.status!r}, text={text!r}, "
            f"masks={self.masks!r}, planner={self.planner!r}, segmenter={self.segmenter!r})"
        )

    def _masks_by_phrase(self) -> str:
        """Such as `3 masks: dog 1, 4; leash 2`; the numbers are those of the scene."""
        numbers: dict[str, list[str]] = {}
        for number, phrase in zip(self.numbers, self.masks.phrases, strict=True):
            numbers.setdefault(phrase, []).append(str(number))
        shown = [f"{phrase} {_enumerated(some)}" for phrase, some in numbers.items()]
        many = f"{len(self.masks)} mask{'' if len(self.masks) == 1 else 's'}"
        return f"{many}: {_enumerated(shown)}" if shown else many

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON values; masks are compressed COCO RLE."""
        height, width = self.masks.size
        return {
            "query": self.query,
            "status": self.status,
            "text": self.text,
            "image": {"width": width, "height": height},
            "instances": instance_records(self.masks, self.numbers),
            "usage": self.usage.to_dict(),
            "planner": self.planner,
            "segmenter": self.segmenter,
            "mentions": [
                {"start": one.start, "end": one.end, "numbers": list(one.numbers)}
                for one in self.mentions
            ],
            "beside": instance_records(self.context_masks, self.context_numbers),
        }

    def overlay(self) -> Pixels:
        """The image with the answer's masks drawn on it, (H, W, 3) uint8."""
        return draw_masks(self.image, self.masks, self.numbers)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write overlay.png, answer.json and one mask_<number>.png per mask; returns the folder.

        A mask file is (H, W) 8-bit grey, 255 where the mask is. Masks of an earlier answer in the
        same folder are removed. Raises InputError, and leaves the folder as it was, when a file
        cannot be written.
        """
        target = prepare_folder(Path(folder), *SAVED)
        files = {
            f"mask_{number}.png": mask_png(mask)
            for number, mask in zip(self.numbers, self.masks, strict=True)
        }
        overlay = BytesIO()
        Image.fromarray(self.overlay()).save(overlay, "PNG")
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        files |= {"overlay.png": overlay.getvalue(), "answer.json": f"{text}\n".encode()}
        write_files(target, files)
        for stale in target.glob("mask_*.png"):
            if stale.name not in files:
                stale.unlink(missing_ok=True)
        return target


def _enumerated(parts: Sequence[str]) -> str:
    """The parts with commas between them, at most MAX_SHOWN."""
    more = len(parts) - MAX_SHOWN
    return ", ".join(parts[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
