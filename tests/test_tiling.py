"""Masks of overlapping tiles: one object is one mask, and two objects stay two."""

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from sam3_agent.evals.synthetic.backgrounds import background
from sam3_agent.evals.synthetic.sprites import PAINTS, sprite
from sam3_agent.geometry import Region
from sam3_agent.masks import Masks
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.rle import BoolArray, encode_crop, tight_boxes
from sam3_agent.scene import Scene
from sam3_agent.tiling import merged_tiles, tiles

SIZE = (400, 700)
"""Height and width of the image of most tests."""

WINDOWS = tiles((0, 0, 700, 400), side=400)
"""Two tiles, which share the columns 300 to 399."""

LEFT, RIGHT = WINDOWS


@pytest.fixture(scope="module")
def tiny() -> Sam3Segmenter:
    return Sam3Segmenter("tiny", device="cpu")


def blank() -> BoolArray:
    return np.zeros(SIZE, np.bool_)


def box(x0: int, y0: int, x1: int, y1: int) -> BoolArray:
    mask = blank()
    mask[y0:y1, x0:x1] = True
    return mask


def line(*points: tuple[int, int], width: int = 1) -> BoolArray:
    picture = Image.new("1", (SIZE[1], SIZE[0]))
    ImageDraw.Draw(picture).line(points, fill=1, width=width)
    return np.asarray(picture)


def inside(mask: BoolArray, window: Region) -> BoolArray:
    out = np.zeros_like(mask)
    x0, y0, x1, y1 = window
    out[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    return out


def found(*masks: BoolArray, scores: Sequence[float] | None = None) -> Masks:
    size = masks[0].shape if masks else SIZE
    dense = np.array(masks, np.bool_).reshape(-1, *size)
    return Masks.from_dense(dense, scores, ["thing"] * len(dense))


def cut(things: Sequence[BoolArray], windows: Sequence[Region] = WINDOWS) -> list[Masks]:
    """The masks of tiles without faults: the part of each thing that lies in them."""
    return [
        found(*(part for thing in things if (part := inside(thing, window)).any()))
        for window in windows
    ]


def assert_same(masks: Masks, things: Sequence[BoolArray], least: float = 1.0) -> None:
    """Every thing is one mask, up to this IoU, and there is no other mask."""
    assert len(masks) == len(things)
    iou = masks.overlap(found(*things))
    assert iou.max(axis=0).min() >= least
    assert iou.max(axis=1).min() >= least


def test_stray_pixels_on_another_thing_join_nothing() -> None:
    near, far = box(40, 100, 120, 150), box(340, 100, 390, 150)
    strays = near.copy()
    strays[110:129, 350] = True  # 19 pixels of the first on the other, 230 pixels away
    masks = merged_tiles([found(strays, far), found(far)], WINDOWS)
    assert_same(masks, [strays, far])


def test_strays_of_two_things_on_one_place_of_the_strip_join_nothing() -> None:
    for at in (300, 340, 395):
        things = [box(20, 50, 200, 200), box(500, 50, 680, 200)]
        strays = [thing | box(at, 120, at + 5, 124) for thing in things]
        assert_same(merged_tiles([found(strays[0]), found(strays[1])], WINDOWS), strays)


@pytest.mark.parametrize("overlap", [0, 2, 6])
def test_neighbours_that_meet_at_the_edge_of_a_tile_stay_two(overlap: int) -> None:
    for edge in (300, 302, 350, 398, 400):
        first, second = box(edge - 90, 60, edge, 120), box(edge - overlap, 60, edge + 90, 120)
        assert_same(merged_tiles(cut([first, second]), WINDOWS), [first, second])
        # the left tile has the second thing only up to its own edge, and misses so small a part
        parts = cut([first, second])
        assert len(merged_tiles([parts[0][:1], parts[1]], WINDOWS)) == 2


def test_a_row_of_touching_things_across_the_edge_of_a_tile_keeps_its_count() -> None:
    for start in range(0, 12, 3):
        things = [box(x, 40, x + 12, 70) for x in range(start, 680, 12)]
        assert_same(merged_tiles(cut(things), WINDOWS), things)


@pytest.mark.parametrize("side", [120, 200, 400])
def test_a_thing_in_a_corner_or_longer_than_a_tile_is_one(side: int) -> None:
    windows = tiles((0, 0, 700, 400), side=side)
    long, round_one = box(5, 10, 690, 60), blank()
    y, x = np.mgrid[:400, :700]
    round_one[np.hypot(x - 350, y - 230) < 150] = True
    small = box(windows[-1][0] - 5, 330, windows[-1][0] + 8, 390)
    things = [long, round_one & ~small, small]
    assert_same(merged_tiles(cut(things, windows), windows), things)


def test_a_thing_in_front_of_another_of_its_kind_stays_apart() -> None:
    for x in (240, 280, 320, 360, 395):
        large, small = box(100, 50, 600, 350), box(x, 150, x + 40, 190)
        assert_same(merged_tiles(cut([large, small]), WINDOWS), [large, small])
        assert_same(merged_tiles(cut([large & ~small, small]), WINDOWS), [large & ~small, small])


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("ends", [((20, 30), (680, 370)), ((350, 0), (350, 399)),
                                  ((290, 20), (410, 390)), ((10, 200), (690, 204))])  # fmt: skip
def test_a_slim_thing_is_one_though_its_edges_differ(
    width: int, ends: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    rope = line(*ends, width=width)
    moved = np.roll(rope, (1, 1), (0, 1))
    parts = [found(inside(rope, LEFT)), found(inside(moved, RIGHT))]
    assert len(merged_tiles(parts, WINDOWS)) == 1


def test_parallel_slim_things_stay_apart() -> None:
    wires = [line((10, y), (690, y + 60), width=2) for y in range(40, 300, 7)]
    assert_same(merged_tiles(cut(wires), WINDOWS), wires)


def test_speckled_masks_are_joined_with_their_like() -> None:
    rng = np.random.default_rng(0)
    things = [box(x, y, x + 70, y + 50) for y in (20, 160, 300) for x in (40, 200, 310, 420, 560)]
    parts = []
    for window in WINDOWS:
        noisy = [
            inside(thing | (rng.random(SIZE) < 0.002), window)
            for thing in things
            if inside(thing, window).any()
        ]
        parts.append(found(*noisy))
    assert_same(merged_tiles(parts, WINDOWS), things, least=0.6)


def test_pieces_that_a_tile_cuts_off_belong_to_the_thing_that_goes_on() -> None:
    legs = [box(320, y, 500, y + 20) for y in (40, 100, 160)]
    body = box(500, 40, 640, 180)
    thing = body | legs[0] | legs[1] | legs[2]
    alone = box(320, 300, 500, 330)
    parts = [found(*(inside(leg, LEFT) for leg in (*legs, alone))), cut([thing, alone])[1]]
    assert_same(merged_tiles(parts, WINDOWS), [thing, alone])


def test_a_poor_mask_of_a_cut_off_part_belongs_to_the_whole() -> None:
    thing, remains = box(250, 100, 390, 300), box(300, 100, 330, 300)
    parts = [found(thing), found(remains)]  # the right tile finds a third of its part
    assert_same(merged_tiles(parts, WINDOWS), [thing])


def test_two_things_of_one_tile_stay_two_though_another_tile_finds_one() -> None:
    upper, lower = box(310, 100, 380, 150), box(310, 150, 380, 200)
    both = upper | lower
    masks = merged_tiles([found(upper, lower), found(both)], WINDOWS)
    assert len(masks) >= 2
    assert masks.overlap(found(upper, lower)).max(axis=0).min() >= 0.5


def test_a_mask_over_two_things_joins_no_two_that_are_complete() -> None:
    windows = [(0, 0, 700, 220), (0, 120, 400, 400), (300, 120, 700, 400)]
    first, second = box(100, 150, 200, 300), box(500, 150, 650, 300)
    parts = [found(inside(first | second, windows[0])), found(first), found(second)]
    assert_same(merged_tiles(parts, windows), [first, second], least=0.5)


def test_a_thing_complete_in_two_tiles_is_one_with_the_better_score() -> None:
    first, second = box(310, 100, 380, 150), box(312, 98, 383, 149)
    masks = merged_tiles([found(first, scores=[0.6]), found(second, scores=[0.8])], WINDOWS)
    assert len(masks) == 1
    assert masks.scores[0] == pytest.approx(0.8)


def test_a_thing_that_only_one_tile_finds_stays_as_it_is() -> None:
    for thing in (box(310, 100, 380, 150), box(200, 100, 380, 150), box(100, 20, 400, 90)):
        assert_same(merged_tiles([cut([thing])[0], found()], WINDOWS), [inside(thing, LEFT)])


def test_nothing_in_any_tile_is_nothing() -> None:
    assert len(merged_tiles([found(), found()], WINDOWS)) == 0


def test_the_best_comes_first() -> None:
    masks = merged_tiles(
        [found(box(10, 10, 50, 50), scores=[0.6]), found(box(600, 10, 640, 50), scores=[0.9])],
        WINDOWS,
    )
    assert masks.scores.tolist() == pytest.approx([0.9, 0.6])


@pytest.mark.parametrize(("seed", "count"), [(0, 6), (4, 10), (2, 16)])
def test_a_large_scene_in_tiles_has_as_many_things_as_were_drawn(
    tiny: Sam3Segmenter, seed: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    picture = background(rng, 3000, 2000)
    taken = np.zeros((2000, 3000), np.bool_)
    things: list[BoolArray] = []
    while len(things) < count:
        icon = sprite("noto", "car", str(rng.choice(list(PAINTS))))
        scale = rng.uniform(180, 480) / max(icon.size)
        icon = icon.resize((int(icon.width * scale), int(icon.height * scale)))
        x, y = int(rng.integers(3000 - icon.width)), int(rng.integers(2000 - icon.height))
        thing = np.zeros_like(taken)
        thing[y : y + icon.height, x : x + icon.width] = np.asarray(icon.getchannel("A")) > 127
        if not (taken & thing).any():
            taken |= thing
            things.append(thing)
            picture.paste(icon, (x, y), icon)
    scene = Scene(np.asarray(picture), tiny)
    (finding,) = scene.segment(["car"], tiled=True)
    assert_same(scene.select(finding.numbers), things, least=0.5)


def blob(rng: np.random.Generator, size: tuple[int, int], slim: bool) -> BoolArray:
    """A random convex or slim thing anywhere in an image of (height, width)."""
    picture = Image.new("1", (size[1], size[0]))
    x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
    if slim:
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(60, 500)
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        ImageDraw.Draw(picture).line((x, y, *end), fill=1, width=int(rng.integers(3, 8)))
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
        radius = np.exp(rng.uniform(np.log(8), np.log(160)))
        corners = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
        ImageDraw.Draw(picture).polygon(corners, fill=1)
    return np.asarray(picture)


def shifted(mask: BoolArray, rows: int, columns: int) -> BoolArray:
    """A mask moved by a pixel or none; what lay at the edge of the image also stays there."""
    padded = np.pad(mask, 1, mode="edge")
    height, width = mask.shape
    return padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]


def noisy_tiles(
    rng: np.random.Generator, things: Sequence[BoolArray], windows: Sequence[Region]
) -> list[Masks]:
    """The masks of faulty tiles: edges that are off by a pixel, stray pixels far from the thing."""
    parts = []
    for window in windows:
        visible = []
        for thing in things:
            part = inside(thing, window)
            if part.sum() >= 60:
                part = inside(shifted(part, *rng.integers(-1, 2, 2).tolist()), window)
                for _ in range(int(rng.integers(0, 3))):
                    x = int(rng.integers(window[0], window[2] - 4))
                    y = int(rng.integers(window[1], window[3] - 4))
                    part[y : y + 3, x : x + 4] = True
                visible.append(part)
        parts.append(
            Masks.from_dense(np.array(visible)) if visible else Masks.empty(things[0].shape)
        )
    return parts


def test_noisy_tiles_of_random_things_give_nearly_the_true_count_and_masks() -> None:
    size, right, merged, true = (450, 650), 0, 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        labels: npt.NDArray[np.int64] = np.zeros(size, np.int64)
        for number in range(1, 25):
            labels[blob(rng, size, rng.random() < 0.25)] = number
        things = [labels == n for n in range(1, 25) if np.count_nonzero(labels == n) >= 40]
        windows = tiles((0, 0, size[1], size[0]), side=252)
        masks = merged_tiles(noisy_tiles(rng, things, windows), windows)
        iou = masks.overlap(Masks.from_dense(np.array(things)))
        right += int((iou.max(axis=0) >= 0.5).sum())
        merged, true = merged + len(masks), true + len(things)
    assert true >= 120
    assert abs(merged - true) <= 0.06 * true
    assert right >= 0.94 * true


def test_five_thousand_masks_in_thirty_tiles_take_seconds() -> None:
    size = (4000, 4600)
    windows = tiles((0, 0, size[1], size[0]))
    assert len(windows) >= 30
    rng = np.random.default_rng(0)
    corners = np.stack(
        [rng.integers(0, size[1] - 40, 2900), rng.integers(0, size[0] - 40, 2900)], 1
    )
    disc = np.hypot(*np.mgrid[-1:1:40j, -1:1:40j]) <= 1
    parts = []
    for x0, y0, x1, y1 in windows:
        rles = []
        for x, y in corners.tolist():
            visible = disc[max(0, y0 - y) : max(0, y1 - y), max(0, x0 - x) : max(0, x1 - x)]
            if visible.any():
                rles.append(encode_crop(visible, (max(x, x0), max(y, y0)), size))
        scores = np.ones(len(rles), np.float32)
        parts.append(Masks(size, tight_boxes(rles), scores, ("disc",) * len(rles), tuple(rles)))
    assert sum(map(len, parts)) >= 5000
    began = time.process_time()
    masks = merged_tiles(parts, windows)
    assert time.process_time() - began < 15
    assert abs(len(masks) - 2900) <= 15
