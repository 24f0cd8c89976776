"""What a planner and a person are shown: every mask outlined, every number in its place."""

import numpy as np
import pytest

from sam3_agent import Masks
from sam3_agent.images import Pixels
from sam3_agent.tools.overlay import PALETTE, draw_masks


def discs(count: int, width: int, height: int) -> Masks:
    """`count` discs at random places of an image."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    centres = rng.random((count, 2)) * (width, height)
    radii = rng.uniform(0.01, 0.06, count) * width
    return Masks.from_dense(
        np.array(
            [np.hypot(x - cx, y - cy) <= r for (cx, cy), r in zip(centres, radii, strict=True)]
        )
    )


def test_pixels_outside_masks_and_labels_stay_as_they_are(image: Pixels) -> None:
    dense = np.zeros((1, 100, 200), np.bool_)
    dense[0, 20:90, 20:120] = True
    drawn = draw_masks(image, Masks.from_dense(dense), [1])
    assert drawn.shape == image.shape
    assert (drawn[~dense[0]] == image[~dense[0]]).all()
    assert (drawn[dense[0]] != image[dense[0]]).any(axis=-1).all()
    assert (image == 128).all()


def test_a_mask_has_the_colour_of_its_number_in_every_picture(image: Pixels) -> None:
    dense = np.zeros((2, 100, 200), np.bool_)
    dense[0, 10:40, 10:60] = dense[1, 50:90, 100:160] = True
    masks = Masks.from_dense(dense)
    both, second = draw_masks(image, masks, [4, 14]), draw_masks(image, masks[1], [14])
    assert tuple(both[50, 100]) == tuple(second[50, 100]) == PALETTE[13 % len(PALETTE)]
    assert tuple(both[10, 10]) == PALETTE[3]


@pytest.mark.parametrize(("width", "height"), [(320, 240), (64, 400), (1920, 1080)])
@pytest.mark.parametrize("count", [1, 60])
def test_any_number_of_masks_on_any_size_is_drawn(count: int, width: int, height: int) -> None:
    ground = np.zeros((height, width, 3), np.uint8)
    drawn = draw_masks(ground, discs(count, width, height), range(1, count + 1))
    assert drawn.shape == ground.shape
    assert drawn.any()


def test_masks_of_one_pixel_and_of_the_whole_image_are_drawn(image: Pixels) -> None:
    dense = np.zeros((3, 100, 200), np.bool_)
    dense[0, 0, 0] = dense[1, 99, 199] = True
    dense[2] = True
    drawn = draw_masks(image, Masks.from_dense(dense), [1, 2, 3])
    assert (drawn != image).any(axis=-1).all()


def test_no_masks_leave_the_image_alone(image: Pixels) -> None:
    assert (draw_masks(image, Masks.empty((100, 200)), []) == image).all()
