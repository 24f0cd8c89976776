"""Reads the folders of datasets: where they are, which records are whole, how large images are.

Files that cannot be this benchmark's raise InputError; a broken record becomes a line of
`Benchmark.problems`, and the others are read.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.evals.json_io import check_regular
from sam3_agent.geometry import Size
from sam3_agent.sanitize import shorten

LONGEST_PROBLEM = 1000
"""Characters of the line of a broken record, which may quote the record."""

SWAPPED = range(5, 9)
"""The EXIF orientations that swap width and height."""


def folder(data: Path | None, benchmark: str, source: str) -> Path:
    """Returns the folder or file of a benchmark; `source` says where to get the data."""
    if data is None:
        raise InputError(f"{benchmark} needs --data: {source}")
    if not data.exists():
        raise InputError(f"{benchmark}: there is nothing at {data}. {source}")
    return data


def collect(
    records: Iterable[tuple[str, Callable[[], Sample]]],
) -> tuple[list[Sample], list[str]]:
    """Makes a sample of each record; returns the samples, and a line for each broken record.

    A record is its place in the files, and a function that makes its sample or raises InputError.
    Raises InputError when no record is whole: the files are another benchmark's, or the images are
    elsewhere.
    """
    samples: dict[str, Sample] = {}
    problems = []
    for where, make in records:
        try:
            sample = make()
        except InputError as error:
            problems.append(shorten(f"{where}: {error}", LONGEST_PROBLEM))
            continue
        if sample.id in samples:
            problem = f"{where}: the id {sample.id!r} is there twice"
            problems.append(shorten(problem, LONGEST_PROBLEM))
        # the first of two with one id is kept: a run could not tell their rows apart
        samples.setdefault(sample.id, sample)
    if problems and not samples:
        raise InputError(f"none of {len(problems)} records can be used; the first: {problems[0]}")
    return list(samples.values()), problems


def image_in(folders: Sequence[Path], name: str) -> Path:
    """Finds the image of this relative name in the first folder that has it.

    InputError where none has it, or the name leads out of the folders: published data has no such
    names, and what is found there could be sent to a model. Links are followed.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or Path(name).is_absolute():
        raise InputError(f"the name of its image, {name}, leads out of the folder of the data")
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            if (folder / name).exists():
                return folder / name
    places = ", ".join(map(str, folders[:3])) + (" or others" if len(folders) > 3 else "")
    raise InputError(f"there is no image {name} in {places}")


def image_size(path: Path) -> Size:
    """Reads the (height, width) of an image, after EXIF rotation, from its header."""
    try:
        check_regular(path)
        with Image.open(path) as image:
            width, height = image.size
            # masks are annotated on the image as it is seen, which is also how it is loaded
            swapped = image.getexif().get(0x0112) in SWAPPED
    except FileNotFoundError as error:
        raise InputError(f"there is no image {path}") from error
    except InputError:
        raise
    except Exception as error:  # the readers of broken files raise anything
        raise InputError(f"{path} is no image that can be read: {error}") from error
    return (width, height) if swapped else (height, width)


def check_size(path: Path, size: Size, found: Size) -> None:
    """Raises InputError when the (height, width) of an image is not that of its annotation."""
    if size != found:
        raise InputError(
            f"{path} is {found[1]}x{found[0]} pixels, annotated as {size[1]}x{size[0]}"
        )
