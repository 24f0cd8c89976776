"""Sizes and parameter names of Meta's SAM 3 package, from those of transformers."""

import re
from collections.abc import Mapping
from typing import Any

_ATTENTIONS = "self_attn|cross_attn|text_cross_attn|vision_cross_attn|prompt_cross_attn"

_NAMES = (
    # the image encoder
    (r"^backbone\.vision_backbone\.trunk\.", "vision_encoder.backbone."),
    (r"\.pos_embed$", ".embeddings.position_embeddings"),
    (r"\.patch_embed\.proj\.", ".embeddings.patch_embeddings.projection."),
    (r"\.ln_pre\.", ".layer_norm."),
    (r"\.blocks\.(\d+)\.", r".layers.\1."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.qkv\.", ".attention.qkv_proj."),
    (r"^backbone\.vision_backbone\.convs\.", "vision_encoder.neck.fpn_layers."),
    (r"\.dconv_2x2(_0)?\.", ".scale_layers.0."),
    (r"\.dconv_2x2_1\.", ".scale_layers.2."),
    (r"\.conv_1x1\.", ".proj1."),
    (r"\.conv_3x3\.", ".proj2."),
    # the text encoder
    (r"^backbone\.language_backbone\.resizer\.", "text_projection."),
    (r"^backbone\.language_backbone\.encoder\.", "text_encoder.text_model."),
    (r"\.text_model\.text_projection$", ".text_projection.weight"),
    (r"\.token_embedding\.", ".embeddings.token_embedding."),
    (r"\.positional_embedding$", ".embeddings.position_embedding.weight"),
    (r"\.ln_final\.", ".final_layer_norm."),
    (r"\.transformer\.resblocks\.", ".encoder.layers."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.c_fc\.", ".fc1."),
    (r"\.c_proj\.", ".fc2."),
    # geometry encoder, detector, heads
    (r"^geometry_encoder\.encode\.", "geometry_encoder.layers."),
    (r"^geometry_encoder\.img_pre_norm\.", "geometry_encoder.vision_layer_norm."),
    (r"^geometry_encoder\.norm\.", "geometry_encoder.prompt_layer_norm."),
    (r"^geometry_encoder\.encode_norm\.", "geometry_encoder.output_layer_norm."),
    (r"^transformer\.encoder\.", "detr_encoder."),
    (r"^transformer\.decoder\.", "detr_decoder."),
    (r"^(detr_decoder\.layers\.\d+)\.cross_attn\.", r"\1.vision_cross_attn."),
    (r"\.ca_text\.", ".text_cross_attn."),
    (r"\.catext_norm\.", ".text_cross_attn_layer_norm."),
    (r"^(detr_decoder\.layers\.\d+)\.norm1\.", r"\1.vision_cross_attn_layer_norm."),
    (r"^(detr_decoder\.layers\.\d+)\.norm2\.", r"\1.self_attn_layer_norm."),
    (r"^(detr_decoder\.layers\.\d+)\.norm3\.", r"\1.mlp_layer_norm."),
    (r"^detr_decoder\.norm\.", "detr_decoder.output_layer_norm."),
    (r"\.cross_attn_image\.", ".cross_attn."),
    (r"\.linear(\d)\.", r".mlp.fc\1."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.bbox_embed\.", ".box_head."),
    (r"\.boxRPB_embed_", ".box_rpb_embed_"),
    (r"\.presence_token_head\.", ".presence_head."),
    (r"\.presence_token_out_norm\.", ".presence_layer_norm."),
    (r"^segmentation_head\.mask_predictor\.mask_embed\.", "mask_decoder.mask_embedder."),
    (r"^segmentation_head\.", "mask_decoder."),
    (r"\.instance_seg_head\.", ".instance_projection."),
    (r"\.semantic_seg_head\.", ".semantic_projection."),
    (r"\.cross_attend_prompt\.", ".prompt_cross_attn."),
    (r"^mask_decoder\.cross_attn_norm\.", "mask_decoder.prompt_cross_attn_norm."),
    (r"^dot_prod_scoring\.", "dot_product_scoring."),
    (r"\.prompt_mlp\.out_norm\.", ".text_mlp_out_norm."),
    (r"\.prompt_mlp\.", ".text_mlp."),
    (r"\.prompt_proj\.", ".text_proj."),
    (r"\.hs_proj\.", ".query_proj."),
    # attention: one matrix for query, key and value there, three here
    (rf"\.({_ATTENTIONS})\.in_proj_", r".\1.qkv_proj."),
    (rf"^(?!text_encoder)(.*)\.({_ATTENTIONS})\.out_proj\.", r"\1.\2.o_proj."),
)
"""From Meta's parameter names to those of transformers: patterns, applied in this order."""

_COUNTED_FROM_ONE = re.compile(
    r"\.(box_head|box_rpb_embed_[xy]|presence_head|ref_point_head|text_mlp)\.layers\.(\d)\."
)


def meta_weight(name: str, shape: Any, weights: Mapping[str, Any]) -> Any:
    """Returns the value of Meta's parameter `name` from transformers' weights."""
    import torch

    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    name = _COUNTED_FROM_ONE.sub(lambda match: f".{match[1]}.layer{int(match[2]) + 1}.", name)
    # Meta keeps query, key and value in one matrix, transformers in three
    if ".qkv_proj." in name:
        return torch.cat([weights[name.replace("qkv_proj", f"{one}_proj")] for one in "qkv"])
    value = weights[name]
    if name.endswith("position_embeddings"):  # there with a class token in front, never used
        return torch.cat([torch.zeros_like(value[:, :1]), value], dim=1)
    # the text projection is stored the other way round there
    return value if value.shape == shape else value.T


def meta_sizes(config: Any) -> dict[str, dict[str, Any]]:
    """Returns the arguments of Meta's classes, by class, for a transformers `Sam3Config`.

    The attention sizes of geometry encoder, DETR encoder and decoder must be the same.
    """
    return {**_encoder_sizes(config), **_detector_sizes(config), **_head_sizes(config)}


def _encoder_sizes(config: Any) -> dict[str, dict[str, Any]]:
    hidden, text = config.detr_decoder_config.hidden_size, config.text_config
    trunk = config.vision_config.backbone_config
    return {
        "PositionEmbeddingSine": {"num_pos_feats": hidden, "precompute_resolution": None},
        "ViT": {
            "img_size": trunk.image_size,
            "pretrain_img_size": trunk.pretrain_image_size,
            "patch_size": trunk.patch_size,
            "embed_dim": trunk.hidden_size,
            "depth": trunk.num_hidden_layers,
            "num_heads": trunk.num_attention_heads,
            "mlp_ratio": trunk.intermediate_size / trunk.hidden_size,
            "global_att_blocks": tuple(trunk.global_attn_indexes),
            "window_size": trunk.window_size,
        },
        "Sam3DualViTDetNeck": {"d_model": hidden},
        "VETextEncoder": {
            "d_model": hidden,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "vocab_size": text.vocab_size,
        },
    }


def _detector_sizes(config: Any) -> dict[str, dict[str, Any]]:
    detr, trunk = config.detr_decoder_config, config.vision_config.backbone_config
    geometry = config.geometry_encoder_config
    hidden, wide, heads = detr.hidden_size, detr.intermediate_size, detr.num_attention_heads
    return {
        "MultiheadAttention": {"embed_dim": hidden, "num_heads": heads},
        "TransformerEncoderLayer": {"d_model": hidden, "dim_feedforward": wide},
        "TransformerEncoderFusion": {
            "d_model": hidden,
            "num_layers": config.detr_encoder_config.num_layers,
        },
        "TransformerDecoderLayer": {"d_model": hidden, "dim_feedforward": wide, "n_heads": heads},
        "TransformerDecoder": {
            "d_model": hidden,
            "num_layers": detr.num_layers,
            "num_queries": detr.num_queries,
            "resolution": trunk.image_size,
            "stride": trunk.patch_size,
        },
        "TransformerWrapper": {"d_model": hidden},
        "SequenceGeometryEncoder": {
            "d_model": hidden,
            "num_layers": geometry.num_layers,
            "roi_size": geometry.roi_size,
        },
    }


def _head_sizes(config: Any) -> dict[str, dict[str, Any]]:
    from torch import nn

    hidden, wide = (
        config.detr_decoder_config.hidden_size,
        config.detr_decoder_config.intermediate_size,
    )
    stages = config.mask_decoder_config.num_upsampling_stages
    return {
        "MLP": {
            "input_dim": hidden,
            "hidden_dim": wide,
            "output_dim": hidden,
            "out_norm": nn.LayerNorm(hidden),
        },
        "DotProductScoring": {"d_model": hidden, "d_proj": hidden},
        "PixelDecoder": {"hidden_dim": hidden, "num_upsampling_stages": stages},
        "UniversalSegmentationHead": {"hidden_dim": hidden, "upsampling_stages": stages},
        "CXBlock": {"dim": hidden},
    }
