"""Overlays: every mask outlined, every number in its place."""

import numpy as np
import pytest

from sam3_agent import Masks
from sam3_agent.images import Pixels
from sam3_agent.label_layout import Color, Label, place_labels, pole
from sam3_agent.model.fake_segmenter import FakeSegmenter
from sam3_agent.overlay import PALETTE, draw_masks, view
from sam3_agent.rle import encode_crop, tight_boxes
from sam3_agent.scene import Scene
from sam3_agent.tools.crops import look


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
    assert (drawn[20, 20:120] != 128).any(axis=-1).all()
    assert (image == 128).all()


def test_a_mask_has_the_colour_of_its_number_in_every_picture(image: Pixels) -> None:
    dense = np.zeros((2, 100, 200), np.bool_)
    dense[0, 10:40, 10:60] = dense[1, 50:90, 100:160] = True
    masks = Masks.from_dense(dense)
    both, second = draw_masks(image, masks, [4, 14]), draw_masks(image, masks[1], [14])
    assert tuple(both[50, 100]) == tuple(second[50, 100]) == PALETTE[13 % len(PALETTE)]
    assert tuple(both[10, 10]) == PALETTE[3]


def disc(radius: int, ground: Color, color: Color) -> tuple[Pixels, Masks]:
    """A disc of one colour in the middle of a picture of 768 x 768, with its mask."""
    y, x = np.mgrid[:768, :768]
    mask = np.hypot(x - 384, y - 384) <= radius
    return np.where(mask[..., None], color, ground).astype(np.uint8), Masks.from_dense(mask[None])


@pytest.mark.parametrize(
    "color", [(222, 30, 38), (250, 250, 250), (12, 12, 12), (252, 212, 28), *PALETTE[:3]]
)
@pytest.mark.parametrize(("radius", "most"), [(10, 0.5), (20, 0.49), (40, 0.42), (300, 0.12)])
def test_a_hatched_thing_keeps_its_colour(radius: int, most: float, color: Color) -> None:
    for number in range(1, 13):
        picture, masks = disc(radius, (128, 128, 128), color)
        inside = masks.dense()[0]
        for drawn in (draw_masks(picture, masks, [number]), view(picture, masks, [number])):
            changed = (drawn[inside] != color).any(axis=-1)
            assert changed.mean() <= most
            if radius >= 20:
                assert np.median(drawn[inside], axis=0).tolist() == list(color)


def test_a_crop_leaves_the_inside_of_a_thing_as_it_is() -> None:
    picture = np.full((400, 600, 3), 90, np.uint8)
    picture[100:160, 200:300] = (222, 30, 38)
    scene = Scene(picture, FakeSegmenter({"car": [(200, 100, 300, 160)]}))
    scene.segment(["car"])
    (closeup,) = look(scene, numbers=[1]).pictures
    red = (closeup == (222, 30, 38)).all(axis=-1)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    inside = red[rows[0] + 10 : rows[-1] - 9, columns[0] + 10 : columns[-1] - 9]
    assert inside.size > 50_000
    assert inside.all()


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), (128, 128, 128), *PALETTE])
def test_an_outline_is_visible_on_any_colour(ground: Color) -> None:
    for number, own in enumerate(PALETTE, 1):
        picture, masks = disc(100, ground, ground)
        drawn = draw_masks(picture, masks, [number]).astype(int)
        inside = masks.dense()[0]
        assert (drawn[inside] == own).all(axis=-1).any()
        contrast = np.abs(drawn - np.array(ground)).max(axis=-1)
        for crossing in (contrast[284:300, 384], contrast[384, 284:300], contrast[469:485, 384]):
            assert crossing.max() >= 100


def test_masks_of_odd_and_even_numbers_are_hatched_in_different_directions() -> None:
    drawn = [draw_masks(*disc(200, (0, 0, 0), (0, 0, 0)), [number]) for number in (1, 2)]
    hatched = [picture[480:520, 330:370].any(axis=-1) for picture in drawn]
    assert all(one.any() for one in hatched)
    for one, slope in zip(hatched, (1, -1), strict=True):
        rows, columns = np.nonzero(one)
        lines = np.unique((rows * slope + columns) % 40)
        assert len(lines) <= 2


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
    edge = np.ones((100, 200), np.bool_)
    edge[1:-1, 1:-1] = False
    assert (drawn != image).any(axis=-1)[edge].all()
    assert tuple(drawn[0, 0]) == PALETTE[0]
    assert tuple(drawn[99, 199]) == PALETTE[1]


def test_no_masks_leave_the_image_alone(image: Pixels) -> None:
    assert (draw_masks(image, Masks.empty((100, 200)), []) == image).all()


def ellipses(count: int, width: int, height: int) -> Masks:
    """`count` small ellipses all over an image of any size."""
    rng = np.random.default_rng(1)
    rles = []
    for _ in range(count):
        columns, rows = (rng.uniform(0.01, 0.08, 2) * min(width, height)).astype(int) + 2
        y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        corner = (int(rng.integers(width - columns)), int(rng.integers(height - rows)))
        rles.append(encode_crop(np.hypot(x, y) <= 1, corner, (height, width)))
    scores = np.ones(count, np.float32)
    return Masks((height, width), tight_boxes(rles), scores, ("",) * count, tuple(rles))


@pytest.mark.parametrize(("width", "height"), [(320, 240), (320, 40), (1920, 1080), (4000, 3000)])
@pytest.mark.parametrize("count", [1, 20, 200])
def test_a_view_has_every_number_at_any_size(count: int, width: int, height: int) -> None:
    shown = view(np.zeros((height, width, 3), np.uint8), ellipses(count, width, height),
                 range(1, count + 1))  # fmt: skip
    assert 500 <= max(shown.shape) <= 1568
    assert shown.shape[0] / shown.shape[1] == pytest.approx(height / width, rel=0.02)
    labels = [
        Label(str(n), PALETTE[0], (int(x), int(y)), 3.0, (int(x), int(y), int(x) + 4, int(y) + 4))
        for n, (x, y) in enumerate(
            np.random.default_rng(0).random((count, 2)) * (shown.shape[1], shown.shape[0]), 1
        )
    ]
    placed = place_labels(labels, (shown.shape[1], shown.shape[0]))
    assert len(placed) == count


@pytest.mark.parametrize("count", [30, 200, 5000])
def test_labels_never_overlap_and_never_leave_the_picture(count: int) -> None:
    rng = np.random.default_rng(0)
    labels = []
    for n in range(1, count + 1):
        x, y = (int(v) for v in rng.random(2) * (400, 300))
        labels.append(Label(str(n), PALETTE[0], (x, y), float(rng.uniform(1, 30)), (x, y, x, y)))
    boxes = np.array([one.box for one in place_labels(labels, (400, 300))])
    assert len(boxes) >= min(count, 100)
    covered = np.zeros((300, 400), int)
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= 400
        assert 0 <= y0 < y1 <= 300
        covered[y0:y1, x0:x1] += 1
    assert covered.max() == 1


def test_neighbours_have_different_colours() -> None:
    dense = np.zeros((25, 100, 500), np.bool_)
    for i in range(25):
        dense[i, 10:90, 20 * i : 20 * i + 19] = True
    # numbers that would all have the first colour
    numbers = [1 + 12 * i for i in range(25)]
    drawn = draw_masks(np.zeros((100, 500, 3), np.uint8), Masks.from_dense(dense), numbers)
    edges = [tuple(int(v) for v in drawn[70, 20 * i]) for i in range(25)]
    assert set(edges) <= set(PALETTE)
    assert all(edges[i] != edges[i + 1] for i in range(24))


def test_the_pole_is_the_place_farthest_from_the_edge() -> None:
    ell = np.zeros((120, 80), np.bool_)
    ell[:, :10] = True
    ell[80:, :] = True
    row, column, reach = pole(ell)
    assert 80 < row < 120
    assert min(row - 80, 119 - row) >= 15
    assert 15 <= column <= 65
    assert reach == pytest.approx(20, abs=3)
