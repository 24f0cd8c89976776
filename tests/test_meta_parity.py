"""The segmenter equals Meta's original: phrases, exemplars and masks, under equal weights."""

import importlib.util

import numpy as np
import numpy.typing as npt
import pytest

from sam3_agent.segmenter import Selection
from tests import meta_sam3

NEAR = 1e-5
"""Of the largest value: float32 arithmetic in another order of steps."""


@pytest.fixture(scope="module")
def ours() -> dict[str, npt.NDArray[np.float32]]:
    """Our candidates for every prompt, under the names of the recording."""
    segmenter = meta_sam3.segmenter()
    features = segmenter.encode(meta_sam3.image())
    segmenter.detect(features, list(meta_sam3.PROMPTS.values()), Selection(threshold=1.0))
    out: dict[str, npt.NDArray[np.float32]] = {}
    for name, prompt in meta_sam3.PROMPTS.items():
        found = features.candidates.get(prompt)
        assert found is not None
        out |= {
            f"{name}_presence": np.array(found.presence, np.float32),
            f"{name}_scores": found.scores,
            f"{name}_boxes": found.boxes,
            f"{name}_logits": np.stack([*found.mask_logits(range(len(found.scores)))]),
        }
    return out


def assert_equal(
    ours: dict[str, npt.NDArray[np.float32]], theirs: dict[str, npt.NDArray[np.float32]]
) -> None:
    assert set(ours) == set(theirs)
    for key, expected in theirs.items():
        value = ours[key]
        if value.shape != expected.shape:  # the recording has every fourth row and column
            value = value[:, ::4, ::4]
        scale = 160 if key.endswith("boxes") else max(1.0, float(np.abs(expected).max()))
        assert np.abs(value - expected).max() <= NEAR * scale, key


def test_our_numbers_are_those_that_the_original_gave(
    ours: dict[str, npt.NDArray[np.float32]],
) -> None:
    recorded = np.load(meta_sam3.RECORDED)
    assert_equal(ours, {key: recorded[key] for key in recorded.files})


def test_the_prompts_of_the_comparison_have_different_answers(
    ours: dict[str, npt.NDArray[np.float32]],
) -> None:
    presences = [float(ours[f"{name}_presence"]) for name in meta_sam3.PROMPTS]
    assert len({round(presence, 3) for presence in presences}) == 3
    assert np.std(ours["phrase_logits"]) > 0.05


@pytest.mark.skipif(importlib.util.find_spec("sam3") is None, reason="needs sam3==0.1.4")
@pytest.mark.filterwarnings("ignore")
def test_our_numbers_are_those_of_the_installed_original(
    ours: dict[str, npt.NDArray[np.float32]],
) -> None:
    assert_equal(ours, meta_sam3.originals())
