"""Damaged images are read, or refused as an ImageError; nothing else is raised, warned or hangs."""

import struct
import subprocess
import sys
import time
from collections import Counter

import pytest
from PIL import Image

from sam3_agent import ImageError, load_image
from sam3_agent.plugin import ImageLoader
from tests.image_bombs import PARTS, bomb, chunk, run_bomb, tiff
from tests.image_mutations import file_of, good_files, mutations
from tests.plugin_fixtures import png

SECONDS = 5.0
"""Processor time that one damaged file of some kilobytes may take; most take a millisecond."""


def outcome(data: bytes) -> str:
    """What the reading of a file ends with."""
    began, message = time.process_time(), ""
    try:
        assert load_image(data, max_megapixels=10).ndim == 3
    except ImageError as error:
        message = str(error)
    assert time.process_time() - began < SECONDS
    assert message.isprintable()
    assert len(message) < 400
    return "refused" if message else "read"


@pytest.mark.parametrize("name", good_files())
def test_the_files_to_be_damaged_are_read(name: str) -> None:
    assert load_image(good_files()[name]).shape[2] == 3


def test_a_damaged_file_is_read_or_refused() -> None:
    results = Counter(outcome(data) for _, data in mutations(600, seed=1))
    assert min(results["read"], results["refused"]) > 100


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 12))
def test_two_thousand_damaged_files_are_read_or_refused(seed: int) -> None:
    results = Counter(outcome(data) for _, data in mutations(2_000, seed))
    assert sum(results.values()) == 2_000


def test_what_a_decoder_raised_is_attached_to_the_error() -> None:
    name, error = "", None
    for name, data in mutations(600, seed=1):
        if name.startswith("avif"):
            try:
                load_image(data)
            except ImageError as raised:
                if isinstance(raised.__cause__, RuntimeError):
                    error = raised
    assert error is not None
    assert str(error).startswith("the image data is damaged and cannot be decoded: Failed")


LITTLE_MEMORY = """
import resource, sys
from sam3_agent import ImageError, load_image
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    load_image(sys.stdin.buffer.read(), max_megapixels=10_000)
except ImageError as error:
    print(repr(error.__cause__), error)
"""


def test_a_picture_too_large_for_the_memory_is_refused_as_that() -> None:
    command = [sys.executable, "-c", LITTLE_MEMORY]
    ended = subprocess.run(command, input=bomb(60_000), capture_output=True, check=True)
    refused = b"MemoryError() the image data is too large for the memory of this machine"
    assert ended.stdout.strip() == refused, ended


@pytest.mark.parametrize("kind", PARTS)
def test_a_file_of_endless_parts_is_refused_before_it_is_opened(kind: str) -> None:
    began = time.process_time()
    with pytest.raises(ImageError, match="more than 200,000 chunks, blocks or strips"):
        load_image(PARTS[kind](1_000_000))
    assert time.process_time() - began < SECONDS


def test_a_picture_of_run_lengths_is_refused_above_eight_megapixels() -> None:
    assert len(run_bomb(7_000)) < 30_000
    with pytest.raises(ImageError, match="49 megapixels, the limit is 8"):
        ImageLoader().read(run_bomb(7_000))
    assert ImageLoader().read(run_bomb(200)).shape == (200, 200, 3)


def test_damaged_tags_of_a_tiff_bring_no_lines_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tags = b"".join(struct.pack("<HHII", 60_000 + n, 99, 1, 0) for n in range(500))
    good = tiff({256: 16, 257: 16, 258: 16, 259: 1, 262: 1, 277: 1, 278: 16}, bytes(512), 273, 279)
    place, count = 10 + 9 * 12, struct.pack("<H", 9 + 500)
    data = good[:8] + count + good[10:place] + tags + bytes(4) + good[place + 4 :]
    load_image(data)
    assert not caplog.records
    with pytest.raises(ImageError, match="is a TIFF with colors 99, which is not read"):
        load_image(
            data.replace(struct.pack("<HHII", 262, 4, 1, 1), struct.pack("<HHII", 262, 4, 1, 99))
        )


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_is_read_but_not_of_untrusted_callers(compression: str) -> None:
    """Damaged, each of its lines would be a line in the log of a server."""
    fax = file_of(Image.new("1", (64, 32), 1), "TIFF", compression=compression)
    assert load_image(fax).shape == (32, 64, 3)
    with pytest.raises(ImageError, match="a TIFF in a compression for fax; save it as PNG"):
        ImageLoader().read(fax)


def test_warnings_about_metadata_do_not_reach_the_caller(recwarn: pytest.WarningsRecorder) -> None:
    """The tests turn warnings into errors, so none may be raised either."""
    directory = b"II*\0\x08\0\0\0\2\0\x12\1\3\0\1\0\0\0\6\0\0\0"  # it ends early
    assert load_image(png()[:33] + chunk(b"eXIf", directory) + png()[33:]).shape == (200, 100, 3)
    assert Image.MAX_IMAGE_PIXELS is not None
    assert not recwarn.list
