"""Files about an open image: the picture with masks, single masks, all masks, conversation."""

import json
import re

from sam3_agent.errors import InputError
from sam3_agent.image_encoding import encode_jpeg
from sam3_agent.overlay import draw_masks
from sam3_agent.plugin.result_size import compressed
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.sanitize import shorten
from sam3_agent.serialization import mask_png

KINDS = {
    "overlay.jpg": ("image/jpeg", "The image with the masks of its last result."),
    "masks.json": ("application/json", "All masks of the image, as COCO RLE."),
    "masks/{number}.png": ("image/png", "One mask, of the image's size: 255 where it is."),
    "conversation.json": (
        "application/json",
        "The last answers about the image, each with the planner's conversation.",
    ),
}
"""Name -> MIME type and description."""

_MASK = re.compile(r"masks/([1-9]\d{0,5})\.png")


def read(toolkit: Toolkit, handle: str, name: str) -> tuple[bytes, str]:
    """The content of a resource and its MIME type; raises InputError for one that is not there."""
    found = _MASK.fullmatch(name)
    kind = KINDS.get("masks/{number}.png" if found else name)
    if kind is None:
        raise InputError(f"there is no {shorten(name, 80)!r}; there are {', '.join(KINDS)}")
    session = toolkit.sessions.get(toolkit.owner, handle)
    with session.working():
        scene = session.scene
        if found:
            number, known = int(found[1]), len(scene.masks)
            if number > known:
                raise InputError(f"there is no mask {number}; the image has {known} masks")
            return mask_png(scene.select([number])), kind[0]
        if name == "overlay.jpg":
            picture = draw_masks(scene.image, scene.select(session.shown), session.shown)
            (file,) = compressed([picture]) or (encode_jpeg(picture),)
            return file.data, kind[0]
        if name == "masks.json":
            return json.dumps(session.masks_data()).encode(), kind[0]
        return f"[{', '.join(session.answers)}]".encode(), kind[0]
