"""What Meta's own SAM 3 code answers, for a small model with made-up weights.

`python -m tests.meta_sam3` records it in tests/recorded_original.npz; it needs Meta's package (see
`sam3_agent.evals.bench.meta_sam3`). The tests compare our segmenter with the recording everywhere,
and with the package itself where it is installed.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model

from sam3_agent.model.checkpoints import TINY, Checkpoint
from sam3_agent.model.sam3 import Sam3Segmenter
from sam3_agent.segmenter import ConceptPrompt

RECORDED = Path(__file__).parent / "recorded_original.npz"

PROMPTS = {
    "phrase": ConceptPrompt("red car"),
    "exemplars": ConceptPrompt(
        "red car", ((20.0, 16.0, 90.0, 70.0),), ((100.0, 8.0, 150.0, 60.0),)
    ),
    "exemplar_alone": ConceptPrompt("", ((20.0, 16.0, 90.0, 70.0),)),
}

TOKENS = {
    "red car": [513, 81, 68, 323, 66, 64, 337, 514],
    "visual": [513, 85, 72, 82, 84, 64, 331, 514],
}
"""What Meta's tokenizer reads without its vocabulary: a token for every letter."""


def image() -> npt.NDArray[np.uint8]:
    """A picture of 160 x 90 pixels: waves, whose values do not depend on a library."""
    y, x = np.mgrid[:90, :160]
    waves = [np.sin(x / (5 + 3 * i)) * np.cos(y / (7 + 2 * i)) for i in range(3)]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def config() -> Any:
    """Windowed and global attention, all parts of SAM 3, as small as can be."""
    settings = Sam3Config.from_pretrained(TINY).to_dict()
    backbone = settings["vision_config"]["backbone_config"]
    backbone |= {"num_hidden_layers": 4, "window_size": 7, "global_attn_indexes": [1, 3]}
    backbone |= {"image_size": 112, "pretrain_image_size": 56, "patch_size": 8}
    # as Meta's code has them; transformers' own defaults are 1e-6 for the latter
    backbone |= {"rope_parameters": {"rope_type": "axial", "rope_theta": 10000.0}}
    backbone |= {"layer_norm_eps": 1e-5}
    settings["text_config"] |= {"projection_dim": 512, "vocab_size": 515}
    settings["text_config"] |= {"bos_token_id": 513, "eos_token_id": 514, "pad_token_id": 0}
    return Sam3Config(**settings)


def model() -> Any:
    """The model, with weights that only depend on numpy's generator."""
    built = Sam3Model(config()).eval()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, weight in sorted(built.state_dict().items()):
            spread = 1 / np.sqrt(max(1, weight[0].numel())) if weight.ndim > 1 else 0.1
            values = rng.standard_normal(tuple(weight.shape)).astype(np.float32) * np.float32(
                spread
            )
            is_scale = weight.ndim == 1 and "norm" in name and name.endswith("weight")
            weight.copy_(torch.from_numpy(values + np.float32(is_scale)))
    return built


def segmenter() -> Sam3Segmenter:
    """Our segmenter of that model."""
    side = config().vision_config.backbone_config.image_size
    processor = SimpleNamespace(
        image_processor=Sam3ImageProcessor(size={"height": side, "width": side}),
        tokenizer=_Letters(),
    )
    return Sam3Segmenter(Checkpoint("small", "small", model(), processor), device="cpu")


def originals() -> dict[str, npt.NDArray[np.float32]]:
    """Meta's answers to PROMPTS: presence, scores, boxes (x0 y0 x1 y1 pixels) and mask logits."""
    from sam3_agent.evals.bench.meta_sam3 import MetaSam3, corner_box, relative_box

    meta = MetaSam3(config())
    meta.take_weights(model().state_dict())
    picture = image()
    state = meta.encode(picture)
    out: dict[str, npt.NDArray[np.float32]] = {}
    for name, prompt in PROMPTS.items():
        boxes = [relative_box(box, picture.shape) for box in (*prompt.positive, *prompt.negative)]
        labels = [True] * len(prompt.positive) + [False] * len(prompt.negative)
        phrase = prompt.phrase or "visual"
        assert meta.tokens(phrase) == TOKENS[phrase]
        raw = meta.raw(state, phrase, boxes, labels)
        raw["boxes"] = np.array(
            [corner_box(box, picture.shape) for box in raw["boxes"]], np.float32
        )
        out |= {f"{name}_{key}": value for key, value in raw.items()}
    return out


class _Letters:
    pad_token_id = 0
    model_max_length = 32

    def __call__(self, phrase: str) -> dict[str, list[int]]:
        return {"input_ids": TOKENS[phrase]}


if __name__ == "__main__":
    values = originals()
    # every fourth row and column of the masks tells as much, in a sixteenth of the space
    values = {k: v[:, ::4, ::4] if k.endswith("logits") else v for k, v in values.items()}
    np.savez_compressed(RECORDED, **values)  # type: ignore[arg-type]
