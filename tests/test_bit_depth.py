"""Pictures of more than 8 bits, with more than three bands, and in the odd layouts of TIFF."""

import io
import logging
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from sam3_agent import ImageError, load_image
from tests.command_line import python

Samples = npt.NDArray[Any]

ROOT = Path(__file__).parents[1]


def shares(height: int = 120, width: int = 160) -> npt.NDArray[np.float64]:
    """(H, W, 3) a picture as shares of white, bright as photos are, without pure white."""
    rows, columns = np.mgrid[:height, :width]
    ramps = [0.5 + columns / width * 0.45, 0.6 + rows / height * 0.35, 0.9 - rows / height * 0.5]
    noise = np.random.default_rng(3).normal(0, 0.01, (height, width, 3))
    return np.clip(np.stack(ramps, axis=-1) + noise, 0, 0.97)


COLOR = shares()
GREY = COLOR[..., 0]


def tiff(samples: Samples, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def png(samples: Samples) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG")
    return buffer.getvalue()


def without_tag(data: bytes, code: int) -> bytes:
    """A little-endian TIFF whose tag of this number became one that nobody knows."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages.first.tags[code].offset
    return data[:place] + (65_000).to_bytes(2, "little") + data[place + 2 :]


def assert_shows(source: Any, truth: Samples = COLOR, tolerance: float = 1.5) -> None:
    """The picture is `truth`, shares of white, within so many of 255 steps."""
    pixels = load_image(source).astype(float)
    wanted = (truth if truth.ndim == 3 else truth[..., None].repeat(3, axis=2)) * 255
    assert pixels.shape == wanted.shape
    assert np.abs(pixels - wanted).max() <= tolerance
    assert abs(pixels.mean() - wanted.mean()) < 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_bits_that_a_camera_used_of_sixteen_are_detected(bits: int) -> None:
    white = 2**bits - 1
    color, grey = (COLOR * white).astype(np.uint16), (GREY * white).astype(np.uint16)
    assert_shows(png(grey), GREY)
    assert_shows(imagecodecs.png_encode(color))
    assert_shows(tiff(grey), GREY)
    assert_shows(tiff(color, photometric="rgb"))
    assert_shows(color)
    assert_shows(grey.astype(">u2"), GREY)
    assert_shows(Image.fromarray(grey), GREY)


@pytest.mark.parametrize("bits", [10, 12])
def test_samples_packed_without_gaps_are_read(bits: int) -> None:
    white = 2**bits - 1
    assert_shows(tiff((COLOR * white).astype(np.uint16), photometric="rgb", bitspersample=bits))
    assert_shows(tiff((GREY * white).astype(np.uint16), bitspersample=bits), GREY)


@pytest.mark.parametrize(
    ("kind", "white"),
    [
        *(("int16", 4095), ("int16", 32_767), ("int32", 255), ("int32", 65_535)),
        *(("int32", 2**31 - 1), ("uint32", 4095), ("uint32", 2**32 - 1), ("int64", 255)),
        *(("float16", 1), ("float16", 255), ("float32", 1), ("float32", 255), ("float32", 4095)),
        *(("float32", 65_535), ("float64", 1), ("float64", 255), ("float64", 65_535)),
    ],
)
def test_integers_and_floats_are_scaled_by_the_white_that_suits_them(
    kind: str, white: float
) -> None:
    samples = (COLOR * white).astype(kind)
    assert_shows(samples)
    assert_shows(tiff(samples, photometric="rgb"))
    assert_shows(tiff(samples[..., 0]), GREY)


@pytest.mark.parametrize("white", [1.0, 255.0, 65_535.0])
@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_one_odd_pixel_changes_no_other(white: float, odd: float) -> None:
    samples = (COLOR * white).astype(np.float32)
    samples[5, 7] = odd
    for source in (samples, tiff(samples, photometric="rgb")):
        pixels = load_image(source)
        assert (pixels[5, 7] == (255 if odd == np.inf else 0)).all()
        assert np.abs(pixels - COLOR * 255)[10:].max() <= 1.5


def test_a_hot_pixel_and_a_fill_value_do_not_darken_the_rest() -> None:
    samples: Samples = (COLOR * 4095).astype(np.uint16)
    samples[3, 3, 0] = 65_535
    assert np.abs(load_image(samples).astype(float) - COLOR * 255)[10:].max() <= 1.5


def test_samples_that_hardly_reach_any_white_are_scaled_by_their_own_range() -> None:
    for samples in (COLOR * 0.02, (COLOR * 11).astype(np.uint16), COLOR * 7.0, COLOR * 2e9 - 1e9):
        pixels = load_image(samples)
        assert pixels.max() == 255
        assert np.corrcoef(pixels.ravel(), samples.ravel())[0, 1] > 0.99


def test_a_dark_picture_of_eight_bits_written_as_sixteen_stays_dark() -> None:
    dark = (COLOR * 30).astype(np.uint8)
    assert (load_image(dark.astype(np.uint16) * 257) == dark).all()


def test_pictures_without_anything_in_them_are_black() -> None:
    for kind in (np.uint16, np.int32, np.float32):
        assert (load_image(np.zeros((8, 9), kind)) == 0).all()
    assert (load_image(np.full((8, 9, 3), np.nan)) == 0).all()


def test_one_warning_says_how_samples_were_scaled(caplog: pytest.LogCaptureFixture) -> None:
    load_image((COLOR * 4095).astype(np.uint16))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "uint16 samples" in record.getMessage()
    assert "4095 is white" in record.getMessage()


def test_samples_that_fill_their_type_are_scaled_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load_image((COLOR * 65_535).astype(np.uint16))
    load_image(COLOR)
    load_image((COLOR * 255).astype(np.uint8))
    load_image(GREY > 0.7)
    assert not caplog.records


LAYOUTS: dict[str, dict[str, Any]] = {
    "big-endian": {"byteorder": ">"},
    "one plane a band": {"planarconfig": "separate"},
    "tiles": {"tile": (32, 48)},
    "strips": {"rowsperstrip": 7},
    "LZW": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "deflate"},
    "deflated tiles with a predictor": {
        "compression": "deflate",
        "predictor": True,
        "tile": (64, 64),
    },
    "Zstandard": {"compression": "zstd"},
    "PackBits": {"compression": "packbits"},
    "BigTIFF": {"bigtiff": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_every_layout_of_a_deep_tiff_is_read(layout: str, kind: type) -> None:
    options = dict(LAYOUTS[layout])
    white = 4095 if kind is np.uint16 else 1.0
    samples: Samples = (COLOR * white).astype(kind)
    if options.get("planarconfig") == "separate":
        samples = np.moveaxis(samples, -1, 0).copy()
    assert_shows(tiff(samples, photometric="rgb", **options))


def test_of_several_pages_the_first_is_taken() -> None:
    pages = np.stack([COLOR * 65_535, COLOR * 0]).astype(np.uint16)
    assert_shows(tiff(pages, photometric="rgb"))


@pytest.mark.parametrize("white", [255, 65_535])
def test_a_fourth_band_is_opacity_only_where_it_is_marked_so(
    white: int, caplog: pytest.LogCaptureFixture
) -> None:
    kind = np.uint8 if white == 255 else np.uint16
    infrared = np.zeros_like(GREY)
    samples = (np.dstack([COLOR, infrared]) * white).astype(kind)
    unmarked = tiff(samples, photometric="rgb", extrasamples=["unspecified"])
    for source in (unmarked, without_tag(unmarked, 338)):
        caplog.clear()
        assert_shows(source)
        (record,) = caplog.records
        assert "4 bands" in record.getMessage()
    samples[:, 80:, 3] = white
    clear_on_white = COLOR.copy()
    clear_on_white[:, :80] = 1
    assert_shows(tiff(samples, photometric="rgb", extrasamples=["unassalpha"]), clear_on_white)
    samples[:, :80, :3] = 0
    assert_shows(tiff(samples, photometric="rgb", extrasamples=["assocalpha"]), clear_on_white)


@pytest.mark.parametrize("white", [255, 4095])
def test_a_band_that_is_marked_as_opacity_and_is_none_is_left_out(
    white: int, caplog: pytest.LogCaptureFixture
) -> None:
    kind = np.uint8 if white == 255 else np.uint16
    for infrared in (GREY * 0, GREY * 0.2, 1 - COLOR[..., 1]):
        caplog.clear()
        samples = (np.dstack([COLOR, infrared]) * white).astype(kind)
        assert_shows(tiff(samples, photometric="rgb", extrasamples=["unassalpha"]))
        assert "looks like no opacity" in caplog.records[0].getMessage()


@pytest.mark.parametrize("white", [255, 2047, 65_535])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_of_many_bands_the_first_three_are_shown(
    white: int, planes: str, caplog: pytest.LogCaptureFixture
) -> None:
    kind = np.uint8 if white == 255 else np.uint16
    stack = (np.dstack([COLOR * (1 if white != 2047 else 2), GREY, GREY, GREY]) * white).astype(
        kind
    )
    if planes == "separate":
        stack = np.moveaxis(stack, -1, 0).copy()
    assert_shows(tiff(stack, photometric="minisblack", planarconfig=planes))
    assert "6 bands" in caplog.records[0].getMessage()


def test_grey_with_a_second_band_and_grey_with_opacity_are_distinguished() -> None:
    pair = (np.dstack([GREY, GREY * 0]) * 65_535).astype(np.uint16)
    pair[:, 80:, 1] = 65_535
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    assert_shows(tiff(pair, extrasamples=["unspecified"], **options), GREY)
    clear_on_white = GREY.copy()
    clear_on_white[:, :80] = 1
    assert_shows(tiff(pair, extrasamples=["unassalpha"], **options), clear_on_white)
    assert_shows(imagecodecs.png_encode(pair), clear_on_white)


def test_white_may_be_zero_and_colors_may_be_a_palette_or_ink() -> None:
    deep = (GREY * 65_535).astype(np.uint16)
    assert_shows(tiff(65_535 - deep, photometric="miniswhite"), GREY)
    ink = ((1 - np.dstack([COLOR, GREY * 0 + 1])) * 65_535).astype(np.uint16)
    assert_shows(tiff(ink, photometric="separated"))
    palette = np.stack([np.arange(65_536)[::-1]] * 3).astype(np.uint16)
    assert_shows(tiff(65_535 - deep, photometric="palette", colormap=palette), GREY)


def test_pixels_that_were_not_measured_are_black_and_do_not_count() -> None:
    samples = (GREY * 4095).astype(np.int16)
    samples[:30] = -9999
    truth = GREY.copy()
    truth[:30] = 0
    assert_shows(tiff(samples, extratags=[(42113, 2, 6, "-9999", True)]), truth)


def test_a_deep_tiff_is_turned_as_its_tag_says() -> None:
    samples = (COLOR * 65_535).astype(np.uint16)
    data = tiff(samples, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert_shows(data, np.rot90(COLOR, -1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(COLOR.astype(np.complex64)[..., 0]), "64 bits, format 6, which is not read"),
        (
            tiff((COLOR * 65_535).astype(np.uint16), photometric="rgb", compression="jpeg2000"),
            "compression JPEG2000, which is not read; save it as RGB",
        ),
        (tiff((COLOR * 65_535).astype(np.uint16), photometric="rgb")[:5000], "damaged"),
    ],
    ids=["complex numbers", "JPEG 2000", "cut short"],
)
def test_a_tiff_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        load_image(data)


def test_a_deep_tiff_keeps_the_pixel_limit() -> None:
    data = tiff(np.zeros((1500, 1500, 3), np.uint16), photometric="rgb", compression="deflate")
    with pytest.raises(ImageError, match=r"2 megapixels, the limit is 2"):
        load_image(data, max_megapixels=2)
    planes = np.zeros((40, 200, 200), np.uint16)
    bands = tiff(planes, photometric="minisblack", planarconfig="separate", compression="lzw")
    with pytest.raises(ImageError, match=r"MB in memory, the limit is 1"):
        load_image(bands, max_megapixels=0.05)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_tiff_is_refused_or_read_and_never_breaks(seed: int) -> None:
    random = np.random.default_rng(seed)
    compression = ("lzw", "deflate", "zstd", None)[seed]
    small: Samples = (shares(24, 32) * 4095).astype(np.uint16)
    good = tiff(small, photometric="rgb", compression=compression)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    for _ in range(150):
        data = bytearray(good)
        for place in random.integers(0, len(data) if random.random() < 0.5 else 300, 4):
            data[place] = random.integers(0, 256)
        try:
            pixels = load_image(bytes(data), max_megapixels=1)
        except ImageError:
            continue
        assert pixels.dtype == np.uint8


def test_without_the_extra_an_error_names_it_and_what_pillow_reads_is_read(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["tifffile"] = sys.modules["imagecodecs"] = None
from sam3_agent import ImageError, load_image
print(load_image({str(tmp_path / "grey.tif")!r}).mean())
print(load_image({str(tmp_path / "full.tif")!r}).mean())
for name in ("float.tif", "twelve.tif", "twelve.png"):
    try:
        load_image({str(tmp_path)!r} + "/" + name)
    except ImageError as error:
        print(error)
"""
    (tmp_path / "grey.tif").write_bytes(tiff((GREY * 4095).astype(np.uint16)))
    floats = COLOR.astype(np.float32)
    (tmp_path / "float.tif").write_bytes(tiff(floats, photometric="rgb"))
    twelve, full = ((COLOR * white).astype(np.uint16) for white in (4095, 65535))
    (tmp_path / "full.tif").write_bytes(tiff(full, photometric="rgb"))
    (tmp_path / "twelve.tif").write_bytes(tiff(twelve, photometric="rgb"))
    (tmp_path / "twelve.png").write_bytes(imagecodecs.png_encode(twelve))
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    mean, full_mean, *errors = done.stdout.splitlines()
    assert float(mean) == pytest.approx(GREY.mean() * 255, abs=1)
    assert float(full_mean) == pytest.approx(COLOR.mean() * 255, abs=1)
    assert len(errors) == 3
    assert all("needs tifffile: pip install 'sam3-agent[tiff]'" in error for error in errors)
