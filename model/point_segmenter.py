"""SAM 3's tracker on one image: clicks and boxes to the mask of one object.

It shares the image encoder of the detector, which is by far the larger part; only its own neck,
prompt encoder and mask decoder are read from the checkpoint.
"""

import re
from typing import Any

from sam3_agent.errors import SegmenterError
from sam3_agent.geometry import Size
from sam3_agent.model.checkpoint_checks import AGAIN, check_values
from sam3_agent.model.checkpoints import Checkpoint, loading, read_config, weight_files
from sam3_agent.model.mask_decoding import FloatGrid
from sam3_agent.model.object_prompt import object_logits
from sam3_agent.segmenter import ObjectPrompt


class PointSegmenter:
    """The tracker of a checkpoint.

    Raises SegmenterError when the checkpoint has none.
    """

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        self._device = device
        config = read_config(checkpoint.source)
        if "tracker_config" not in config:
            raise SegmenterError(
                f"{checkpoint.name} has no tracker, so it cannot be pointed at one object with "
                "clicks or a box; open:tiny (clicks) and facebook/sam3 can"
            )
        with loading(checkpoint.source, "SAM 3 tracker"):
            self._model = _tracker_model(checkpoint, config).to(device).eval()

    def logits(self, hidden: Any, size: Size, prompt: ObjectPrompt) -> tuple[FloatGrid, float]:
        """The (h, w) mask logits for the object, and its score in 0..1; see `object_logits`.

        hidden: (1, L, C) output of the image encoder's backbone. size: (height, width) in pixels.
        """
        return object_logits(self._model, self._embeddings(hidden), size, prompt, self._device)

    def _embeddings(self, hidden: Any) -> list[Any]:
        """The tracker's feature maps, finest first, from the shared backbone's output."""
        model = self._model
        sizes = model.backbone_feature_sizes
        rows, columns = sizes[-1]
        spatial = hidden.view(1, rows, columns, -1).permute(0, 3, 1, 2)
        levels = list(model.vision_encoder.neck(spatial)[0][: len(sizes)])
        levels[0] = model.mask_decoder.conv_s0(levels[0])
        levels[1] = model.mask_decoder.conv_s1(levels[1])
        levels[-1] = levels[-1] + model.no_memory_embedding.view(1, -1, 1, 1)
        return levels


def _tracker_model(checkpoint: Checkpoint, config: dict[str, Any]) -> Any:
    """A Sam3TrackerModel whose backbone is the detector's own."""
    import torch
    from safetensors import safe_open
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    settings = {k: v for k, v in config["tracker_config"].items() if k != "model_type"}
    vision = checkpoint.model.config.vision_config.to_dict()
    settings["vision_config"] = {
        **vision,
        # the tracker does without the coarsest level
        "scale_factors": vision["scale_factors"][:-1],
        "backbone_feature_sizes": vision["backbone_feature_sizes"],
    }
    with torch.device("meta"):
        model = Sam3TrackerModel(Sam3TrackerConfig(**settings))
    model.vision_encoder.backbone = checkpoint.model.vision_encoder.backbone
    wanted = {k for k in model.state_dict() if not k.startswith("vision_encoder.backbone.")}
    weights = {}
    for path in weight_files(checkpoint.source):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118  # not a dict
                name = re.sub(r"^tracker_neck\.", "vision_encoder.neck.", key)
                name = re.sub(r"^(tracker_model\.)+", "", name)
                if name in wanted and name != key:
                    weights[name] = file.get_tensor(key).float()
    missing = sorted(wanted - set(weights))
    if missing:
        raise SegmenterError(
            f"the tracker in {checkpoint.source} is incomplete: {missing[0]} and "
            f"{len(missing) - 1} more weights are missing; {AGAIN}"
        )
    check_values(checkpoint.source, weights)
    try:
        model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise SegmenterError(
            f"the tracker in {checkpoint.source} does not fit its config.json: {reason}; {AGAIN}"
        ) from error
    return model
