"""What every segmenter has to keep."""

import json

import numpy as np

from sam3_agent import (
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    PromptError,
    Scene,
    Selection,
)
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.segmenter import (
    Segmenter,
    checked_segmenter,
    prompts_of,
    settings_of,
    threshold_of,
    vocabulary_of,
)
from sam3_agent.segmenter_output import checked_detections, checked_masks
from sam3_agent.vocabulary import unknown_part


class SegmenterContract:
    """Tests of a segmenter: derive a class, override `segmenter`, and `image` or `phrases`.

    phrases: two different ones that the segmenter takes; it need not find anything.
    """

    phrases = ("dog", "red car")

    def segmenter(self) -> Segmenter:
        """The segmenter; the same object may be returned every time."""
        raise NotImplementedError

    def image(self) -> Pixels:
        """An (H, W, 3) uint8 image, wider than high."""
        return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)

    def detect(self, *prompts: str | ConceptPrompt, threshold: float = 0.0) -> list[Detection]:
        """What the segmenter finds in the image."""
        segmenter = self.segmenter()
        features = segmenter.encode(self.image())
        found = segmenter.detect(features, prompts, Selection(threshold=threshold))
        detections = checked_detections(segmenter, found, len(prompts))
        for one in detections:
            checked_masks(segmenter, one.masks, self.image().shape[:2])
        return detections

    def test_it_is_a_segmenter_with_a_name(self) -> None:
        assert checked_segmenter(self.segmenter()).name.strip()

    def test_what_it_declares_is_of_the_right_type(self) -> None:
        segmenter = self.segmenter()
        assert prompts_of(segmenter) <= {"exemplars", "clicks"}
        assert 0 <= threshold_of(segmenter) <= 1
        assert json.loads(json.dumps(settings_of(segmenter))) == settings_of(segmenter)
        assert not any(unknown_part(one, vocabulary_of(segmenter)) for one in self.phrases)

    def test_there_is_one_detection_for_each_prompt_in_order(self) -> None:
        first, second = self.phrases
        found = self.detect(second, first, ConceptPrompt(second))
        assert [one.phrase for one in found] == [second, first, second]
        _assert_same(found[0].masks, found[2].masks)
        assert self.detect() == []

    def test_masks_fit_the_image_and_come_best_first(self) -> None:
        height, width = self.image().shape[:2]
        for one in self.detect(*self.phrases):
            assert 0 <= one.presence <= 1
            assert one.masks.size == (height, width)
            scores, boxes = one.masks.scores, one.masks.boxes
            assert (np.diff(scores) <= 0).all()
            assert ((scores >= 0) & (scores <= 1)).all()
            assert (boxes >= 0).all()
            assert (boxes <= [width, height, width, height]).all()
            assert (one.masks.areas() > 0).all()

    def test_the_threshold_of_a_selection_holds(self) -> None:
        (all_of_them,), (none,) = self.detect("dog"), self.detect("dog", threshold=1.01)
        assert len(none.masks) == 0
        segmenter = self.segmenter()
        features = segmenter.encode(self.image())
        (default,) = segmenter.detect(features, ["dog"])
        assert (default.masks.scores >= threshold_of(segmenter)).all()
        assert len(default.masks) <= len(all_of_them.masks)

    def test_it_finds_the_same_again_and_in_another_order(self) -> None:
        first, second = self.phrases
        alone, (_, together) = self.detect(first)[0], self.detect(second, first)
        _assert_same(alone.masks, together.masks)
        assert np.isclose(alone.presence, together.presence, atol=1e-4)

    def test_two_images_at_a_time_do_not_mix(self) -> None:
        segmenter, image = self.segmenter(), self.image()
        before = image.copy()
        ours = segmenter.encode(image)
        theirs = segmenter.encode(np.ascontiguousarray(image[:, ::-1][: image.shape[0] // 2]))
        (other,) = segmenter.detect(theirs, ["dog"], Selection(threshold=0.0))
        (own,) = segmenter.detect(ours, ["dog"], Selection(threshold=0.0))
        assert other.masks.size == (image.shape[0] // 2, image.shape[1])
        _assert_same(own.masks, self.detect("dog")[0].masks)
        assert np.array_equal(image, before)

    def test_a_prompt_that_cannot_be_read_is_refused(self) -> None:
        for wrong in ("", " . ", "\ud800", ConceptPrompt(negative=((0.0, 0.0, 9.0, 9.0),))):
            _assert_refused(self, wrong)

    def test_exemplars_are_taken_or_refused_as_declared(self) -> None:
        prompt = ConceptPrompt(positive=((5.0, 5.0, 25.0, 25.0),))
        if "exemplars" not in prompts_of(self.segmenter()):
            _assert_refused(self, prompt)
            return
        assert self.detect(prompt)[0].prompt == prompt
        _assert_refused(self, ConceptPrompt(positive=((1e6, 0.0, 2e6, 9.0),)))

    def test_clicks_give_one_mask_or_none_as_declared(self) -> None:
        segmenter, image = self.segmenter(), self.image()
        features = segmenter.encode(image)
        if "clicks" not in prompts_of(segmenter):
            return
        for prompt in (ObjectPrompt(((30.0, 20.0),)), ObjectPrompt(box=(5.0, 5.0, 50.0, 40.0))):
            masks = segmenter.segment_at(features, prompt)
            assert len(masks) <= 1
            assert masks.size == image.shape[:2]
        try:
            segmenter.segment_at(features, ObjectPrompt(((1e6, 1.0),)))
        except PromptError:
            return
        raise AssertionError("a click outside the image was taken")

    def test_a_scene_numbers_what_it_finds(self) -> None:
        scene = Scene(self.image(), self.segmenter())
        first, second = scene.segment(self.phrases, selection=Selection(threshold=0.0))
        assert len(scene.masks) == len({*first.numbers, *second.numbers})
        small = scene.segment(["dog"], region=(0.0, 0.0, 20.0, 10.0))
        assert scene.masks.size == self.image().shape[:2]
        assert len(small) == 1


def _assert_same(one: Masks, other: Masks) -> None:
    """The same masks, but for the last digits of floating point."""
    assert len(one) == len(other)
    assert np.allclose(one.scores, other.scores, atol=1e-4)
    assert np.allclose(one.boxes, other.boxes, atol=0.1)
    if len(one):
        assert (one.dense() != other.dense()).mean() < 1e-3


def _assert_refused(contract: SegmenterContract, prompt: str | ConceptPrompt) -> None:
    try:
        contract.detect(prompt)
    except PromptError:
        return
    raise AssertionError(f"the prompt {prompt!a} was taken")
