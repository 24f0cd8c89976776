"""Meta's own SAM 3 package on a CPU, as the peer of the bench.

It is imported where somebody has installed it (`pip install sam3==0.1.4 --no-deps`, with timm,
einops, ftfy, iopath, psutil, opencv-python-headless and matplotlib, which its helpers import), and
never copied.
"""

import contextlib
import gzip
import importlib
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_agent.images import Pixels


class MetaSam3:
    """Meta's image model with random weights; ImportError when not installed.

    config: a transformers `Sam3Config` whose sizes it is built with, instead of the released ones.
    """

    def __init__(self, config: Any = None) -> None:
        import torch

        builder = _module("model_builder")
        processing = _module("model.sam3_image_processor")
        torch.manual_seed(0)
        sizes = _sizes(config) if config is not None else {}
        with tempfile.TemporaryDirectory() as folder, _on_cpu(), _built_with(builder, sizes):
            # the wheel lacks its vocabulary; without merges every letter is a token, which does
            # for short phrases
            vocabulary = Path(folder) / "bpe.txt.gz"
            vocabulary.write_bytes(gzip.compress(b"no merges\n"))
            self.model = builder.build_sam3_image_model(
                bpe_path=str(vocabulary), device="cpu", load_from_HF=False
            )
        side = 1008 if config is None else config.vision_config.backbone_config.image_size
        self._processor = processing.Sam3Processor(
            self.model, resolution=side, device="cpu", confidence_threshold=0.0
        )

    def take_weights(self, weights: Mapping[str, Any]) -> None:
        """Copy the weights of a transformers `Sam3Model` (its state dict)."""
        import torch

        own = self.model.state_dict()
        with torch.no_grad():
            for name, value in own.items():
                if not name.endswith("freqs_cis") and ".points_" not in name:
                    value.copy_(_weight(name, value.shape, weights))

    def tokens(self, phrase: str) -> list[int]:
        """The token ids that it reads for a phrase, with the marks of begin and end."""
        tokenizer = self.model.backbone.language_backbone.tokenizer
        ids: list[int] = [int(i) for i in tokenizer([phrase], context_length=32)[0] if i]
        return ids

    def raw(
        self, state: Any, phrase: str, boxes: Sequence[Sequence[float]], labels: Sequence[bool]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """All its candidates for a phrase and exemplars (cx cy w h in 0..1), nothing chosen.

        presence (), scores (Q,) without presence, boxes (Q, 4) cx cy w h in 0..1, logits (Q, h, w).
        """
        import torch

        self._processor.reset_all_prompts(state)
        with torch.inference_mode(), _on_cpu():
            state["backbone_out"].update(self.model.backbone.forward_text([phrase], device="cpu"))
            prompt = self.model._get_dummy_prompt()
            for box, label in zip(boxes, labels, strict=True):
                prompt.append_boxes(torch.tensor(box).view(1, 1, 4), torch.tensor([[label]]))
            out = self.model.forward_grounding(
                backbone_out=state["backbone_out"],
                find_input=self._processor.find_stage,
                geometric_prompt=prompt,
                find_target=None,
            )
        return {
            "presence": out["presence_logit_dec"].sigmoid().numpy().reshape(()),
            "scores": out["pred_logits"][0, :, 0].sigmoid().numpy(),
            "boxes": out["pred_boxes"][0].numpy(),
            "logits": out["pred_masks"][0].numpy(),
        }

    def encode(self, image: Pixels) -> Any:
        """Its image features."""
        from PIL import Image

        return self._processor.set_image(Image.fromarray(np.asarray(image)))

    def detect(self, state: Any, phrase: str, threshold: float) -> Any:
        """Its state with boxes, scores and dense masks of a phrase."""
        self._processor.confidence_threshold = threshold
        self._processor.reset_all_prompts(state)
        with _on_cpu():
            return self._processor.set_text_prompt(phrase, state)


def enlarge_and_encode(logits: npt.NDArray[np.float32], size: tuple[int, int]) -> list[bytes]:
    """Its way from (N, h, w) logits to N RLE counts at (H, W)."""
    import torch

    interpolate = _module("model.data_misc").interpolate
    rle_encode = _module("train.masks_ops").rle_encode
    with torch.inference_mode():
        enlarged = interpolate(
            torch.from_numpy(logits)[:, None], size, mode="bilinear", align_corners=False
        ).sigmoid()
        return [rle["counts"] for rle in rle_encode((enlarged > 0.5).squeeze(1))]


def remove_overlaps(
    counts: list[bytes], scores: npt.NDArray[np.float32], size: tuple[int, int], iom: float = 0.3
) -> list[int]:
    """Its indexes of the masks that stay."""
    remove = _module("agent.helpers.mask_overlap_removal").remove_overlapping_masks
    sample = {
        "pred_masks": counts,
        "pred_scores": scores.tolist(),
        "orig_img_h": size[0],
        "orig_img_w": size[1],
    }
    kept: list[int] = remove(sample, iom)["kept_indices"]
    return kept


def draw(image: Path, counts: list[bytes], boxes: npt.NDArray[np.float32]) -> Pixels:
    """Its picture of all masks of an image file, as its planner is shown; boxes x0 y0 x1 y1."""
    from PIL import Image

    visualize = _module("agent.viz").visualize
    with Image.open(image) as opened:
        width, height = opened.size
    corners = boxes.copy()
    corners[:, 2:] -= corners[:, :2]
    sample = {
        "orig_img_h": height,
        "orig_img_w": width,
        "original_image_path": str(image),
        "pred_boxes": (corners / [width, height, width, height]).tolist(),
        "pred_masks": counts,
    }
    return np.asarray(visualize(sample).convert("RGB"))


def _on_cpu() -> Any:
    """Keep it off CUDA: two tables and one pinned tensor go there whatever the device is."""
    import torch
    from torch.overrides import TorchFunctionMode

    class OnCPU(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.Tensor.pin_memory:
                return args[0]
            kwargs = dict(kwargs or {})
            if kwargs.get("device") == "cuda":
                kwargs["device"] = "cpu"
            return func(*args, **kwargs)

    return OnCPU()


@contextlib.contextmanager
def _built_with(builder: Any, sizes: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Let Meta's builder make its classes with other sizes than the ones written into it."""
    originals = {name: getattr(builder, name) for name in sizes}
    try:
        for name, values in sizes.items():
            setattr(builder, name, _resized(originals[name], values))
        yield
    finally:
        for name, original in originals.items():
            setattr(builder, name, original)


def _resized(original: Any, values: Mapping[str, Any]) -> Any:
    return lambda *args, **kwargs: original(*args, **{**kwargs, **values})


def _sizes(config: Any) -> dict[str, dict[str, Any]]:
    """The arguments of Meta's classes for a transformers `Sam3Config`.

    The attention sizes of geometry encoder, DETR encoder and decoder must be the same.
    """
    from torch import nn

    vision, text, detr = config.vision_config, config.text_config, config.detr_decoder_config
    trunk, geometry, masks = (
        vision.backbone_config,
        config.geometry_encoder_config,
        config.mask_decoder_config,
    )
    hidden, wide = detr.hidden_size, detr.intermediate_size
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
        "MultiheadAttention": {"embed_dim": hidden, "num_heads": detr.num_attention_heads},
        "TransformerEncoderLayer": {"d_model": hidden, "dim_feedforward": wide},
        "TransformerEncoderFusion": {
            "d_model": hidden,
            "num_layers": config.detr_encoder_config.num_layers,
        },
        "TransformerDecoderLayer": {
            "d_model": hidden,
            "dim_feedforward": wide,
            "n_heads": detr.num_attention_heads,
        },
        "TransformerDecoder": {
            "d_model": hidden,
            "num_layers": detr.num_layers,
            "num_queries": detr.num_queries,
            "resolution": trunk.image_size,
            "stride": trunk.patch_size,
        },
        "TransformerWrapper": {"d_model": hidden},
        "MLP": {
            "input_dim": hidden,
            "hidden_dim": wide,
            "output_dim": hidden,
            "out_norm": nn.LayerNorm(hidden),
        },
        "DotProductScoring": {"d_model": hidden, "d_proj": hidden},
        "PixelDecoder": {
            "hidden_dim": hidden,
            "num_upsampling_stages": masks.num_upsampling_stages,
        },
        "UniversalSegmentationHead": {
            "hidden_dim": hidden,
            "upsampling_stages": masks.num_upsampling_stages,
        },
        "CXBlock": {"dim": hidden},
        "SequenceGeometryEncoder": {
            "d_model": hidden,
            "num_layers": geometry.num_layers,
            "roi_size": geometry.roi_size,
        },
    }


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
"""Meta's parameter names to those of transformers, applied in this order."""

_COUNTED_FROM_ONE = re.compile(
    r"\.(box_head|box_rpb_embed_[xy]|presence_head|ref_point_head|text_mlp)\.layers\.(\d)\."
)


def _weight(name: str, shape: Any, weights: Mapping[str, Any]) -> Any:
    """The value of Meta's parameter `name` from transformers' weights."""
    import torch

    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    name = _COUNTED_FROM_ONE.sub(lambda match: f".{match[1]}.layer{int(match[2]) + 1}.", name)
    if ".qkv_proj." in name:
        return torch.cat([weights[name.replace("qkv_proj", f"{one}_proj")] for one in "qkv"])
    value = weights[name]
    if name.endswith("position_embeddings"):  # there with a class token in front, never used
        return torch.cat([torch.zeros_like(value[:, :1]), value], dim=1)
    return value if value.shape == shape else value.T


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"sam3.{name}")


def relative_box(box: Any, shape: tuple[int, ...]) -> list[float]:
    """x0 y0 x1 y1 in pixels to cx cy w h in 0..1."""
    x0, y0, x1, y1 = box
    height, width = shape[:2]
    return [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]


def corner_box(box: Any, shape: tuple[int, ...]) -> list[float]:
    """cx cy w h in 0..1 to x0 y0 x1 y1 in pixels."""
    cx, cy, w, h = box
    height, width = shape[:2]
    across, down = (cx - w / 2, cx + w / 2), (cy - h / 2, cy + h / 2)
    return [across[0] * width, down[0] * height, across[1] * width, down[1] * height]


def meta_sam3_installed() -> bool:
    import importlib.util

    return importlib.util.find_spec("sam3") is not None


def new_meta_sam3() -> Any:
    if not meta_sam3_installed():
        return None
    return MetaSam3()
