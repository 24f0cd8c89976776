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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from sam3_agent.evals.synthetic.referring import SCENES_PER_SEED, ReferringQuery, referring_queries
from sam3_agent.evals.synthetic.scenes import SceneObject, SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import TRAIN_STYLES
from sam3_agent.rle import encode_mask, rle_record

FORMAT = "sam3-agent annotated set"
VERSION = 1
ANNOTATIONS = "annotations.json"

Value = TypeVar("Value")


@dataclass(frozen=True)
class AnnotatedScene:
    """A scene, the name of its image file, and queries about it."""

    file_name: str
    scene: SyntheticScene
    queries: tuple[ReferringQuery, ...]


def write_set(
    folder: Path | str,
    seed: int,
    count: int,
    *,
    queries: int = 4,
    size: tuple[int, int] = (480, 640),
    styles: tuple[str, ...] = TRAIN_STYLES,
) -> None:
    """Composes and writes `count` held-out scenes of (height, width), `queries` queries each."""
    seeds = range(seed * SCENES_PER_SEED, seed * SCENES_PER_SEED + count)
    write_scenes(
        folder, (annotated_scene(s, queries=queries, size=size, styles=styles) for s in seeds)
    )


def annotated_scene(
    seed: int,
    *,
    queries: int = 4,
    size: tuple[int, int] = (480, 640),
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
    content = {"format": FORMAT, "version": VERSION, "images": records}
    (folder / ANNOTATIONS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_set(folder: Path | str) -> Iterator[AnnotatedScene]:
    """Reads the scenes of a folder, one at a time.

    Raises ValueError, which names the file and what is wrong with it: at once for annotations that
    are no annotated set, and on reaching it for a broken scene.
    """
    path = Path(folder) / ANNOTATIONS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f'{path}: not an annotated set (its "format" is not "{FORMAT}")')
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path}: version {content.get('version')!r}, but only {VERSION} can be read"
        )
    return _scenes(path, _field(content, "images", list, str(path)))


def _scenes(path: Path, records: list[Any]) -> Iterator[AnnotatedScene]:
    for number, record in enumerate(records):
        yield _read_scene(path, record, f"{path}: images[{number}]")


def _image_record(annotated: AnnotatedScene) -> dict[str, Any]:
    scene = annotated.scene
    height, width = scene.labels.shape
    return {
        "file_name": annotated.file_name,
        "width": width,
        "height": height,
        "things": [
            {
                "noun": thing.noun,
                "color": thing.color,
                "box": list(thing.box),
                "segmentation": rle_record(encode_mask(scene.mask(index))),
            }
            for index, thing in enumerate(scene.objects)
        ],
        "queries": [
            {
                "text": query.text,
                "kind": query.kind,
                "targets": list(query.targets),
                "count": query.count,
            }
            for query in annotated.queries
        ],
    }


def _read_scene(path: Path, record: Any, where: str) -> AnnotatedScene:
    file_name = _field(record, "file_name", str, where)
    size = _field(record, "height", int, where), _field(record, "width", int, where)
    image = _read_image(path.parent / file_name, size)
    labels = np.zeros(image.shape[:2], dtype=np.uint8)
    objects = []
    for index, thing in enumerate(_field(record, "things", list, where)):
        here = f"{where}.things[{index}]"
        mask = _decoded(_field(thing, "segmentation", dict, here), labels.shape, here)
        if labels[mask].any():
            raise ValueError(f"{here}: its mask overlaps an earlier one")
        labels[mask] = index + 1
        objects.append(_read_object(thing, here))
    queries = tuple(
        _read_query(query, len(objects), f"{where}.queries[{index}]")
        for index, query in enumerate(_field(record, "queries", list, where))
    )
    return AnnotatedScene(file_name, SyntheticScene(image, labels, tuple(objects)), queries)


def _read_image(path: Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            image = np.array(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as a picture: {error}") from error
    if image.shape[:2] != size:
        raise ValueError(
            f"{path}: is {image.shape[1]}x{image.shape[0]}, annotated as {size[1]}x{size[0]}"
        )
    return image


def _read_object(record: Any, where: str) -> SceneObject:
    color = record.get("color")
    if color is not None and not isinstance(color, str):
        raise ValueError(f'{where}: "color" must be text or null')
    box = _field(record, "box", list, where)
    if len(box) != 4 or not all(isinstance(side, int) for side in box):
        raise ValueError(f'{where}: "box" must be four whole numbers')
    return SceneObject(_field(record, "noun", str, where), color, (box[0], box[1], box[2], box[3]))


def _read_query(record: Any, things: int, where: str) -> ReferringQuery:
    targets = _field(record, "targets", list, where)
    if not all(isinstance(target, int) and 0 <= target < things for target in targets):
        raise ValueError(f'{where}: "targets" must be indexes of the {things} things')
    count = record.get("count")
    if count is not None and not isinstance(count, int):
        raise ValueError(f'{where}: "count" must be a whole number or null')
    text, kind = _field(record, "text", str, where), _field(record, "kind", str, where)
    return ReferringQuery(text, kind, tuple(targets), count)


def _decoded(rle: dict[str, Any], shape: tuple[int, ...], where: str) -> npt.NDArray[np.bool_]:
    if rle.get("size") != list(shape):
        raise ValueError(f"{where}: its mask has size {rle.get('size')}, the picture {list(shape)}")
    counts = _field(rle, "counts", str, where)
    try:
        mask: npt.NDArray[np.uint8] = coco.decode({"size": list(shape), "counts": counts.encode()})
    except ValueError as error:
        raise ValueError(f"{where}: its mask is no compressed RLE: {error}") from error
    return mask.astype(bool)


def _field(record: Any, name: str, kind: type[Value], where: str) -> Value:
    """Returns a required field of this type."""
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f'{where}: "{name}" is missing or is not {kind.__name__}')
    return value
