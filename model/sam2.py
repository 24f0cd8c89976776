"""SAM 2 on one image: boxes and clicks to masks (arXiv 2408.00714)."""

from typing import Any

import numpy as np

from sam3_agent.geometry import Size
from sam3_agent.images import Pixels
from sam3_agent.model.checkpoints import load_pretrained
from sam3_agent.model.mask_decoding import FloatGrid
from sam3_agent.model.object_prompt import frame_scale, object_logits
from sam3_agent.rle import FloatArray
from sam3_agent.segmenter import ObjectPrompt

KINDS = {"sam2": "Sam2Model", "sam2_video": "Sam2Model"}
"""The transformers class for a checkpoint's model_type; facebook/sam2.1-* are sam2_video."""

EXAMPLE = "facebook/sam2.1-hiera-tiny"

BOXES = 16
"""Boxes in one pass of the mask decoder; the enlarged features of each are 8 MB at full size."""


class Sam2:
    """The SAM 2 of a checkpoint: a folder or a hub id.

    Raises SegmenterError when it cannot be loaded.
    """

    def __init__(self, name: str, device: str) -> None:
        _, model, self._processor = load_pretrained(
            name, KINDS, "Sam2ImageProcessor", "SAM 2 checkpoint", EXAMPLE
        )
        self._device = device
        self.model = model.to(device).eval()

    def encode(self, image: Pixels) -> list[Any]:
        """The feature maps of an (H, W, 3) uint8 image, finest first."""
        import torch

        inputs = self._processor(
            images=torch.from_numpy(np.array(image)).permute(2, 0, 1),
            input_data_format="channels_first",
            return_tensors="pt",
        ).to(self._device)
        return list(self.model.get_image_embeddings(inputs["pixel_values"]))

    def boxes_to_masks(self, maps: list[Any], size: Size, boxes: FloatArray) -> FloatGrid:
        """(N, h, w) mask logits of the objects in N boxes (N, 4), x0 y0 x1 y1 in pixels.

        size: (height, width) of the image in pixels.
        """
        import torch

        corners = torch.tensor(boxes).reshape(1, -1, 2, 2) * frame_scale(self.model, size)
        parts = [
            self.model(
                image_embeddings=maps,
                input_boxes=part.flatten(2).to(self._device),
                multimask_output=False,
            ).pred_masks[0, :, 0]
            for part in corners.split(BOXES, dim=1)
        ]
        logits: FloatGrid = torch.cat(parts).cpu().numpy()
        return logits

    def object_to_mask(
        self, maps: list[Any], size: Size, prompt: ObjectPrompt
    ) -> tuple[FloatGrid, float]:
        """The (h, w) mask logits for one object, and its score in 0..1; see `object_logits`."""
        return object_logits(self.model, maps, size, prompt, self._device)
