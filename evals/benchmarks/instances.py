"""COCO instances: the images and masks that RefCOCO and gRefCOCO refer to."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sam3_agent.errors import InputError
from sam3_agent.evals.dataset_io import check_size, image_in, image_size
from sam3_agent.evals.json_io import field, read_json
from sam3_agent.evals.mask_io import coco_mask, instance, masks_of
from sam3_agent.geometry import Size
from sam3_agent.masks import Masks

IMAGE_FOLDERS = (
    "images/mscoco/images/train2014",
    "images/train2014",
    "mscoco/images/train2014",
    "coco/train2014",
    "train2014",
    "images",
)
"""Where COCO's train2014 may be, below the datasets' folder; the first is where REFER has it."""


class Instances:
    """`instances.json` of a dataset's folder; images are searched in it and in its parent."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "instances.json"
        content = read_json(self.path)
        self._images = self._by_id(content, "images")
        self._annotations = self._by_id(content, "annotations")
        roots = [root / place for root in (folder, folder.parent) for place in IMAGE_FOLDERS]
        self._folders = [root for root in roots if root.is_dir()]
        # an image has several sentences, and the sample of each checks its size
        self._size = cache(image_size)

    def image(self, image_id: int) -> tuple[Path, Size]:
        """Returns the file of an image and its (height, width), both checked."""
        if image_id not in self._images:
            raise InputError(f"its image {image_id} is not in {self.path}")
        record = self._images[image_id]
        name = field(record, "file_name", str)
        size = field(record, "height", int), field(record, "width", int)
        folders = self._folders or [Path(f"{IMAGE_FOLDERS[0]} (missing)")]
        image = image_in(folders, name)
        check_size(image, size, self._size(image))
        return image, size

    def masks(self, ids: Sequence[int], image_id: int, size: Size) -> Masks:
        """Returns the masks of annotations, all of one image."""
        rles = []
        for number in ids:
            if number not in self._annotations:
                raise InputError(f"its annotation {number} is not in {self.path}")
            record = self._annotations[number]
            # else its mask would be scored on an image in which it marks something else
            if record.get("image_id") != image_id:
                raise InputError(f"annotation {number} belongs to image {record.get('image_id')}")
            try:
                rles.append(instance(coco_mask(record.get("segmentation"), size)))
            except InputError as error:
                raise InputError(f"annotation {number}: {error}") from error
        return masks_of(rles, size)

    def _by_id(self, content: Any, name: str) -> dict[int, dict[str, Any]]:
        try:
            records = field(content, name, list)
            found = {field(one, "id", int): one for one in records}
        except InputError as error:
            raise InputError(f"{self.path}: no COCO instances: {error}") from error
        if len(found) < len(records):
            raise InputError(f"{self.path}: an id in {name!r} is there twice")
        return found
