"""Every kind of picture that people have, good and bad."""

import base64
import io
import textwrap
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageOps

from sam3_agent import ImageError, load_image
from sam3_agent.images import Pixels
from tests.loopback import address, serving


def file_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def colors() -> Image.Image:
    """6 x 4 pixels: the left half red, the right half blue."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3, 0] = pixels[:, 3:, 2] = 255
    return Image.fromarray(pixels)


def assert_red_then_blue(pixels: Pixels, tolerance: int = 40) -> None:
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[:, 0].astype(int) - [255, 0, 0]).max() <= tolerance
    assert np.abs(pixels[:, -1].astype(int) - [0, 0, 255]).max() <= tolerance


def test_a_path_bytes_a_pil_image_and_an_array_give_the_same_pixels(
    colors: Image.Image, tmp_path: Path
) -> None:
    path = tmp_path / "colors.png"
    path.write_bytes(file_of(colors, "PNG"))
    for source in (path, str(path), path.read_bytes(), colors, np.asarray(colors)):
        assert_red_then_blue(load_image(source), tolerance=0)


def test_pixels_are_read_only_and_the_source_stays_writable() -> None:
    source = np.zeros((4, 4, 3), np.uint8)
    assert not load_image(source).flags.writeable
    source[0, 0] = 1


@pytest.mark.parametrize("mode", ["P", "CMYK", "RGBA", "YCbCr"])
def test_other_color_modes_become_rgb(colors: Image.Image, mode: str) -> None:
    assert_red_then_blue(load_image(colors.convert(mode)))


def test_a_cmyk_jpeg_is_read(colors: Image.Image) -> None:
    assert_red_then_blue(load_image(file_of(colors.convert("CMYK"), "JPEG", quality=100)), 120)


def test_exif_rotation_is_applied(colors: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = load_image(file_of(colors, "PNG", exif=exif))
    assert_red_then_blue(turned[:, ::-1], tolerance=0)


def test_transparent_pixels_are_laid_on_white() -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    assert (load_image(clear) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0])
    assert (load_image(file_of(palette, "PNG", transparency=0)) == 255).all()


def test_sixteen_bit_and_grey_pictures_keep_their_brightness() -> None:
    deep = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    assert (load_image(file_of(deep, "PNG")) == 128).all()
    assert (load_image(np.full((4, 4), 77, np.uint8)) == 77).all()
    assert (load_image(Image.fromarray(np.full((4, 4), 0.5, np.float32))) == 128).all()


def test_of_an_animation_the_first_frame_is_taken(colors: Image.Image) -> None:
    frames = [Image.new("RGB", colors.size, "green")]
    assert_red_then_blue(
        load_image(file_of(colors, "GIF", save_all=True, append_images=frames)), tolerance=2
    )


def broken_sources(tmp_path: Path) -> dict[str, tuple[Any, str]]:
    good = file_of(Image.effect_noise((100, 100), 50), "PNG")
    text = tmp_path / "text.png"
    text.write_text("this is not a picture")
    empty = tmp_path / "empty.png"
    empty.touch()
    return {
        "text": (text, "not an image"),
        "empty": (empty, "is empty"),
        "folder": (tmp_path, "cannot read"),
        "missing": (tmp_path / "none.png", "there is no file"),
        "nul": ("a\0b.png", "cannot read"),
        "blank": (" ", "the image is an empty text"),
        "truncated": (good[: len(good) // 2], "damaged"),
        "tiny": (np.zeros((1, 1, 3), np.uint8), "1x1 pixels"),
        "flat": (np.zeros((0, 0, 3), np.uint8), "empty"),
        "complex numbers": (np.zeros((4, 4, 3), complex), "must be .* not complex128"),
        "words": (np.full((4, 4), "red"), "must be"),
        "two channels": (np.zeros((4, 4, 2), np.uint8), "must be .H, W."),
        "channels first": (np.zeros((3, 40, 50), np.uint8), "must be .H, W."),
        "many channels": (np.zeros((40, 50, 8), np.uint16), "must be .H, W."),
        "number": (7, "cannot read an image from int"),
        "none": (None, "cannot read an image from NoneType"),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("text", "empty", "folder", "missing", "nul", "truncated", "tiny", "flat"),
        *("complex numbers", "words", "two channels", "channels first", "many channels"),
        *("number", "none"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    source, reason = broken_sources(tmp_path)[name]
    with pytest.raises(ImageError, match=reason):
        load_image(source)


def test_a_picture_over_the_pixel_limit_is_refused_before_it_is_decoded() -> None:
    bomb = file_of(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(ImageError, match="400 megapixels, the limit is 100"):
        load_image(bomb)
    with pytest.raises(ImageError, match=r"4 megapixels, the limit is 2\.5"):
        load_image(np.zeros((2000, 2000, 3), np.uint8), max_megapixels=2.5)


def test_the_pixel_limit_can_be_raised_above_that_of_pillow() -> None:
    large = file_of(Image.new("1", (14_000, 13_000)), "PNG")
    assert load_image(large, max_megapixels=200).shape == (13_000, 14_000, 3)


@pytest.fixture
def server(colors: Image.Image) -> Iterator[str]:
    """A loopback web server with /colors.png and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/colors.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(file_of(colors, "PNG"))

    with serving(Handler) as running:
        yield address(running)


def test_a_url_is_downloaded(server: str) -> None:
    assert_red_then_blue(load_image(f"{server}/colors.png"), tolerance=0)


def test_a_url_that_fails_is_an_image_error(server: str) -> None:
    with pytest.raises(ImageError, match=r"cannot download .*Not Found"):
        load_image(f"{server}/other.png")
    with pytest.raises(ImageError, match="cannot download"):
        load_image("http://no-such-host.invalid/x.png")


def test_a_home_folder_and_a_file_url_are_paths(
    colors: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "my colors é.png"
    path.write_bytes(file_of(colors, "PNG"))
    for source in (
        "~/my colors é.png",
        Path("~/my colors é.png"),
        path.as_uri(),
        path.as_uri().replace("file://", "FILE://localhost"),
    ):
        assert_red_then_blue(load_image(source), tolerance=0)
    with pytest.raises(ImageError, match=r"there is no file .*none\.png"):
        load_image("file:///none.png")
    with pytest.raises(ImageError, match="has three slashes, such as file:///"):
        load_image("file://home/me/photo.png")


def spellings(data: bytes) -> dict[str, str]:
    """The ways in which people and programs write bytes as a data: URL."""
    plain = base64.b64encode(data).decode()
    return {
        "plain": f"data:image/png;base64,{plain}",
        "without type": f"data:;base64,{plain}",
        "in capitals": f"DATA:image/PNG;charset=utf-8;BASE64,{plain}",
        "wrapped": "data:image/png;base64,\n" + base64.encodebytes(data).decode(),
        "wrapped as on Windows": "data:image/png;base64," + "\r\n ".join(textwrap.wrap(plain, 64)),
        "unpadded": f"data:image/png;base64,{plain.rstrip('=')}",
        "for URLs": f"data:image/png;base64,{base64.urlsafe_b64encode(data).decode()}",
        "for URLs, unpadded": "data:image/png;base64,"
        + base64.urlsafe_b64encode(data).decode().rstrip("="),
        "percent-encoded base64": f"data:image/png;base64,{quote(plain, safe='')}",
        "no base64": f"data:image/png,{quote(data)}",
    }


@pytest.mark.parametrize("name", spellings(b""))
def test_a_data_url_is_read_in_every_spelling(name: str) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (31, 29, 3), np.uint8)
    url = spellings(file_of(Image.fromarray(noise), "PNG") + b"!")[name]  # a length to be padded
    assert (load_image(url) == noise).all()


def test_a_data_url_that_is_broken_is_refused_without_its_content(colors: Image.Image) -> None:
    plain = base64.b64encode(file_of(colors, "PNG")).decode()
    for source, reason in {
        "data:image/png;base64" + plain: "must look like data:image/png;base64,",
        f"data:image/png;base64,{plain[:21]}": "cut short",
        f"data:image/png;base64,{plain}é": "a letter that base64 does not have",
        plain: "put data:image/png;base64, before it",
        plain * 200: "put data:image/png;base64, before it",
        "no/such/folder/" + "x" * 5000: "cannot read",
        f"https://no-such-host.invalid/{'x' * 500}": "cannot download",
    }.items():
        with pytest.raises(ImageError, match=reason) as caught:
            load_image(source)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0garbage!!", b"\0" * 30, b"Exif\0\0II*\0\x08\0\0\0\2\0\x12\1\3\0\1\0\0\0\6\0\0\0"],
    ids=["noise", "zeros", "cut short"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_refuse_fine_pixels(
    colors: Image.Image, kind: str, exif: bytes
) -> None:
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True}
    pixels = load_image(file_of(colors, kind, exif=exif, **options))
    if pixels.shape[:2] == (6, 4):  # the orientation stood before the cut
        pixels = np.rot90(pixels)
    assert_red_then_blue(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(7).integers(0, 256, (5, 7, 3), np.uint8)
    data = file_of(Image.fromarray(noise), "PNG", exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (load_image(data) == np.asarray(turned)).all()
