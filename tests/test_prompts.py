"""All of SAM 3's image prompts, and the caches that make asking again cheap."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam3_agent import COUNTING, ConceptPrompt, Masks, ObjectPrompt, PromptError, Scene, Selection
from sam3_agent.errors import SegmenterError
from sam3_agent.evals.synthetic.scenes import compose
from sam3_agent.images import Pixels
from sam3_agent.model.lru import WeighedLRU
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.tiling import merged_tiles, tiles
from tests.checkpoints import save_video_checkpoint


@pytest.fixture(scope="module")
def tiny() -> Sam3Segmenter:
    return Sam3Segmenter("tiny", device="cpu")


@pytest.fixture(scope="module")
def video_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_video_checkpoint(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return compose(3, size=(240, 320)).image


def count_forwards(segmenter: Sam3Segmenter) -> list[int]:
    """A list that grows by the batch size at every forward pass of the detector."""
    passes: list[int] = []
    segmenter.model.detr_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append(len(kwargs["text_features"])), with_kwargs=True
    )
    return passes


def test_a_batch_of_prompts_gives_what_single_prompts_give(photo: Pixels) -> None:
    prompts = [
        ConceptPrompt("dog"),
        ConceptPrompt("red car", positive=((20, 20, 90, 80),)),
        ConceptPrompt("", positive=((20, 20, 90, 80), (5, 5, 40, 40)), negative=((0, 0, 9, 9),)),
    ]
    single = Sam3Segmenter("tiny", device="cpu", batch=1, threshold=0.0)
    batched = Sam3Segmenter("tiny", device="cpu", batch=3, threshold=0.0)
    passes = count_forwards(batched)
    one_by_one = single.detect(single.encode(photo), prompts)
    together = batched.detect(batched.encode(photo), prompts)
    assert passes == [3]
    for alone, beside in zip(one_by_one, together, strict=True):
        assert alone.presence == pytest.approx(beside.presence, abs=1e-5)
        assert np.allclose(alone.masks.scores, beside.masks.scores, atol=1e-5)
        assert np.allclose(alone.masks.boxes, beside.masks.boxes, atol=1e-2)


def test_exemplars_change_what_is_found(tiny: Sam3Segmenter, photo: Pixels) -> None:
    features = tiny.encode(photo)
    box = (20.0, 20.0, 120.0, 120.0)
    asked = [
        ConceptPrompt("car"),
        ConceptPrompt("car", positive=(box,)),
        ConceptPrompt("car", negative=(box,)),
        ConceptPrompt("", positive=(box,)),
    ]
    presences = [found.presence for found in tiny.detect(features, asked)]
    assert len(set(presences)) == 4
    assert tiny.detect(features, asked)[3].phrase == "like the exemplars"


def test_a_threshold_moves_without_a_forward_pass(photo: Pixels) -> None:
    segmenter = Sam3Segmenter("tiny", device="cpu")
    passes = count_forwards(segmenter)
    features = segmenter.encode(photo)
    counts = [
        len(segmenter.detect(features, ["animal"], Selection(threshold, limit=1.0))[0].masks)
        for threshold in (0.9, 0.5, 0.1, 0.0)
    ]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert passes == [1]


def test_counting_leaves_the_presence_score_out(photo: Pixels) -> None:
    segmenter = Sam3Segmenter("tiny", device="cpu")
    features = segmenter.encode(photo)
    (with_presence,) = segmenter.detect(features, ["zebra"], Selection(threshold=0.0, limit=1.0))
    (without,) = segmenter.detect(features, ["zebra"], Selection(0.0, presence=False, limit=1.0))
    ratio = with_presence.masks.scores / without.masks.scores
    assert np.allclose(ratio, with_presence.presence, atol=1e-5)
    (counted,) = segmenter.detect(features, ["zebra"], COUNTING)
    overlap = counted.masks.overlap(counted.masks, "iom") - np.eye(len(counted.masks))
    assert overlap.max(initial=0) <= 0.5
    assert (counted.masks.scores >= 0.5).all()


def test_the_same_picture_is_encoded_once_also_by_another_scene_and_another_array(
    photo: Pixels,
) -> None:
    segmenter = Sam3Segmenter("tiny", device="cpu")
    Scene(photo, segmenter).segment(["dog"])
    Scene(photo.copy(), segmenter).segment(["dog", "cat"])
    assert segmenter.encoded == 1
    changed = photo.copy()
    changed[0, 0] += 1
    Scene(changed, segmenter).segment(["dog"])
    assert segmenter.encoded == 2


def test_features_over_the_memory_limit_are_dropped(photo: Pixels) -> None:
    segmenter = Sam3Segmenter("tiny", device="cpu", image_bytes=1)
    for _ in range(2):
        segmenter.encode(photo)
    assert segmenter.encoded == 2


def test_features_on_disk_are_read_by_the_next_process(photo: Pixels, tmp_path: Path) -> None:
    first = Sam3Segmenter("tiny", device="cpu", cache_folder=tmp_path / "features")
    (fresh,) = first.detect(first.encode(photo), ["animal"])
    second = Sam3Segmenter("tiny", device="cpu", cache_folder=tmp_path / "features")
    (again,) = second.detect(second.encode(photo), ["animal"])
    assert (first.encoded, second.encoded) == (1, 0)
    assert again.presence == fresh.presence
    assert again.masks.rles == fresh.masks.rles


def test_a_damaged_feature_file_is_made_anew(photo: Pixels, tmp_path: Path) -> None:
    Sam3Segmenter("tiny", device="cpu", cache_folder=tmp_path).encode(photo)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    segmenter = Sam3Segmenter("tiny", device="cpu", cache_folder=tmp_path)
    segmenter.encode(photo)
    assert segmenter.encoded == 1
    Sam3Segmenter("tiny", device="cpu", cache_folder=tmp_path).encode(photo)
    assert path.stat().st_size > 1000


def test_two_threads_encode_one_picture_once(photo: Pixels) -> None:
    segmenter = Sam3Segmenter("tiny", device="cpu")
    with ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(lambda _: segmenter.detect(segmenter.encode(photo), ["dog", "cat"]), range(3))
        )
    assert segmenter.encoded == 1
    assert len({repr([one.masks.rles for one in each]) for each in found}) == 1


def test_a_click_gives_what_transformers_tracker_gives_with_the_encoder_shared(
    video_checkpoint: Path, photo: Pixels
) -> None:
    from transformers import Sam3Processor, Sam3TrackerModel

    segmenter = Sam3Segmenter(str(video_checkpoint), device="cpu")
    prompt = ObjectPrompt(inside=((100.0, 50.0),), outside=((10.0, 10.0),), box=(60, 20, 200, 150))
    found = segmenter.segment_at(segmenter.encode(photo), prompt)
    assert len(found) == 1

    reference = Sam3TrackerModel.from_pretrained(video_checkpoint).eval()
    processor = Sam3Processor.from_pretrained(video_checkpoint)
    pixels = processor(images=photo, return_tensors="pt")["pixel_values"]
    scale = torch.tensor([112 / 320, 112 / 240])
    with torch.inference_mode():
        output = reference(
            pixel_values=pixels,
            input_points=(torch.tensor([[100.0, 50.0], [10.0, 10.0]]) * scale)[None, None],
            input_labels=torch.tensor([[[1, 0]]]),
            input_boxes=(torch.tensor([[60.0, 20.0], [200.0, 150.0]]) * scale).reshape(1, 1, 4),
            multimask_output=False,
        )
    logits = torch.nn.functional.interpolate(output.pred_masks[0], (240, 320), mode="bilinear")
    assert (found.dense()[0] == (logits[0, 0] > 0).numpy()).mean() > 0.9999
    assert segmenter.encoded == 1


def test_clicks_on_a_checkpoint_without_a_tracker_name_one_that_has_it(
    tiny: Sam3Segmenter, photo: Pixels
) -> None:
    with pytest.raises(SegmenterError, match=r"^tiny has no tracker.*open:tiny.*facebook/sam3"):
        tiny.segment_at(tiny.encode(photo), ObjectPrompt(inside=((5, 5),)))


BAD_PROMPTS = {
    "empty": (ConceptPrompt(""), "phrase is empty"),
    "only negative": (ConceptPrompt("", negative=((1, 1, 5, 5),)), "only negative exemplars"),
    "inverted": (ConceptPrompt("dog", positive=((50, 10, 20, 40),)), "has no area"),
    "flat": (ConceptPrompt("dog", positive=((5, 10, 5, 40),)), "has no area"),
    "outside": (
        ConceptPrompt("dog", positive=((400, 10, 500, 40),)),
        "outside the image of 320x240",
    ),
    "NaN": (ConceptPrompt("dog", positive=((float("nan"), 1, 2, 3),)), "is not x0,y0,x1,y1"),
    "endless": (ConceptPrompt("very " * 500 + "big dog"), "tokens, SAM 3 reads at most 32"),
    "no click inside": (ObjectPrompt(outside=((5, 5),)), "needs a point inside"),
    "click outside": (ObjectPrompt(inside=((320, 5),)), "outside the image of 320x240"),
    "NaN click": (ObjectPrompt(inside=((float("inf"), 5),)), "is not x,y in pixels"),
}


@pytest.mark.parametrize(("prompt", "expected"), BAD_PROMPTS.values(), ids=BAD_PROMPTS.keys())
def test_a_prompt_that_makes_no_sense_is_refused_and_nothing_is_kept(
    tiny: Sam3Segmenter, photo: Pixels, prompt: ConceptPrompt | ObjectPrompt, expected: str
) -> None:
    features = tiny.encode(photo)
    kept = len(features.candidates)

    def ask() -> None:
        if isinstance(prompt, ConceptPrompt):
            tiny.detect(features, [ConceptPrompt("never asked before"), prompt])
        else:
            tiny.segment_at(features, prompt)

    with pytest.raises(PromptError, match=expected):
        ask()
    assert len(features.candidates) == kept


def test_too_many_prompts_in_one_call_are_refused(tiny: Sam3Segmenter, photo: Pixels) -> None:
    with pytest.raises(PromptError, match="10000 prompts in one call, the limit is 1000"):
        tiny.detect(tiny.encode(photo), ["dog"] * 10_000)


def test_a_lack_of_memory_halves_the_batch_and_then_says_what_to_do(photo: Pixels) -> None:
    segmenter = Sam3Segmenter("tiny", device="cpu", batch=4)
    sizes: list[int] = []

    def refuse_large(module: Any, args: Any, kwargs: Any) -> None:
        sizes.append(len(kwargs["text_features"]))
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    segmenter.model.detr_encoder.register_forward_pre_hook(refuse_large, with_kwargs=True)
    features = segmenter.encode(photo)
    limit = 1
    assert len(segmenter.detect(features, ["dog", "cat", "car", "bus"])) == 4
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    limit = 0
    with pytest.raises(SegmenterError, match=r"too little memory.*device='cpu'"):
        segmenter.detect(features, ["apple"])


def test_a_region_is_seen_at_full_resolution_and_its_masks_lie_where_it_lies(
    tiny: Sam3Segmenter,
) -> None:
    small = compose(3, size=(240, 320))
    large = np.full((700, 900, 3), 90, np.uint8)
    large[300:540, 400:720] = small.image
    scene, alone = Scene(large, tiny), Scene(small.image, tiny)
    selection = Selection(threshold=0.3)
    phrases = ["animal", "vehicle", "fruit", "book"]
    inside = scene.segment(phrases, region=(400, 300, 720, 540), selection=selection)
    expected = alone.segment(phrases, selection=selection)
    assert [f.numbers for f in inside] == [f.numbers for f in expected]
    assert (scene.masks.dense()[:, 300:540, 400:720] == alone.masks.dense()).all()
    assert scene.masks.areas().tolist() == alone.masks.areas().tolist()


@pytest.mark.parametrize("region", [(5, 5, 5, 50), (5, 5, 5.5, 5.5), (900, 0, 950, 50)])
def test_a_region_without_area_is_refused(
    tiny: Sam3Segmenter, photo: Pixels, region: tuple[float, float, float, float]
) -> None:
    with pytest.raises(PromptError):
        Scene(photo, tiny).segment(["dog"], region=region)


def test_tiles_cover_the_image_and_overlap() -> None:
    windows = tiles((0, 0, 2500, 1008), side=1008, overlap=0.25)
    assert [w[0] for w in windows] == [0, 746, 1492]
    assert {(w[2] - w[0], w[3] - w[1]) for w in windows} == {(1008, 1008)}
    assert tiles((10, 20, 300, 200)) == [(10, 20, 300, 200)]


def test_a_thing_across_a_seam_is_one_mask_and_neighbours_stay_two() -> None:
    windows = [(0, 0, 60, 50), (40, 0, 100, 50)]
    things = np.zeros((3, 50, 100), np.bool_)
    things[0, 10:20, 30:80] = True  # across the seam
    things[1, 30:40, 42:48] = True  # in the overlap, seen by both
    things[2, 30:40, 50:58] = True  # its neighbour
    parts = []
    for x0, y0, x1, y1 in windows:
        seen = np.zeros_like(things)
        seen[:, y0:y1, x0:x1] = things[:, y0:y1, x0:x1]
        parts.append(Masks.from_dense(seen, [0.9, 0.8, 0.7], ["a", "b", "c"]))
    merged = merged_tiles(parts, windows)
    assert merged.phrases == ("a", "b", "c")
    assert (merged.dense() == things).all()
    assert merged.boxes[0].tolist() == [30, 10, 80, 20]


def test_a_tiled_scene_finds_things_that_the_whole_view_is_too_coarse_for(
    tiny: Sam3Segmenter,
) -> None:
    large = np.full((1008, 1764, 3), 200, np.uint8)
    placed = compose(3, size=(240, 320)).image
    large[100:340, 200:520] = large[600:840, 1300:1620] = placed
    scene = Scene(large, tiny)
    (finding,) = scene.segment(["animal"], tiled=True)
    for number in finding.numbers:
        x0, y0, x1, y1 = scene.select([number]).boxes[0]
        assert 0 <= x0 < x1 <= 1764
        assert 0 <= y0 < y1 <= 1008


def test_the_cache_keeps_what_was_used_last() -> None:
    cache: WeighedLRU[str] = WeighedLRU(10, len)
    for word in ("aaaa", "bbbb"):
        cache.put(word, word)
    assert cache.get("aaaa") == "aaaa"
    cache.put("cccc", "cccc")
    assert cache.get("bbbb") is None
    assert cache.get("aaaa") == "aaaa"
    cache.put("aaaa", "a")
    assert len(cache) == 2
    cache.put("heavy", "x" * 11)
    assert len(cache) == 0
