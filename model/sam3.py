"""SAM 3 in process: concept prompts on an image that is encoded once.

Works with transformers' `Sam3Model` and every checkpoint that it loads: the shipped `tiny` one,
`facebook/sam3`, or a folder.
"""

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sam3_agent.errors import PhraseError, SegmenterError
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.mask_decoding import FloatGrid, decode_mask
from sam3_agent.rle import RLE, FloatArray
from sam3_agent.segmenter import Detection

logger = logging.getLogger(__name__)

TINY = Path(__file__).parent / "tiny"
"""The folder of the shipped checkpoint."""

_NO_NETWORK = {
    *("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "TimeoutException"),
}

MASKED_BOX_LABEL = -10
"""transformers' label of a padding box, which is attended to by nothing."""


@dataclass(frozen=True)
class Features:
    """An encoded image: SAM 3's feature pyramid, and the image's (height, width)."""

    pyramid: Any
    size: tuple[int, int]


class Sam3Segmenter:
    """The Segmenter of a SAM 3 checkpoint.

    name: `tiny`, a folder, or a model id of the Hugging Face hub.
    device: a torch device; by default CUDA or MPS where there is one, else the CPU.
    threshold: the least score (query score x presence score) of a mask that is kept.
    duplicate_iou: of two masks of one phrase that overlap more, only the better one is kept.

    Raises SegmenterError when the checkpoint cannot be loaded, with what to do.
    """

    def __init__(
        self,
        name: str = "tiny",
        *,
        device: str | None = None,
        threshold: float = 0.5,
        duplicate_iou: float = 0.5,
    ) -> None:
        model, processor = _load_checkpoint(name)
        self._set_up(name, model, processor, device, threshold, duplicate_iou)

    @classmethod
    def from_model(
        cls,
        name: str,
        model: Any,
        processor: Any,
        *,
        device: str | None = None,
        threshold: float = 0.5,
        duplicate_iou: float = 0.5,
    ) -> "Sam3Segmenter":
        """The Segmenter of a `Sam3Model` and a `Sam3Processor` that are in memory already."""
        segmenter = cls.__new__(cls)
        segmenter._set_up(name, model, processor, device, threshold, duplicate_iou)
        return segmenter

    def _set_up(
        self,
        name: str,
        model: Any,
        processor: Any,
        device: str | None,
        threshold: float,
        duplicate_iou: float,
    ) -> None:
        self.name = name
        self.threshold = threshold
        self.duplicate_iou = duplicate_iou
        self.device = device or _best_device()
        self._model = model.to(self.device).eval()
        self._processor = processor
        self._context = int(model.config.text_config.max_position_embeddings)
        self._text_features = lru_cache(maxsize=1024)(self._encode_phrase)
        self._lock = threading.Lock()

    def encode(self, image: Pixels) -> Features:
        """Run the image encoder once; (H, W, 3) uint8 in, Features out."""
        import torch

        pixels = self._processor.image_processor(
            images=torch.from_numpy(np.array(image)).permute(2, 0, 1), return_tensors="pt"
        )["pixel_values"]
        with torch.inference_mode(), self._lock:
            pyramid = self._model.get_vision_features(pixel_values=pixels.to(self.device))
        return Features(pyramid, (int(image.shape[0]), int(image.shape[1])))

    def detect(
        self, features: Features, phrases: Sequence[str], threshold: float | None = None
    ) -> list[Detection]:
        """One Detection per phrase; raises PhraseError before anything is run."""
        tokens = {phrase: self._tokens(phrase) for phrase in phrases}
        least = self.threshold if threshold is None else threshold
        return [self._detect_one(features, phrase, tokens[phrase], least) for phrase in phrases]

    def _detect_one(
        self, features: Features, phrase: str, tokens: tuple[int, ...], threshold: float
    ) -> Detection:
        import torch

        with torch.inference_mode(), self._lock:
            text, attention = self._text_features(tokens)
            # Meta's model always attends to the geometry encoder's CLS token, also without boxes;
            # transformers adds it only when it is given boxes, so it is given a masked one.
            output = self._model(
                vision_embeds=features.pyramid,
                text_embeds=text,
                attention_mask=attention,
                input_boxes=torch.full((1, 1, 4), 0.5, device=self.device),
                input_boxes_labels=torch.full(
                    (1, 1), MASKED_BOX_LABEL, dtype=torch.long, device=self.device
                ),
            )
            presence = float(output.presence_logits.sigmoid())
            scores = output.pred_logits[0].sigmoid() * presence
            order = scores.argsort(descending=True)
            kept = order[scores[order] >= threshold]
            masks = output.pred_masks[0, kept].sigmoid()
            columns = (scores[kept], output.pred_boxes[0, kept], masks)
            score, box, grid = (column.float().cpu().numpy() for column in columns)
        return Detection(phrase, presence, self._masks(phrase, features.size, score, box, grid))

    def _masks(
        self,
        phrase: str,
        size: tuple[int, int],
        scores: FloatArray,
        boxes: FloatArray,
        grid: FloatGrid,
    ) -> Masks:
        """Masks at image size, best first, without empty ones and duplicates."""
        height, width = size
        decoded: list[tuple[int, RLE]] = []
        for i, probabilities in enumerate(grid):
            rle = decode_mask(probabilities, size)
            if rle is not None:
                decoded.append((i, rle))
        chosen = [i for i, _ in decoded]
        masks = Masks(
            size,
            boxes[chosen] * np.array([width, height, width, height], np.float32),
            scores[chosen],
            (phrase,) * len(chosen),
            tuple(rle for _, rle in decoded),
        )
        return masks[_without_duplicates(masks, self.duplicate_iou)]

    def _tokens(self, phrase: str) -> tuple[int, ...]:
        if not phrase.strip():
            raise PhraseError("a concept phrase is empty; give a noun phrase such as 'red car'")
        tokens: list[int] = self._processor.tokenizer(phrase)["input_ids"]
        if len(tokens) > self._context:
            shown = phrase if len(phrase) <= 60 else phrase[:59] + "…"
            raise PhraseError(
                f"the concept phrase {shown!r} has {len(tokens)} tokens, SAM 3 reads at most "
                f"{self._context}; use a short noun phrase such as 'red car'"
            )
        return tuple(tokens)

    def _encode_phrase(self, tokens: tuple[int, ...]) -> tuple[Any, Any]:
        import torch

        padding = self._context - len(tokens)
        pad = self._processor.tokenizer.pad_token_id
        ids = torch.tensor([[*tokens, *[pad] * padding]], device=self.device)
        attention = torch.tensor([[1] * len(tokens) + [0] * padding], device=self.device)
        text = self._model.get_text_features(
            input_ids=ids, attention_mask=attention, return_dict=True
        )
        return text, attention


def _without_duplicates(masks: Masks, iou: float) -> list[int]:
    """The indexes that stay when each mask removes worse ones that overlap it more than `iou`."""
    overlap = masks.overlap(masks)
    kept: list[int] = []
    for i in range(len(masks)):
        if not kept or overlap[i, kept].max() <= iou:
            kept.append(i)
    return kept


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _load_checkpoint(name: str) -> tuple[Any, Any]:
    """The Sam3Model and Sam3Processor of a checkpoint, float32, on the CPU."""
    try:
        import torch
        import torchvision  # noqa: F401  # transformers' SAM 3 needs its roi_align
        from transformers import Sam3Model, Sam3Processor
        from transformers.utils import logging as chatter
    except ImportError as error:
        raise SegmenterError(
            f"SAM 3 needs torch, torchvision and transformers >= 5.10.4: {error}"
        ) from error
    place = str(TINY) if name == "tiny" else name
    if Path(place).exists():
        _check_folder(Path(place))
    showed_bars = chatter.is_progress_bar_enabled()
    chatter.disable_progress_bar()
    try:
        model = Sam3Model.from_pretrained(place, dtype=torch.float32)
        processor = Sam3Processor.from_pretrained(place)
    except Exception as error:  # what the hub, transformers and safetensors raise is open-ended
        raise SegmenterError(_advice(name, error)) from error
    finally:
        if showed_bars:
            chatter.enable_progress_bar()
    logger.info("loaded SAM 3 checkpoint %s", place)
    return model, processor


def _check_folder(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SegmenterError(
            f"{folder} is no SAM 3 checkpoint: it has no readable config.json with a model_type; "
            "pass `tiny`, a hub id such as facebook/sam3, or a folder saved by transformers"
        ) from error
    if not kind.startswith("sam3"):
        raise SegmenterError(f"{folder} holds a {kind!r} model, not a SAM 3 checkpoint")


def _advice(name: str, error: Exception) -> str:
    """What to do about a checkpoint that did not load, by the kind of the failure."""
    kinds = set()
    cause: BaseException | None = error
    while cause is not None:
        kinds |= {kind.__name__ for kind in type(cause).__mro__}
        cause = cause.__cause__ or cause.__context__
    if "GatedRepoError" in kinds:
        return (
            f"{name} is gated: accept its licence at https://huggingface.co/{name}, then log in "
            "with `hf auth login` or set HF_TOKEN. Without it, use the shipped segmenter `tiny`"
        )
    if kinds & {"RepositoryNotFoundError", "HFValidationError"}:
        return (
            f"there is no segmenter {name!r}: it is neither a folder nor a model on the "
            "Hugging Face hub that this token may read; use `tiny`, facebook/sam3 or a "
            "checkpoint folder"
        )
    if kinds & _NO_NETWORK:
        return (
            f"cannot download {name}: the Hugging Face hub does not answer and the checkpoint is "
            "not in the local cache. Check the network, or copy the checkpoint here and pass its "
            "folder; the shipped segmenter `tiny` needs no network"
        )
    return f"cannot load the SAM 3 checkpoint {name!r}: {type(error).__name__}: {error}"
