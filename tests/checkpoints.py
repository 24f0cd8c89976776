"""Small checkpoints with random weights, saved to disk in the formats that people have."""

import json
import string
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizer,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam3Config,
    Sam3LiteTextConfig,
    Sam3LiteTextModel,
    Sam3Model,
    Sam3Processor,
    Sam3VideoConfig,
    Sam3VideoModel,
)

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


def save_sam2_checkpoint(folder: Path, model_type: str = "sam2_video") -> Path:
    """A tiny random SAM 2 with its image processor; facebook/sam2.1-* are `sam2_video`."""
    torch.manual_seed(0)
    side = 128
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [side, side],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 2, 2],
                "window_size_per_stage": [8, 4, 4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": side},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    Sam2Model(config).save_pretrained(folder)
    change_config(folder, model_type=model_type)
    size = {"height": side, "width": side}
    Sam2ImageProcessor(size=size, mask_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_grounding_dino_checkpoint(folder: Path, family: str = "GroundingDino") -> Path:
    """A tiny random Grounding DINO (or `MMGroundingDino`) with a BERT tokenizer of letters."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        backbone_config={
            "model_type": "swin",
            "image_size": 64,
            "embed_dim": 16,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 2, 2, 2],
            "window_size": 4,
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": 1100,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
        d_model=64,
        num_queries=12,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
    )
    model = getattr(transformers, f"{family}ForObjectDetection")(config)
    model.save_pretrained(folder)
    # the ids of the separators are those that the model knows
    vocabulary = {f"[unused{i}]": i for i in range(1100)}
    words = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    words |= {1012: ".", 1029: "?"}
    words |= {200 + i: letter for i, letter in enumerate(string.ascii_lowercase)}
    words |= {300 + i: "##" + letter for i, letter in enumerate(string.ascii_lowercase)}
    for i, word in words.items():
        del vocabulary[f"[unused{i}]"]
        vocabulary[word] = i
    (folder / "vocab.txt").write_text(
        "\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8"
    )
    GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 128}),
        BertTokenizer(str(folder / "vocab.txt")),
    ).save_pretrained(folder)
    return folder


def save_sam3_checkpoint(folder: Path, **options: Any) -> Path:
    """The shipped checkpoint with random weights; options go to save_pretrained."""
    torch.manual_seed(0)
    dtype = options.pop("dtype", torch.float32)
    Sam3Model(Sam3Config.from_pretrained(TINY)).to(dtype).save_pretrained(folder, **options)
    Sam3Processor.from_pretrained(TINY).save_pretrained(folder)
    return folder


def save_lite_text_checkpoint(folder: Path, context: int = 16) -> Path:
    """A tiny random SAM 3 LiteText, which reads 16 tokens as the real ones do."""
    torch.manual_seed(0)
    detector = Sam3Config.from_pretrained(TINY).to_dict()
    parts: dict[str, Any] = {
        f"{part}_config": {**detector[f"{part}_config"], "model_type": f"sam3_lite_text_{part}"}
        for part in ("geometry_encoder", "detr_encoder", "detr_decoder", "mask_decoder")
    }
    text = {
        "vocab_size": detector["text_config"]["vocab_size"],
        "hidden_size": 64,
        "intermediate_size": 64,
        "projection_dim": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": context,
    }
    config = Sam3LiteTextConfig(vision_config=detector["vision_config"], text_config=text, **parts)
    Sam3LiteTextModel(config).save_pretrained(folder)
    processor = Sam3Processor.from_pretrained(TINY)
    processor.tokenizer.model_max_length = context
    processor.save_pretrained(folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Overwrite entries of a checkpoint's config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, **changes}), encoding="utf-8")
