"""Pictures as files: bounded in size, as JPEG or PNG, whichever is smaller."""

import io

import numpy as np
import pytest
from PIL import Image

from sam3_agent.image_encoding import (
    MAX_SIDE,
    PictureEncoder,
    bounded_size,
    encode_jpeg,
    encode_smaller,
)
from sam3_agent.images import Pixels


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (10, 20, (20, 10)),
        (3136, 784, (392, 1568)),
        (1, 9000, (1568, 1)),
        (1568, 1568, (1568, 1568)),
    ],
)
def test_a_file_has_the_bounded_size(height: int, width: int, size: tuple[int, int]) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    assert bounded_size(picture) == size
    for encoded in (encode_jpeg(picture), encode_smaller(picture)):
        assert Image.open(io.BytesIO(encoded.data)).size == size


def test_a_drawing_becomes_a_png_and_a_photo_a_jpeg() -> None:
    drawing = np.full((200, 300, 3), 255, np.uint8)
    drawing[50:100, 50:100] = 0
    assert encode_smaller(drawing).media_type == "image/png"
    assert encode_smaller(drawing).data_url.startswith("data:image/png;base64,iVBOR")
    assert encode_smaller(noise(200, 300)).media_type == "image/jpeg"


def test_an_encoder_encodes_a_picture_once_for_each_size() -> None:
    encoder, picture = PictureEncoder(), noise(2000, 10)
    first = encoder.encode(picture)
    assert encoder.encode(picture) is first
    assert encoder.encode(picture, max_side=MAX_SIDE * 2) is first
    smaller = encoder.encode(picture, max_side=100)
    assert Image.open(io.BytesIO(smaller.data)).size == (1, 100)
    assert encoder.encode(picture.copy()) is not first
