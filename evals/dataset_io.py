"""Reads the folders of datasets: where they are, which records are whole, how large images are.

Files that cannot be this benchmark's raise InputError; a broken record becomes a line of
`Benchmark.problems`, and the others are read.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Sample
from sam3_agent.geometry import Size

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
            problems.append(f"{where}: {error}")
            continue
        if sample.id in samples:
            problems.append(f"{where}: the id {sample.id!r} is there twice")
        # the first of two with one id is kept: a run could not tell their rows apart
        samples.setdefault(sample.id, sample)
    if problems and not samples:
        raise InputError(f"none of {len(problems)} records can be used; the first: {problems[0]}")
    return list(samples.values()), problems


def image_size(path: Path) -> Size:
    """Reads the (height, width) of an image, after EXIF rotation, from its header."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            # masks are annotated on the image as it is seen, which is also how it is loaded
            swapped = image.getexif().get(0x0112) in SWAPPED
    except FileNotFoundError as error:
        raise InputError(f"there is no image {path}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no image that can be read: {error}") from error
    return (width, height) if swapped else (height, width)


def check_size(path: Path, size: Size, found: Size) -> None:
    """Raises InputError when the (height, width) of an image is not that of its annotation."""
    if size != found:
        raise InputError(
            f"{path} is {found[1]}x{found[0]} pixels, annotated as {size[1]}x{size[0]}"
        )
