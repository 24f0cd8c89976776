"""Tables: rows of parquet files of Hugging Face datasets; images are read when asked."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sam3_agent.errors import ImageError, InputError
from sam3_agent.evals.json_io import check_regular, field
from sam3_agent.extras import require
from sam3_agent.geometry import Size
from sam3_agent.image_limits import MAX_MEGAPIXELS, check_size
from sam3_agent.images import Pixels, load_image
from sam3_agent.rle import BoolArray

ROWS_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class TableRow:
    """One row: its columns except the image, and its place in the file.

    has_image: whether it holds an image; None where the table has no column of images.
    """

    path: Path
    number: int
    columns: Mapping[str, Any]
    has_image: bool | None

    @property
    def where(self) -> str:
        """Names file and row."""
        return f"{self.path} row {self.number}"

    def get(self, name: str) -> Any:
        """Returns a column as a Python value; None where it is missing or null."""
        value = self.columns.get(name)
        return None if value is None else value.as_py()

    def number_of(self, name: str) -> int:
        """Returns a column that must be a whole number."""
        return field({name: self.get(name)}, name, int)

    def mask(self, name: str, size: Size) -> BoolArray:
        """Returns a column of lists of bools as (H, W), without a Python object for each pixel."""
        # Arrow keeps a list of lists flat: one buffer of pixels, and where each line begins
        lines: Any = getattr(self.columns[name], "values", None)
        if not hasattr(lines, "flatten"):
            raise InputError(f"{name!r} is missing, or is no list of lists")
        pixels = np.asarray(lines.flatten().to_numpy(zero_copy_only=False), np.bool_)
        if len(lines) != size[0] or pixels.size != size[0] * size[1]:
            raise InputError(
                f"its mask has {len(lines)} lines and {pixels.size} pixels, "
                f"the image is {size[1]}x{size[0]}"
            )
        return pixels.reshape(size)

    @property
    def image(self) -> "partial[Pixels]":
        """Returns a function that reads the image."""
        return partial(_read_image, self.path, self.number)


def find_tables(root: Path, split: str | None) -> list[Path]:
    """Finds the parquet files of a dataset's folder (or a file), of one split if it is named."""
    if root.is_file():
        return [root] if root.suffix == ".parquet" else []
    tables = sorted([*root.glob("*.parquet"), *root.glob("data/*.parquet")])
    if split is None or not tables:
        return tables
    own = [path for path in tables if path.name.split("-")[0].split(".")[0] == split]
    if not own:
        names = sorted({path.name.split("-")[0].split(".")[0] for path in tables})
        raise InputError(f"{root} has no table of {split!r}, only of {', '.join(names)}")
    return own


def table_rows(tables: Sequence[Path], needed: Sequence[str], source: str) -> Iterator[TableRow]:
    """Yields the rows of the tables; InputError for other files and for missing columns."""
    for path in tables:
        table = _open(path)
        names = set(table.schema_arrow.names)
        if missing := [name for name in needed if name not in names]:
            raise InputError(f"{path} has no column {' or '.join(missing)}. {source}")
        if not table.metadata.num_rows:
            raise InputError(f"{path} is empty")
        number = 0
        # without images: a table has gigabytes of them, and each is read when its sample is asked
        columns = sorted(names - {"image"})
        with_image = _has_image(table) if "image" in names else None
        for batch in _batches(table, columns, path):
            for place in range(batch.num_rows):
                row = {name: batch.column(name)[place] for name in columns}
                has_image = None if with_image is None else bool(with_image[number])
                yield TableRow(path, number, row, has_image)
                number += 1


def _batches(table: Any, columns: Sequence[str], path: Path) -> Iterator[Any]:
    """Yields the rows of a table ROWS_AT_ONCE at a time; InputError where it is broken."""
    from pyarrow import ArrowException

    try:
        yield from table.iter_batches(ROWS_AT_ONCE, columns=columns)
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is broken: {error}") from error


def _has_image(table: Any) -> BoolArray:
    """Returns (N,) whether each row holds image bytes; from statistics where there are any."""
    compute: Any = import_module("pyarrow.compute")  # made at run time, so it has no types

    parts = []
    for group in range(table.num_row_groups):
        about = table.metadata.row_group(group)
        leaves = [about.column(place) for place in range(about.num_columns)]
        held = [leaf for leaf in leaves if leaf.path_in_schema in ("image", "image.bytes")]
        # a footer that counts 0 nulls spares reading every image only to see that it is there
        counts = [leaf.statistics.null_count if leaf.statistics else None for leaf in held]
        if held and not any(count is None or count for count in counts):
            parts.append(np.ones(about.num_rows, np.bool_))
            continue
        # the image is bytes, or bytes with a path beside them, as the datasets library writes
        cells = table.read_row_group(group, columns=["image"]).column("image")
        if hasattr(cells.type, "fields") and cells.type.get_field_index("bytes") >= 0:
            cells = compute.struct_field(cells, "bytes")
        parts.append(np.asarray(compute.is_valid(cells).to_numpy(), np.bool_))
    return np.concatenate([np.zeros(0, np.bool_), *parts])


def _read_image(path: Path, number: int) -> Pixels:
    from pyarrow import ArrowException

    table = _open(path)
    first = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if number < first + rows:
            # parquet cannot read less than a row group
            try:
                cells = table.read_row_group(group, columns=["image"]).column("image")
            except (ArrowException, OSError, ValueError) as error:
                raise InputError(f"{path} is broken: {error}") from error
            cell = cells[number - first]
            value = cell.as_py()
            raw = value.get("bytes") if isinstance(value, dict) else value
            if not isinstance(raw, bytes):
                raise InputError(f"{path} row {number}: it holds no image")
            # without EXIF rotation, as the authors of these masks read it
            return load_image(_decoded(raw, f"{path} row {number}"))
        first += rows
    raise InputError(f"{path} has no row {number}")


def _decoded(raw: bytes, where: str) -> Pixels:
    """Decodes an image; ImageError for what is none, or too large."""
    try:
        with Image.open(io.BytesIO(raw)) as image:
            check_size(image.size, where, MAX_MEGAPIXELS)
            return np.asarray(image.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # the readers of broken files raise anything
        raise ImageError(f"{where}: its image cannot be read: {error}") from error


def _open(path: Path) -> Any:
    require("pyarrow", purpose=f"reading {path.name}")
    from pyarrow import ArrowException, parquet

    try:
        check_regular(path)
        return parquet.ParquetFile(path)
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} is no parquet file: {error}") from error
