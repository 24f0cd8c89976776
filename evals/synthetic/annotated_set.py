"""Annotated sets: scenes with ground truth and queries, as PNG files and one annotations.json.

The file holds, in this order of nesting::

    {"format": "sam3-agent annotated set", "version": 1,
     "images": [{"file_name", "width", "height",
                 "things": [{"noun", "color", "box": [x0, y0, x1, y1],
                             "segmentation": {"size": [height, width], "counts"}}],
                 "queries": [{"text", "kind", "targets": [index into things], "count"}]}]}

Segmentations are compressed COCO RLE. The masks of one image do not overlap.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image
from pycocotools import mask as coco
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from sam3_agent.errors import InputError
from sam3_agent.evals.dataset_io import check_size
from sam3_agent.evals.json_io import read_text, validation_text
from sam3_agent.evals.synthetic.referring import ReferringQuery, referring_queries
from sam3_agent.evals.synthetic.scenes import SceneObject, SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES
from sam3_agent.geometry import Size
from sam3_agent.images import load_image
from sam3_agent.rle import encode_mask, rle_from_record, rle_record

FORMAT: Final = "sam3-agent annotated set"
VERSION: Final = 1
ANNOTATIONS = "annotations.json"


class _ObjectRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    noun: str
    color: str | None = None
    box: tuple[int, int, int, int]
    segmentation: dict[str, Any]


class _QueryRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    text: str
    kind: str
    targets: tuple[NonNegativeInt, ...]
    count: int | None = None


class _ImageRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    file_name: str
    width: int
    height: int
    things: tuple[_ObjectRecord, ...]
    queries: tuple[_QueryRecord, ...]


class _SetRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    format: Literal["sam3-agent annotated set"] = FORMAT
    version: Literal[1] = VERSION
    images: tuple[_ImageRecord, ...]


@dataclass(frozen=True)
class AnnotatedScene:
    """A scene, the name of its image file, and queries about it."""

    file_name: str
    scene: SyntheticScene
    queries: tuple[ReferringQuery, ...]


def annotated_scene(
    seed: int,
    *,
    queries: int = 4,
    size: Size = (480, 640),
    styles: tuple[str, ...] = TRAIN_STYLES,
) -> AnnotatedScene:
    """Composes the held-out scene of a seed, with up to `queries` queries."""
    scene = compose(seed, size=size, styles=styles)
    return AnnotatedScene(
        f"scene_{seed:09d}.png", scene, tuple(referring_queries(scene, seed, queries))
    )


def write_scenes(folder: Path | str, scenes: Iterable[AnnotatedScene]) -> None:
    """Writes images and annotations into a folder, which is made if needed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for annotated in scenes:
        picture = Image.fromarray(annotated.scene.image)
        picture.save(folder / annotated.file_name, optimize=True)
        records.append(_image_record(annotated))
    content = _SetRecord(images=tuple(records)).model_dump()
    (folder / ANNOTATIONS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_set(folder: Path | str) -> Iterator[AnnotatedScene]:
    """Reads the scenes of a folder, one at a time.

    Raises InputError, which names the file and what is wrong with it: at once for broken
    annotations, and on reaching it for an image or mask.
    """
    path = Path(folder) / ANNOTATIONS
    try:
        content = _SetRecord.model_validate_json(read_text(path))
    except ValidationError as error:
        raise InputError(f"{path}: {validation_text(error)}") from error
    return _scenes(path, content.images)


def _scenes(path: Path, records: Sequence[_ImageRecord]) -> Iterator[AnnotatedScene]:
    for number, record in enumerate(records):
        try:
            yield _read_scene(path.parent, record)
        except InputError as error:
            raise InputError(f"{path}: images[{number}]: {error}") from error


def _image_record(annotated: AnnotatedScene) -> _ImageRecord:
    scene = annotated.scene
    height, width = scene.size
    return _ImageRecord(
        file_name=annotated.file_name,
        width=width,
        height=height,
        things=tuple(
            _ObjectRecord(
                noun=obj.noun,
                color=obj.color,
                box=obj.box,
                segmentation=rle_record(encode_mask(scene.mask(index))),
            )
            for index, obj in enumerate(scene.objects)
        ),
        queries=tuple(_QueryRecord(**asdict(query)) for query in annotated.queries),
    )


def _read_scene(folder: Path, record: _ImageRecord) -> AnnotatedScene:
    path, size = folder / record.file_name, (record.height, record.width)
    image = load_image(path)
    check_size(path, size, (int(image.shape[0]), int(image.shape[1])))
    labels = np.zeros(size, dtype=np.uint8)
    for index, thing in enumerate(record.things):
        try:
            mask = coco.decode(rle_from_record(thing.segmentation, size)).astype(bool)
        except InputError as error:
            raise InputError(f"things[{index}]: {error}") from error
        # the scene keeps one number for each pixel, that of the object in front
        if labels[mask].any():
            raise InputError(f"things[{index}]: its mask overlaps an earlier one")
        labels[mask] = index + 1
    objects = tuple(SceneObject(thing.noun, thing.color, thing.box) for thing in record.things)
    for index, query in enumerate(record.queries):
        if any(target >= len(objects) for target in query.targets):
            raise InputError(f"queries[{index}]: a target is no index of the {len(objects)} things")
    queries = tuple(ReferringQuery(**dict(query)) for query in record.queries)
    return AnnotatedScene(record.file_name, SyntheticScene(image, labels, objects), queries)
