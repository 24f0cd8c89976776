"""Open weights: Grounding DINO's boxes and SAM 2's masks, on tiny random checkpoints."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from sam3_agent import (
    ConceptPrompt,
    Detection,
    InputError,
    ObjectPrompt,
    PromptError,
    Scene,
    SegmenterError,
    Selection,
)
from sam3_agent.images import Pixels
from sam3_agent.model.open_vocabulary import OpenVocabularySegmenter
from sam3_agent.registry import segmenter
from tests.checkpoints import save_grounding_dino_checkpoint, save_sam2_checkpoint

EVERYTHING = Selection(threshold=0.0, limit=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints `dino`, `mm` and `sam2`."""
    folder = tmp_path_factory.mktemp("open")
    save_grounding_dino_checkpoint(folder / "dino")
    save_grounding_dino_checkpoint(folder / "mm", "MMGroundingDino")
    save_sam2_checkpoint(folder / "sam2")
    return folder


def load_segmenter(folder: Path) -> OpenVocabularySegmenter:
    return OpenVocabularySegmenter(f"open:{folder / 'dino'}+{folder / 'sam2'}", device="cpu")


@pytest.fixture(scope="module")
def loaded_segmenter(folder: Path) -> OpenVocabularySegmenter:
    return load_segmenter(folder)


@pytest.fixture
def fresh_segmenter(folder: Path) -> OpenVocabularySegmenter:
    """One that has seen nothing yet and may be tampered with."""
    return load_segmenter(folder)


def count_runs(module: Any) -> list[None]:
    """A list that grows whenever a module runs."""
    runs: list[None] = []
    module.register_forward_hook(lambda *_: runs.append(None))
    return runs


def transformers_boxes(place: Path, family: str, photo: Pixels, text: str) -> Any:
    """Boxes and scores of the plain detector with its own processor, best first."""
    model = getattr(transformers, f"{family}ForObjectDetection").from_pretrained(place).eval()
    processor = transformers.GroundingDinoProcessor.from_pretrained(place)
    inputs: Any = processor(
        images=photo,
        text=text,
        return_tensors="pt",  # pyright: ignore[reportCallIssue]
    )
    with torch.inference_mode():
        output = model(**inputs)
    (result,) = processor.post_process_grounded_object_detection(
        output, threshold=-1.0, target_sizes=[photo.shape[:2]]
    )
    order = result["scores"].argsort(descending=True, stable=True)
    boxes = result["boxes"][order].numpy().clip(0, [photo.shape[1], photo.shape[0]] * 2)
    return boxes, result["scores"][order].numpy()


def transformers_masks(place: Path, photo: Pixels, multimask: bool = False, **prompts: Any) -> Any:
    """Masks (N, M, H, W) and their scores by the plain SAM 2 with its own processor."""
    model = transformers.Sam2Model.from_pretrained(place).eval()
    processor = transformers.Sam2Processor(transformers.Sam2ImageProcessor.from_pretrained(place))
    inputs = processor(images=photo, return_tensors="pt", **prompts)
    sizes = inputs.pop("original_sizes")
    with torch.inference_mode():
        output = model(**inputs, multimask_output=multimask)
    (masks,) = processor.post_process_masks(output.pred_masks, sizes)
    scores = output.iou_scores[0].clamp(0, 1) * output.object_score_logits[0].sigmoid()
    return masks.numpy(), scores.numpy()


@pytest.mark.parametrize(("name", "family"), [("dino", "GroundingDino"), ("mm", "MMGroundingDino")])
def test_boxes_scores_and_masks_are_those_of_the_plain_models(
    folder: Path, photo: Pixels, name: str, family: str
) -> None:
    loaded_segmenter = OpenVocabularySegmenter(
        f"open:{folder / name}+{folder / 'sam2'}", device="cpu"
    )
    (found,) = loaded_segmenter.detect(loaded_segmenter.encode(photo), ["Red  Car?"], EVERYTHING)
    boxes, scores = transformers_boxes(folder / name, family, photo, "red car.")
    assert found.phrase == "Red Car"
    assert found.presence == pytest.approx(scores[0], abs=1e-6)
    masks, _ = transformers_masks(folder / "sam2", photo, input_boxes=[boxes.tolist()])
    some = [i for i in range(len(boxes)) if masks[i, 0].any()]
    assert len(found.masks) == len(some) > 0
    assert np.allclose(found.masks.scores, scores[some], atol=1e-6)
    assert np.allclose(found.masks.boxes, boxes[some], atol=1e-3)
    assert (found.masks.dense() == masks[some, 0]).mean() > 0.9999


@pytest.mark.parametrize(
    "prompt",
    [
        ObjectPrompt(inside=((100.0, 50.0),)),
        ObjectPrompt(inside=((100.0, 50.0), (90.0, 60.0)), outside=((10.0, 10.0),)),
        ObjectPrompt(box=(60.0, 20.0, 300.0, 150.0)),
        ObjectPrompt(inside=((100.0, 50.0),), box=(60.0, 20.0, 200.0, 150.0)),
    ],
    ids=["one click", "clicks", "box over the edge", "click and box"],
)
def test_clicks_and_boxes_give_what_the_plain_sam_2_gives(
    loaded_segmenter: OpenVocabularySegmenter, folder: Path, photo: Pixels, prompt: ObjectPrompt
) -> None:
    found = loaded_segmenter.segment_at(loaded_segmenter.encode(photo), prompt)
    given: dict[str, Any] = {}
    if prompt.inside:
        given["input_points"] = [[[*map(list, prompt.inside), *map(list, prompt.outside)]]]
        given["input_labels"] = [[[1] * len(prompt.inside) + [0] * len(prompt.outside)]]
    if prompt.box:
        given["input_boxes"] = [[[*prompt.box[:2], min(prompt.box[2], 260.0), prompt.box[3]]]]
    alone = len(prompt.inside) == 1 and not prompt.box
    masks, scores = transformers_masks(folder / "sam2", photo, alone, **given)
    best = int(scores[0].argmax())
    assert len(found) == int(masks[0, best].any())
    assert (found.coverage() == masks[0, best]).mean() > 0.9999
    assert np.allclose(found.scores, scores[0, best], atol=1e-6)


def test_encoders_run_once_for_a_picture_and_the_detector_once_for_a_phrase(
    fresh_segmenter: OpenVocabularySegmenter, photo: Pixels
) -> None:
    detector, sam2 = fresh_segmenter.detector.model, fresh_segmenter.sam2.model
    encoders = count_runs(detector.model.backbone.conv_encoder), count_runs(sam2.vision_encoder)
    passes, decoded = count_runs(detector.model.decoder), count_runs(sam2.mask_decoder)
    first = fresh_segmenter.detect(fresh_segmenter.encode(photo), ["dog", "cat", "dog"], EVERYTHING)
    assert [len(runs) for runs in (*encoders, passes, decoded)] == [1, 1, 2, 2]
    again = fresh_segmenter.detect(fresh_segmenter.encode(photo.copy()), ["dog"], EVERYTHING)
    assert [len(runs) for runs in (*encoders, passes, decoded)] == [1, 1, 2, 2]
    assert fresh_segmenter.encoded == 1
    assert again[0].masks.rles == first[0].masks.rles == first[2].masks.rles
    fresh_segmenter.encode(photo + 1)
    assert fresh_segmenter.encoded == 2


def test_a_threshold_decodes_only_masks_that_are_newly_kept(
    fresh_segmenter: OpenVocabularySegmenter, photo: Pixels
) -> None:
    asked: list[int] = []
    fresh_segmenter.sam2.model.prompt_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: asked.append(kwargs["input_boxes"].shape[1]), with_kwargs=True
    )
    features = fresh_segmenter.encode(photo)
    (everything,) = fresh_segmenter.detect(features, ["dog"], Selection(threshold=0.0, limit=1.0))
    fresh = fresh_segmenter.encode(photo + 1)
    asked.clear()
    (best,) = fresh_segmenter.detect(fresh, ["dog"], Selection(threshold=1.1))
    assert len(best.masks) == 0
    assert asked == []
    scores = np.sort(everything.masks.scores)
    middle = float(scores[len(scores) // 2])
    (some,) = fresh_segmenter.detect(fresh, ["dog"], Selection(threshold=middle, limit=1.0))
    (all_,) = fresh_segmenter.detect(fresh, ["dog"], Selection(threshold=0.0, limit=1.0))
    assert (some.masks.scores >= middle).all()
    assert 0 < len(some.masks) < len(all_.masks)
    assert sum(asked) == 12


def test_the_detectors_own_threshold_is_the_default_and_presence_is_the_best_score(
    loaded_segmenter: OpenVocabularySegmenter, photo: Pixels
) -> None:
    features = loaded_segmenter.encode(photo)
    (everything,) = loaded_segmenter.detect(features, ["dog"], EVERYTHING)
    (standard,) = loaded_segmenter.detect(features, ["dog"], Selection(limit=1.0))
    (without,) = loaded_segmenter.detect(features, ["dog"], Selection(presence=False, limit=1.0))
    assert len(standard.masks) == (everything.masks.scores >= 0.3).sum()
    assert standard.presence == everything.presence >= everything.masks.scores.max()
    assert np.array_equal(without.masks.scores, standard.masks.scores)
    (apart,) = loaded_segmenter.detect(features, ["dog"], Selection(threshold=0.0, limit=0.2))
    overlap = apart.masks.overlap(apart.masks) - np.eye(len(apart.masks))
    assert overlap.max(initial=0) <= 0.2


BAD_PROMPTS = {
    "empty": (" ", "phrase is empty"),
    "marks alone": ("...?", "phrase is empty"),
    "endless": ("very " * 500 + "big dog", "tokens, Grounding DINO reads at most 256"),
    "exemplar": (
        ConceptPrompt("", positive=((1, 1, 9, 9),)),
        "takes phrases, and clicks.*facebook/sam3 and tiny take exemplars",
    ),
    "phrase and exemplar": (ConceptPrompt("dog", negative=((1, 1, 9, 9),)), "no exemplars"),
}


@pytest.mark.parametrize(("prompt", "expected"), BAD_PROMPTS.values(), ids=BAD_PROMPTS.keys())
def test_a_prompt_that_cannot_be_read_is_refused_before_anything_runs(
    loaded_segmenter: OpenVocabularySegmenter,
    photo: Pixels,
    prompt: str | ConceptPrompt,
    expected: str,
) -> None:
    features = loaded_segmenter.encode(photo)
    kept = len(features.candidates)
    with pytest.raises(PromptError, match=expected):
        loaded_segmenter.detect(features, ["never asked before", prompt])
    assert len(features.candidates) == kept


def test_too_many_prompts_and_clicks_outside_are_refused(
    loaded_segmenter: OpenVocabularySegmenter, photo: Pixels
) -> None:
    with pytest.raises(PromptError, match="10000 prompts in one call, the limit is 1000"):
        loaded_segmenter.detect(loaded_segmenter.encode(photo), ["dog"] * 10_000)
    with pytest.raises(PromptError, match="outside the image of 260x150"):
        loaded_segmenter.segment_at(
            loaded_segmenter.encode(photo), ObjectPrompt(inside=((260, 5),))
        )


@pytest.mark.parametrize("phrase", ["😀", "كلب", "dog\0", "[SEP]", "no. 5? bus", "a" * 20])
def test_any_text_is_a_phrase(
    loaded_segmenter: OpenVocabularySegmenter, photo: Pixels, phrase: str
) -> None:
    (found,) = loaded_segmenter.detect(loaded_segmenter.encode(photo), [phrase])
    assert 0 <= found.presence <= 1
    separators = loaded_segmenter.detector.tokens(phrase)["input_ids"][0, 1:-1].tolist()
    assert separators.count(1012) == 1
    assert not {101, 102, 1029} & set(separators)


@pytest.mark.parametrize("size", [(37, 900), (1, 5), (20, 11), (3, 3)])
def test_pictures_of_odd_shapes_keep_boxes_and_masks_inside(
    loaded_segmenter: OpenVocabularySegmenter, size: tuple[int, int]
) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    (found,) = loaded_segmenter.detect(loaded_segmenter.encode(image), ["dog"], EVERYTHING)
    assert found.masks.size == size
    assert found.masks.dense().shape[1:] == size
    assert (found.masks.boxes <= [size[1], size[0]] * 2).all()


def test_it_is_found_by_name_and_serves_a_scene(folder: Path, photo: Pixels) -> None:
    name = f"open:{folder / 'dino'}+{folder / 'sam2'}"
    loaded_segmenter = segmenter(name)
    assert loaded_segmenter.name == name
    scene = Scene(photo, loaded_segmenter)
    (finding,) = scene.segment(["dog"], region=(50, 20, 200, 140), selection=EVERYTHING)
    assert finding.numbers
    region = np.zeros(photo.shape[:2], np.bool_)
    region[20:140, 50:200] = True
    assert not (scene.masks.coverage() & ~region).any()
    assert scene.segment_at(ObjectPrompt(inside=((100, 50),))).phrase == "this object"


def test_two_threads_get_what_one_gets(
    fresh_segmenter: OpenVocabularySegmenter, photo: Pixels
) -> None:
    def detect(_: int) -> list[Detection]:
        return fresh_segmenter.detect(fresh_segmenter.encode(photo), ["dog", "cat"])

    with ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(
                lambda _: fresh_segmenter.detect(fresh_segmenter.encode(photo), ["dog", "cat"]),
                range(3),
            )
        )
    assert fresh_segmenter.encoded == 1
    assert len({repr([one.masks.rles for one in each]) for each in found}) == 1


def test_a_lack_of_memory_says_what_to_do_and_other_failures_fly(
    fresh_segmenter: OpenVocabularySegmenter, photo: Pixels
) -> None:
    features = fresh_segmenter.encode(photo)

    def fail(*_: Any) -> None:
        raise failure

    fresh_segmenter.detector.model.model.encoder.register_forward_pre_hook(fail)
    failure: Exception = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(SegmenterError, match=r"too little memory for open:.*device='cpu'"):
        fresh_segmenter.detect(features, ["dog"])
    failure = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        fresh_segmenter.detect(features, ["dog"])
    assert len(features.candidates) == 0
    assert "forward" not in vars(fresh_segmenter.detector.model.model.backbone)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("open:huge", "no segmenter 'open:huge'; choose open:tiny, open:base, or open:DETECTOR"),
        ("open:", "no segmenter 'open:'"),
        ("open:+{sam2}", "no segmenter"),
        ("open:{sam2}+{sam2}", "holds a 'sam2_video' model, not a Grounding DINO checkpoint such"),
        ("open:{dino}+{dino}", "holds a 'grounding-dino' model, not a SAM 2 checkpoint such as"),
        ("open:{empty}+{sam2}", "is no Grounding DINO checkpoint.*IDEA-Research/grounding-dino"),
        ("open:./no/folder+{sam2}", r"there is no segmenter '\./no/folder'"),
        ("open:tiny", "cannot download IDEA-Research/grounding-dino-tiny.*pass its folder"),
        ("open:{dino}+facebook/sam2.1-hiera-tiny", "cannot download facebook/sam2.1-hiera-tiny"),
    ],
)
def test_a_name_that_cannot_be_loaded_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    # as when the network is away, without the hub client's 23 seconds of trying again
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    places = {"dino": folder / "dino", "sam2": folder / "sam2", "empty": tmp_path}
    with pytest.raises((InputError, SegmenterError)) as raised:
        segmenter(name.format(**places))
    assert re.search(expected, str(raised.value)), raised.value
