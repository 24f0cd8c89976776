"""A head for training only, which aligns the features of images and of words."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTokenizer, Sam3Model

from sam3_agent.model.training.batch import Batch
from sam3_agent.model.vocabulary import CATEGORIES, COLORABLE, COLORS, NOUNS

_PAIRS = [(color, noun) for noun in COLORABLE for color in COLORS]


def text_features(model: Sam3Model, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The features of N phrases, (N, L, hidden), from (N, L) tokens and their mask."""
    encode: Any = model.get_text_features  # transformers declares other types than it takes
    features: Tensor = encode(input_ids, attention_mask).pooler_output
    return features


class AlignmentHead(nn.Module):
    """Scores every cell of the 1x feature map against every word of the vocabulary."""

    input_ids: Tensor
    attention_mask: Tensor
    pair_noun: Tensor
    pair_color: Tensor
    belongs: Tensor

    def __init__(self, tokenizer: CLIPTokenizer, hidden: int, encoder_layers: int) -> None:
        super().__init__()
        phrases = [*NOUNS, *COLORS, *CATEGORIES, *(" ".join(pair) for pair in _PAIRS)]
        text = tokenizer(phrases, padding=True, return_tensors="pt")
        self.register_buffer("input_ids", text.input_ids, persistent=False)
        self.register_buffer("attention_mask", text.attention_mask, persistent=False)
        pair_noun = torch.tensor([NOUNS.index(noun) for _, noun in _PAIRS])
        pair_color = torch.tensor([COLORS.index(color) for color, _ in _PAIRS])
        self.register_buffer("pair_noun", pair_noun, persistent=False)
        self.register_buffer("pair_color", pair_color, persistent=False)
        belongs = torch.zeros(len(NOUNS) + 1, len(CATEGORIES))
        for column, members in enumerate(CATEGORIES.values()):
            for noun in members:
                belongs[NOUNS.index(noun), column] = 1
        self.register_buffer("belongs", belongs, persistent=False)
        self.scale = nn.Parameter(torch.tensor(hidden**-0.5))
        self.ground = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.tensor(-2.0))
        self.dense = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(encoder_layers))

    def forward(self, model: Sam3Model, features: Tensor, batch: Batch) -> Tensor:
        """Mean loss of nouns, colours, coloured nouns and categories over the cells.

        `features` is the 1x FPN map, (B, hidden, S / 8, S / 8).
        """
        words = text_features(model, self.input_ids, self.attention_mask)
        weight = self.attention_mask[..., None].to(words.dtype)
        words = (words * weight).sum(1) / weight.sum(1)
        # what all phrases have in common is several times larger than what distinguishes them
        words = words - words.mean(0)
        cells = features.flatten(2).transpose(1, 2).flatten(0, 1)
        logits = cells @ words.T * self.scale
        sizes = [len(NOUNS), len(COLORS), len(CATEGORIES), len(_PAIRS)]
        nouns, colors, categories, pairs = logits.split(sizes, dim=1)
        noun, color = batch.cell_noun.flatten(), batch.cell_color.flatten()
        nouns = torch.cat([nouns, self.ground.expand(len(nouns), 1)], dim=1)
        emphasis = torch.ones(len(NOUNS) + 1)
        emphasis[-1] = 0.3  # most cells are ground
        loss = F.cross_entropy(nouns, noun, weight=emphasis, ignore_index=-1)
        known = noun >= 0
        truth = self.belongs[noun[known]]
        loss = loss + F.binary_cross_entropy_with_logits(categories[known] + self.bias, truth)
        colored = color >= 0
        if colored.any():
            loss = loss + 0.5 * F.cross_entropy(colors[colored], color[colored])
            same = (noun[colored, None] == self.pair_noun) & (
                color[colored, None] == self.pair_color
            )
            pair_loss = F.binary_cross_entropy_with_logits(
                pairs[colored] + self.bias, same.float(), reduction="none"
            )
            loss = loss + 0.2 * pair_loss.sum(1).mean()
        return loss
