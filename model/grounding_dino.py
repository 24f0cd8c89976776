"""Grounding DINO: the boxes of everything that a phrase names (arXiv 2303.05499)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sam3_agent.errors import PromptError
from sam3_agent.images import Pixels
from sam3_agent.model.checkpoints import load_pretrained
from sam3_agent.rle import FloatArray
from sam3_agent.sanitize import shorten

KINDS = {
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
"""The transformers class for a checkpoint's model_type."""

EXAMPLE = "IDEA-Research/grounding-dino-tiny"

SEPARATORS = str.maketrans(".?", "  ")
"""The model reads what stands between two of these as a phrase of its own."""


@dataclass(frozen=True, eq=False)
class DetectorFeatures:
    """What the detector keeps of an image: its backbone's output, before any text comes in.

    maps: (feature map, mask) of each level. positions: their position embeddings. mask: (1, h, w),
    where the picture is in the detector's frame.
    """

    maps: list[tuple[Any, Any]]
    positions: list[Any]
    mask: Any

    @property
    def tensors(self) -> list[Any]:
        """Everything that takes memory."""
        return [tensor for level in self.maps for tensor in level] + self.positions + [self.mask]


class GroundingDino:
    """The detector of a checkpoint: a folder or a hub id.

    The image backbone runs once for an image; the rest runs for every phrase, as text and image are
    fused from the first encoder layer on. Raises SegmenterError when it cannot be loaded.
    """

    def __init__(self, name: str, device: str) -> None:
        _, model, self._processor = load_pretrained(
            name, KINDS, "GroundingDinoProcessor", "Grounding DINO checkpoint", EXAMPLE
        )
        self._device = device
        self.model = model.to(device).eval()
        config = model.config
        self._context = min(config.max_text_len, config.text_config.max_position_embeddings)

    def encode(self, image: Pixels) -> DetectorFeatures:
        """Run the image backbone on an (H, W, 3) uint8 image."""
        import torch

        inputs = self._processor.image_processor(
            images=torch.from_numpy(np.array(image)).permute(2, 0, 1),
            input_data_format="channels_first",
            return_tensors="pt",
        ).to(self._device)
        maps, positions = self.model.model.backbone(inputs["pixel_values"], inputs["pixel_mask"])
        return DetectorFeatures(maps, positions, inputs["pixel_mask"])

    def tokens(self, phrase: str) -> Any:
        """A phrase as the detector reads it: lower case, one full stop, at its end.

        Raises PromptError for a phrase with too many words.
        """
        words = " ".join(phrase.lower().translate(SEPARATORS).split())
        tokens = self._processor.tokenizer(
            words + ".", return_tensors="pt", return_token_type_ids=True
        )
        count = tokens["input_ids"].shape[1]
        if count > self._context:
            raise PromptError(
                f"the concept phrase {shorten(phrase, 60)!r} has {count} tokens, Grounding DINO "
                f"reads at most {self._context}; use a short noun phrase such as 'red car'"
            )
        return tokens

    def find(self, features: DetectorFeatures, phrase: str) -> tuple[FloatArray, FloatArray]:
        """(Q,) scores in 0..1 and (Q, 4) boxes, x0 y0 x1 y1 in 0..1 of the image's sides.

        The score of a box is that of the token that fits it best, as in transformers.
        """
        import torch

        tokens = self.tokens(phrase).to(self._device)
        backbone = self.model.model.backbone
        # transformers takes no ready image features, and adds levels to the lists it gets
        backbone.forward = lambda *_: (list(features.maps), list(features.positions))
        try:
            output = self.model(
                pixel_values=torch.empty(1, device=self._device).expand(
                    1, 3, *features.mask.shape[1:]
                ),
                pixel_mask=features.mask,
                **tokens,
            )
        finally:
            del backbone.forward
        scores = output.logits[0].sigmoid().amax(dim=-1)
        centres, sides = output.pred_boxes[0].split(2, dim=-1)
        boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)
        return scores.cpu().numpy(), boxes.cpu().numpy()
