"""SAM 3's text encoder: concept phrases to cached features."""

from typing import Any

from sam3_agent.errors import PromptError
from sam3_agent.model.checkpoints import Checkpoint
from sam3_agent.model.lru import WeighedLRU
from sam3_agent.sanitize import shorten

CACHED_PHRASES = 1024


class TextEncoder:
    """The text encoder of a checkpoint, on a device; a phrase is encoded once."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        self._model = checkpoint.model
        self._tokenizer = checkpoint.processor.tokenizer
        self._device = device
        self._length = _context_length(checkpoint)
        self._cache: WeighedLRU[tuple[Any, Any]] = WeighedLRU(CACHED_PHRASES)

    def tokens(self, phrase: str) -> list[int]:
        """The token ids of a phrase; raises PromptError when there are too many."""
        tokens: list[int] = self._tokenizer(phrase)["input_ids"]
        if len(tokens) > self._length:
            raise PromptError(
                f"the concept phrase {shorten(phrase, 60)!r} has {len(tokens)} tokens, SAM 3 reads "
                f"at most {self._length}; use a short noun phrase such as 'red car'"
            )
        return tokens

    def encode(self, phrase: str) -> tuple[Any, Any]:
        """(1, L, C) text features and (1, L) attention mask of a phrase."""
        import torch

        cached = self._cache.get(phrase)
        if cached is not None:
            return cached
        tokens = self.tokens(phrase)
        padding = self._length - len(tokens)
        ids = tokens + [self._tokenizer.pad_token_id] * padding
        attention = torch.tensor([[1] * len(tokens) + [0] * padding], device=self._device)
        output = self._model.get_text_features(
            input_ids=torch.tensor([ids], device=self._device),
            attention_mask=attention,
            return_dict=True,
        )
        text = (output.pooler_output, attention)
        self._cache.put(phrase, text)
        return text


def _context_length(checkpoint: Checkpoint) -> int:
    """Tokens that the text encoder was trained on: 32, or 16 in LiteText.

    Padding to another length would stretch LiteText's position embeddings.
    """
    positions = checkpoint.model.config.text_config.max_position_embeddings
    return int(min(positions, checkpoint.processor.tokenizer.model_max_length))
