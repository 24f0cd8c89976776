"""Synthetic scenes: exact ground truth, disjoint splits, colours that match their names."""

import colorsys
import pickle

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sam3_agent.evals.synthetic.concept_phrases import (
    concept_phrases,
    training_example,
    unrelated_words,
)
from sam3_agent.evals.synthetic.scenes import SyntheticScene, compose
from sam3_agent.evals.synthetic.sprites import HELD_OUT_STYLE, STYLES, TRAIN_STYLES, sprite
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

HUES = {
    "red": (345, 372),
    "orange": (16, 40),
    "yellow": (42, 66),
    "green": (95, 165),
    "blue": (205, 240),
    "purple": (258, 300),
}
"""Ranges of hue in degrees."""

SMALL = (180, 240)


def colored(rgb: np.ndarray, color: str) -> np.ndarray:
    """Which of the pixels (..., 3) have a hue of that name and are not grey."""
    hsv = np.asarray(Image.fromarray(rgb).convert("HSV")).astype(float)
    low, high = HUES[color]
    hue = hsv[..., 0] * 360 / 256
    named = ((hue >= low) & (hue <= high)) | (hue + 360 <= high)
    return named & (hsv[..., 1] > 110) & (hsv[..., 2] > 60)


def test_a_seed_gives_the_same_scene_every_time() -> None:
    first, second = compose(11, size=SMALL), compose(11, size=SMALL)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert first.objects == second.objects


def test_no_held_out_scene_is_a_training_scene() -> None:
    trained = {compose(seed, split="train", size=SMALL).image.tobytes() for seed in range(30)}
    held_out = {compose(seed, size=SMALL).image.tobytes() for seed in range(30)}
    assert len(trained) == len(held_out) == 30
    assert not trained & held_out


def test_the_test_style_is_no_training_style() -> None:
    assert HELD_OUT_STYLE not in TRAIN_STYLES
    assert not np.array_equal(compose(3, styles=(HELD_OUT_STYLE,)).image, compose(3).image)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_are_tight_around_masks_that_tile_the_labels(seed: int) -> None:
    scene = compose(seed, size=(480, 640))
    assert scene.image.shape == (480, 640, 3)
    assert scene.labels.shape == (480, 640)
    assert 1 <= len(scene.objects) <= 9
    assert set(np.unique(scene.labels)) <= set(range(len(scene.objects) + 1))
    for index, obj in enumerate(scene.objects):
        rows, columns = np.nonzero(scene.mask(index))
        assert len(rows) >= 100
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert obj.box == tight


def test_masks_end_where_the_paint_ends_to_the_pixel() -> None:
    last_inside: list[float] = []
    first_outside: list[float] = []
    for seed in range(60):
        scene = compose(seed, size=(240, 320))
        for index, obj in enumerate(scene.objects):
            if obj.color is None or obj.noun not in ("heart", "balloon", "shirt"):
                continue
            mask = scene.mask(index)
            picture = Image.fromarray(mask).convert("L")
            shrunk = np.asarray(picture.filter(ImageFilter.MinFilter(3))) > 0
            grown = np.asarray(picture.filter(ImageFilter.MaxFilter(3))) > 0
            painted = colored(scene.image, obj.color)
            last_inside.append(float(painted[mask & ~shrunk].mean()))
            first_outside.append(float(painted[grown & (scene.labels == 0)].mean()))
    assert len(last_inside) > 50
    assert np.mean(last_inside) > 0.7
    assert np.mean(first_outside) < 0.12


@pytest.mark.parametrize("style", STYLES)
def test_recoloured_sprites_look_like_the_name_of_their_colour(style: str) -> None:
    for noun in COLORABLE:
        for color in COLORS:
            pixels = np.asarray(sprite(style, noun, color))
            body = pixels[pixels[..., 3] > 127][None, :, :3]
            shares = {name: float(colored(body, name).mean()) for name in COLORS}
            assert max(shares, key=shares.__getitem__) == color, (noun, color, shares)
            assert shares[color] > 0.2, (noun, color, shares)


def test_the_tests_own_hues_distinguish_every_colour() -> None:
    for color, (low, high) in HUES.items():
        rgb = colorsys.hsv_to_rgb((low + high) / 2 % 360 / 360, 0.9, 0.9)
        pixel = np.full((1, 1, 3), rgb) * 255
        assert [name for name in COLORS if colored(pixel.astype(np.uint8), name).all()] == [color]


def test_a_sprite_is_trimmed_and_asks_for_the_right_colour() -> None:
    assert sprite("noto", "dog").getchannel("A").getbbox() == (0, 0, *sprite("noto", "dog").size)
    with pytest.raises(ValueError, match="'dog' cannot be drawn in colour 'red'"):
        sprite("noto", "dog", "red")
    with pytest.raises(ValueError, match="'car' cannot be drawn in colour None"):
        sprite("noto", "car")


def truth(scene: SyntheticScene, phrase: str) -> tuple[int, ...]:
    """Finds what a concept phrase names, from the objects alone."""
    *color, noun = phrase.split()
    nouns = CATEGORIES.get(noun, (noun,))
    return tuple(
        index
        for index, obj in enumerate(scene.objects)
        if obj.noun in nouns and color in ([], [obj.color])
    )


def test_concept_phrases_come_with_exactly_the_objects_they_name() -> None:
    phrases = []
    for seed in range(60):
        scene = compose(seed, size=SMALL)
        asked = concept_phrases(scene, np.random.default_rng(seed), 2, 3)
        assert len({phrase for phrase, _ in asked}) == len(asked) == 5
        for phrase, indexes in asked:
            assert indexes == truth(scene, phrase)
            assert list(indexes) == scene.matching(phrase)
        assert sum(bool(indexes) for _, indexes in asked) == min(
            2, len(set().union(*(obj.concepts for obj in scene.objects)))
        )
        phrases += asked
    present = {phrase for phrase, indexes in phrases if indexes}
    absent = {phrase for phrase, indexes in phrases if not indexes}
    for words in (present, absent):
        assert words & set(CATEGORIES)
        assert words & set(NOUNS)
        assert any(" " in word for word in words)
    assert absent & set(unrelated_words("heldout"))


def test_words_that_scoring_calls_absent_are_never_trained_on() -> None:
    trained, held_out = set(unrelated_words("train")), set(unrelated_words("heldout"))
    assert len(trained) == len(held_out) == 60
    assert not trained & held_out
    assert not (trained | held_out) & {*NOUNS, *CATEGORIES}
    asked = {phrase for seed in range(80) for phrase, _ in training_example(seed)[1]}
    assert asked & trained
    assert not asked & held_out


def test_a_training_example_is_small_repeatable_and_can_be_sent_to_a_worker() -> None:
    scene, asked = pickle.loads(pickle.dumps(training_example))(5)
    again, asked_again = training_example(5)
    assert np.array_equal(scene.image, again.image)
    assert asked == asked_again
    sizes = [training_example(seed)[0].labels.shape for seed in range(25)]
    assert len(set(sizes)) > 10
    for height, width in sizes:
        assert abs(height * width - 192 * 144) < 300
        assert 0.74 < width / height < 1.79
