"""Small image files of many kinds, and ways to damage them; the same damage for the same seed."""

import functools
import io
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms


def file_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.copy().save(buffer, kind, **options)
    return buffer.getvalue()


def tiff_of(samples: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


@functools.cache
def good_files() -> Mapping[str, bytes]:
    """Name -> content of files that are read without an error."""
    noise = np.random.default_rng(3).integers(0, 256, (24, 32, 4), np.uint8)
    noise[:, :, 3] = np.where(noise[:, :, 3] < 128, 0, 255)
    picture, clear = Image.fromarray(noise[..., :3]), Image.fromarray(noise)
    grey, palette = picture.convert("L"), picture.convert("P")
    deep = noise.astype(np.uint16) * 256 + 77
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    exif.get_ifd(0x8769)[0x829A] = 0.25
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    extras = {"exif": exif, "icc_profile": profile}
    frames = {"save_all": True, "append_images": [picture.rotate(90), clear.convert("RGB")]}
    planes = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    bands = np.concatenate([noise, noise[..., :2]], 2)
    colors = np.arange(768, dtype=np.uint16).reshape(3, 256)
    return {
        "png": file_of(picture, "PNG", dpi=(72, 72), **extras),
        "png rgba": file_of(clear, "PNG"),
        "png palette": file_of(palette, "PNG", transparency=3),
        "png 16 grey": file_of(Image.fromarray(deep[..., 0]), "PNG"),
        "png 16 rgb": _deep_png(deep[..., :3]),
        "apng": file_of(picture, "PNG", **frames),
        "jpeg": file_of(picture, "JPEG", **extras),
        "jpeg progressive": file_of(picture, "JPEG", progressive=True, exif=exif),
        "jpeg cmyk": file_of(picture.convert("CMYK"), "JPEG", **extras),
        "jpeg grey": file_of(grey, "JPEG", optimize=True),
        "mpo": file_of(picture, "MPO", **frames),
        "webp": file_of(picture, "WEBP", **extras),
        "webp lossless": file_of(clear, "WEBP", lossless=True, exif=exif),
        "webp animated": file_of(picture, "WEBP", **frames),
        "avif": file_of(picture, "AVIF", **extras),
        "avif alpha": file_of(clear, "AVIF"),
        "avif animated": file_of(picture, "AVIF", **frames),
        "gif": file_of(palette, "GIF", comment=b"comment"),
        "gif animated": file_of(picture, "GIF", **frames),
        "tiff": file_of(picture, "TIFF", **extras),
        "tiff lzw": file_of(picture, "TIFF", compression="tiff_lzw"),
        "tiff deflate": file_of(clear, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": file_of(picture, "TIFF", compression="jpeg"),
        "tiff group 4": file_of(picture.convert("1"), "TIFF", compression="group4"),
        "tiff pages": file_of(picture, "TIFF", save_all=True, append_images=[grey]),
        "tiff float": file_of(grey.convert("F"), "TIFF"),
        "tiff deep": tiff_of(deep[..., :3], photometric="rgb"),
        "tiff deep tiles": tiff_of(deep[..., 0], tile=(16, 16), compression="zlib"),
        "tiff deep planes": tiff_of(np.moveaxis(deep, -1, 0), compression="lzw", **planes),
        "tiff deep lzma": tiff_of(deep[..., 0], compression="lzma"),
        "tiff deep zstd": tiff_of(deep[..., 0], compression="zstd", predictor=True),
        "tiff tiles": tiff_of(noise[..., :3], tile=(16, 16), photometric="rgb"),
        "tiff packbits": tiff_of(noise[..., 0], compression="packbits"),
        "tiff bands": tiff_of(bands, planarconfig="contig", photometric="rgb"),
        "tiff big": tiff_of(deep[..., 0], bigtiff=True, byteorder=">"),
        "tiff palette": tiff_of(noise[..., 0], photometric="palette", colormap=colors),
        "bmp": file_of(picture, "BMP"),
        "bmp palette": file_of(palette, "BMP"),
        "ico": file_of(clear, "ICO", sizes=[(16, 16), (24, 24)]),
        "ppm": file_of(picture, "PPM"),
        "pgm": file_of(grey, "PPM"),
        "jpeg 2000": file_of(picture, "JPEG2000"),
        "tga": file_of(picture, "TGA", compression="tga_rle"),
        "pcx": file_of(palette, "PCX"),
        "sgi": file_of(picture, "SGI"),
        "dds": file_of(clear, "DDS"),
        "icns": file_of(clear.resize((32, 32)), "ICNS"),
        "qoi": file_of(picture, "QOI"),
    }  # fmt: skip


def _deep_png(samples: Any) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(samples)))


def mutations(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many damaged files, each with the name of the good one that it was made of."""
    chance, files = random.Random(seed), good_files()
    names = list(files)
    for number in range(count):
        name = names[number % len(names)]
        data = bytearray(files[name])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            chance.choice(DAMAGES)(data, chance)
        yield name, bytes(data)


def _flip_bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 20))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _change_head(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 6))):
        if data:
            data[chance.randrange(min(len(data), 120))] = chance.choice(_BYTES)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _change_number(data: bytearray, chance: random.Random) -> None:
    """Write a number of 2, 4 or 8 bytes somewhere, such as the length of a chunk."""
    form = chance.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    number = chance.choice((0, 1, 7, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63))
    if len(data) > size:
        place = chance.randrange(len(data) - size)
        data[place : place + size] = struct.pack(form, number & (256**size - 1))


def _take_out(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    del data[place : place + chance.randrange(1, 40)]


def _double(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    data[place:place] = data[place : place + chance.randrange(1, 200)]


def _splice(data: bytearray, chance: random.Random) -> None:
    """Put a piece of another file in."""
    other = chance.choice(list(good_files().values()))
    place, start = chance.randrange(len(data) + 1), chance.randrange(len(other))
    size = chance.randrange(1, 300)
    data[place : place + size] = other[start : start + size]


def _zeros(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    size = min(chance.randrange(1, 64), len(data) - place)
    data[place : place + size] = bytes(size)


_BYTES = (0, 1, 2, 3, 5, 8, 16, 32, 64, 127, 128, 200, 254, 255)

DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits,
    _change_head,
    _cut,
    _change_number,
    _take_out,
    _double,
    _splice,
    _zeros,
)
