"""Small checkpoints with random weights, saved to disk in the formats that people have."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Sam3Config, Sam3Processor, Sam3VideoConfig, Sam3VideoModel

from sam3_agent.model.checkpoints import TINY


def save_video_checkpoint(folder: Path) -> Path:
    """Detector and tracker as facebook/sam3 has them, a `sam3_video`, but tiny and random."""
    torch.manual_seed(0)
    detector = Sam3Config.from_pretrained(TINY).to_dict()
    vision = detector["vision_config"]
    hidden, backbone = vision["fpn_hidden_size"], vision["backbone_config"]
    tracker: dict[str, Any] = {
        "vision_config": vision,
        "image_size": backbone["image_size"],
        "prompt_encoder_config": {
            "hidden_size": hidden,
            "image_size": backbone["image_size"],
            "patch_size": backbone["patch_size"],
        },
        "mask_decoder_config": {"hidden_size": hidden, "mlp_dim": 128, "iou_head_hidden_dim": 64},
        "memory_attention_hidden_size": hidden,
        "memory_attention_feed_forward_hidden_size": 64,
        "memory_attention_num_layers": 1,
        "memory_attention_rope_feat_sizes": vision["backbone_feature_sizes"][-1],
        "memory_encoder_hidden_size": hidden,
        "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": hidden,
        "memory_fuser_embed_dim": hidden,
        "memory_fuser_intermediate_dim": 64,
        "memory_fuser_num_layers": 1,
    }
    model = Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=tracker))
    model.save_pretrained(folder)
    Sam3Processor.from_pretrained(TINY).save_pretrained(folder)
    # transformers doubles the tracker's prefix when it saves; facebook/sam3 has it once
    weights = load_file(folder / "model.safetensors")
    doubled = "tracker_model.tracker_model."
    weights = {name.replace(doubled, "tracker_model."): value for name, value in weights.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
