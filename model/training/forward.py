"""The forward pass for training: transformers' sub-modules, with every layer's outputs kept."""

from typing import Any

import torch
from torch import Tensor
from transformers import Sam3Model

from sam3_agent.model.sam3 import MASKED_BOX_LABEL
from sam3_agent.model.training.alignment import AlignmentHead, text_features
from sam3_agent.model.training.batch import Batch
from sam3_agent.model.training.losses import Outputs


def inverse_sigmoid(values: Tensor, margin: float = 1e-3) -> Tensor:
    """Logits of values in 0..1, as `Sam3Model` computes them."""
    return (values.clamp(min=margin) / (1 - values).clamp(min=margin)).log()


def image_features(model: Sam3Model, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
    """The 4x, 2x and 1x feature maps (B, hidden, h, w), and the 1x position encoding.

    While training, the ViT runs in bfloat16 (a step takes 15 % less on a CPU that has it).
    """
    encoder: Any = model.vision_encoder
    with torch.autocast("cpu", torch.bfloat16, enabled=model.training):
        tokens = encoder.backbone(pixels).last_hidden_state
    grid = pixels.shape[-1] // encoder.config.backbone_config.patch_size
    spatial = tokens.float().transpose(1, 2).unflatten(2, (grid, grid))
    features = [layer(spatial) for layer in encoder.neck.fpn_layers[:-1]]
    coarse = features[-1]
    position = encoder.neck.position_encoding(coarse[:1].shape, coarse.device, coarse.dtype)
    return features, position


def forward(model: Sam3Model, head: AlignmentHead, batch: Batch) -> tuple[Outputs, Tensor]:
    """Outputs of all layers for all prompts, and the 1x feature map (B, hidden, g, g).

    The last layer equals `Sam3Model.forward` with the batch's boxes. Where a prompt has none, all
    of its boxes are masked and the geometry encoder's CLS token stays, as in Meta's original.
    """
    features, position = image_features(model, batch.pixels)
    coarse, place = features[-1][batch.image], position.expand(len(batch.image), -1, -1, -1)
    prompt, valid = _prompts(model, batch, coarse, place)
    attended = valid[:, None, None]

    tokens, token_place = coarse.flatten(2).transpose(1, 2), place.flatten(2).transpose(1, 2)
    dense = []
    for layer, probe in zip(model.detr_encoder.layers, head.dense, strict=True):
        tokens = layer(tokens, prompt, token_place, attended)
        dense.append(probe(tokens).squeeze(-1))
    decoded = model.detr_decoder(
        vision_features=tokens,
        text_features=prompt,
        vision_pos_encoding=token_place,
        text_mask=valid,
        spatial_shapes=torch.tensor([coarse.shape[-2:]]),
    )
    queries = decoded.intermediate_hidden_states
    offsets = model.detr_decoder.box_head(queries)
    boxes = (inverse_sigmoid(decoded.reference_boxes) + offsets).sigmoid()
    scores = model.dot_product_scoring(queries, prompt, valid).squeeze(-1)

    rows = batch.present.nonzero().squeeze(1)
    fine = [level[batch.image[rows]] for level in features[:-1]]
    masks, semantic = _masks(
        model.mask_decoder,
        tokens[rows].unflatten(1, coarse.shape[-2:]),
        fine,
        prompt[rows],
        attended[rows],
        queries[:, rows],
    )
    outputs = Outputs(
        boxes=boxes,
        scores=scores,
        presence=decoded.presence_logits.squeeze(-1),
        masks=masks,
        semantic=semantic,
        dense=torch.stack(dense),
        rows=rows,
    )
    return outputs, features[-1]


def _prompts(
    model: Sam3Model, batch: Batch, coarse: Tensor, place: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens (N, L + K + 1, hidden) of the phrases and exemplar boxes, and which of them count."""
    text = text_features(model, batch.input_ids, batch.attention_mask)
    geometry: Any = model.geometry_encoder(
        box_embeddings=batch.boxes,
        box_mask=batch.box_labels != MASKED_BOX_LABEL,
        box_labels=batch.box_labels.clamp(min=0),
        img_feats=(coarse,),
        img_pos_embeds=(place,),
    )
    prompt = torch.cat([text, geometry.last_hidden_state], dim=1)
    return prompt, torch.cat([batch.attention_mask.bool(), geometry.attention_mask], dim=1)


def _masks(
    decoder: Any,
    cells: Tensor,
    fine: list[Tensor],
    prompt: Tensor,
    attended: Tensor,
    queries: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mask logits (D, R, Q, h, w) and semantic logits (R, h, w) of R prompts.

    Only prompts with targets come here: the pixel decoder is half of a step's cost. cells: (R, g,
    g, C) of the encoder. fine: the 4x and 2x maps. queries: (D, R, Q, C).
    """
    tokens = cells.flatten(1, 2)
    attention, _ = decoder.prompt_cross_attn(
        query=decoder.prompt_cross_attn_norm(tokens),
        key=prompt,
        value=prompt,
        attention_mask=attended,
    )
    mixed = (tokens + attention).transpose(1, 2).unflatten(2, cells.shape[1:3])
    pixels = decoder.pixel_decoder([*fine, mixed])
    instance = decoder.instance_projection(pixels)
    embedded = decoder.mask_embedder(queries)
    masks = torch.einsum("drqc,rchw->drqhw", embedded, instance)
    return masks, decoder.semantic_projection(pixels)[:, 0]
