"""The tiny SAM 3: configuration, tokenizer, processor, initial weights, and saving.

It is transformers' `Sam3Model` with small sizes, so everything that runs the real SAM 3 runs it
too. The sizes and the initialisation come from experiments (evals/LOG.md).
"""

import json
import logging
import math
import os
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    Sam3VisionConfig,
    Sam3ViTConfig,
)

from sam3_agent.model.offline.inflection import plural
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

logger = logging.getLogger(__name__)

CONTEXT = 32
"""Tokens that the text encoder reads, as in SAM 3."""

REFERRING_WORDS = """
a an the all every each any some no not one two three four five six seven eight nine ten first
second third fourth fifth last left right top bottom middle center leftmost rightmost topmost
bottommost upper lower highest lowest nearest closest farthest largest biggest smallest big small
large little of to in on at by from with without and or but except is are there here how many
count which what where that this these those next beside near above below under over behind
between front side corner person people man woman object thing picture image visual black white
brown pink gray color
""".split()


def tiny_config(
    vocab_size: int, image_size: int = 96, width: int = 128, depth: int = 6
) -> Sam3Config:
    """A `Sam3Config` of about 2.5 M parameters at the default sizes.

    Patches are 8 pixels and every layer attends globally; masks come at half the image size.
    """
    hidden = width // 2
    grid = image_size // 8
    vit = Sam3ViTConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=width // 32,
        image_size=image_size,
        pretrain_image_size=image_size,  # position embeddings tile, they do not interpolate
        patch_size=8,
        window_size=grid,  # global layers scale RoPE by window / grid
        global_attn_indexes=list(range(depth)),
        rope_parameters={"rope_type": "axial", "rope_theta": 100.0},
    )
    vision = Sam3VisionConfig(
        backbone_config=vit,
        fpn_hidden_size=hidden,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        backbone_feature_sizes=[[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
    )
    attention = {"hidden_size": hidden, "num_attention_heads": 4}
    block = {**attention, "intermediate_size": 4 * hidden, "dropout": 0.0}
    return Sam3Config(
        vision_config=vision,
        text_config=_text_config(vocab_size, width),
        geometry_encoder_config={**block, "num_layers": 2, "roi_size": 4},
        detr_encoder_config={**block, "num_layers": 2},
        detr_decoder_config={**block, "num_layers": 3, "num_queries": 16},
        mask_decoder_config={**attention, "num_upsampling_stages": 2},
    )


def _text_config(vocab_size: int, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=width // 32,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
    )


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer whose merges cover the vocabulary and common referring words.

    Every byte is a token, alone and at a word's end, so that any text can be written.
    """
    words: Counter[str] = Counter(dict.fromkeys(REFERRING_WORDS, 1))
    for noun in (*NOUNS, *CATEGORIES):
        words.update({noun: 8, plural(noun): 4})
    words.update(dict.fromkeys(COLORS, 8))
    merges = _merges(words)
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += [first + second for first, second in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)},
        merges=merges,  # type: ignore[arg-type]  # pairs are what the tokenizer wants
        model_max_length=CONTEXT,
    )


def _merges(words: Counter[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that make each of `words` (with its weight) one token, best pair first."""
    pieces = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for parts in pieces.values():
            at = 0
            while at < len(parts) - 1:
                if (parts[at], parts[at + 1]) == best:
                    parts[at : at + 2] = ["".join(best)]
                at += 1


def build_processor(image_size: int = 96) -> Sam3Processor:
    """SAM 3's processor at the tiny size: squash to a square, bilinear, mean = std = 0.5."""
    size = {"height": image_size, "width": image_size}
    mask_size = {"height": image_size // 2, "width": image_size // 2}
    images = Sam3ImageProcessor(size=size, mask_size=mask_size)
    return Sam3Processor(images, build_tokenizer(), target_size=image_size)


def build_model(config: Sam3Config, seed: int = 0) -> Sam3Model:
    """A model with new weights that trains well at this width (transformers' own do not)."""
    torch.manual_seed(seed)
    model = Sam3Model(config)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        elif isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
    with torch.no_grad():
        model.vision_encoder.backbone.embeddings.position_embeddings.normal_(std=0.5)
        _set_priors(model)
    return model


def _set_priors(model: Sam3Model) -> None:
    """Start from a grid of boxes, attention inside them, and few, small objects."""
    decoder: Any = model.detr_decoder
    side = math.ceil(math.sqrt(decoder.config.num_queries))
    centers = (torch.arange(side) + 0.5) / side
    grid = torch.cartesian_prod(centers, centers)[: decoder.config.num_queries]
    boxes = torch.cat([grid.flip(-1), torch.full_like(grid, 0.3)], dim=-1)
    decoder.reference_points.weight.copy_(boxes.logit())
    nn.init.zeros_(decoder.box_head.layer3.weight)
    for embed in (decoder.box_rpb_embed_x, decoder.box_rpb_embed_y):
        # units 0 and 1 measure how far a position is outside either edge; heads differ in how
        # strict they are
        nn.init.normal_(embed.layer2.weight, std=0.02)
        embed.layer1.weight[:2] = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
        strictness = torch.tensor([10.0, 6.0, 3.0, 1.0])
        embed.layer2.weight[:, :2] = -strictness[:, None]
    scoring: Any = model.dot_product_scoring
    masks: Any = model.mask_decoder
    for first, second, logit in (
        (scoring.query_proj, scoring.text_proj, -2.0 / scoring.scale),
        (masks.mask_embedder.layers[-1], masks.instance_projection, -2.0),
    ):
        # Opposite constant biases multiply to the wanted logit.
        size = math.sqrt(-logit / len(first.bias))
        first.bias.fill_(-size)
        second.bias.fill_(size)
    masks.semantic_projection.bias.fill_(-2.0)


def export_checkpoint(model: Sam3Model, folder: Path) -> None:
    """Write a folder that `Sam3Model.from_pretrained` and `Sam3Processor.from_pretrained` load.

    Weights are stored as float16 and load as float32. Files are replaced one by one, each
    atomically; others in the folder (a model card) stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        staged = Path(name)
        config: Any = model.config
        build_processor(config.vision_config.backbone_config.image_size).save_pretrained(staged)
        config.save_pretrained(staged)
        settings = json.loads((staged / "config.json").read_text())
        settings["architectures"] = ["Sam3Model"]
        settings["dtype"] = "float32"  # float16 is for storage only: it is slow on a CPU
        (staged / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        weights = {key: value.to(torch.float16) for key, value in model.state_dict().items()}
        save_file(weights, staged / "model.safetensors", metadata={"format": "pt"})
        known = {noun: COLORS if noun in COLORABLE else () for noun in (*NOUNS, *CATEGORIES)}
        (staged / "vocabulary.json").write_text(json.dumps(known, indent=1) + "\n")
        for file in sorted(staged.iterdir()):
            file.chmod(0o644)
            os.replace(file, folder / file.name)
    logger.info("exported to %s", folder)
