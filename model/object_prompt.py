"""Clicks and boxes to the mask of one object, with the mask decoder that SAM 2 and SAM 3 share."""

from typing import Any

import numpy as np

from sam3_agent.geometry import Size
from sam3_agent.model.mask_decoding import FloatGrid
from sam3_agent.segmenter import ObjectPrompt

INSIDE, OUTSIDE = 1, 0
"""Labels of clicks, as SAM's prompt encoder reads them."""


def object_logits(
    model: Any, maps: list[Any], size: Size, prompt: ObjectPrompt, device: str
) -> tuple[FloatGrid, float]:
    """The best (h, w) mask logits for the object at a place, and its score in 0..1.

    The score is the predicted IoU x the probability that there is an object at all. One click is
    ambiguous (a shirt, or the person?): then the best of three masks is taken.

    model: a Sam2Model or Sam3TrackerModel. maps: its feature maps, finest first. size: (height,
    width) of the image in pixels.
    """
    import torch

    scale = frame_scale(model, size)
    clicks = [*prompt.inside, *prompt.outside]
    arguments: dict[str, Any] = {}
    if clicks:
        labels = [INSIDE] * len(prompt.inside) + [OUTSIDE] * len(prompt.outside)
        points = torch.tensor(clicks, dtype=torch.float32) * scale
        arguments["input_points"] = points[None, None].to(device)
        arguments["input_labels"] = torch.tensor(labels)[None, None].to(device)
    if prompt.box is not None:
        corners = torch.tensor(prompt.box).reshape(2, 2) * scale
        arguments["input_boxes"] = corners.reshape(1, 1, 4).to(device)
    output = model(
        image_embeddings=maps,
        multimask_output=len(clicks) == 1 and prompt.box is None,
        **arguments,
    )
    scores = output.iou_scores[0, 0].float().cpu()
    best = int(scores.argmax())
    present = float(output.object_score_logits.float().flatten()[0].sigmoid())
    logits = output.pred_masks[0, 0, best].float().cpu().numpy()
    return np.asarray(logits), float(scores[best].clamp(0, 1)) * present


def frame_scale(model: Any, size: Size) -> Any:
    """(2,) tensor: what turns x y in pixels of a (height, width) image into those of the model's
    square frame.
    """
    import torch

    side = model.prompt_encoder.input_image_size
    height, width = size
    return torch.tensor([side / width, side / height])
