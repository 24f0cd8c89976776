"""SAM 3 in process: concept prompts, exemplars and clicks on an image that is encoded once.

Works with transformers' `Sam3Model` and every checkpoint that it loads: the shipped `tiny` one,
`facebook/sam3`, SAM 3 LiteText, or a folder.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sam3_agent.errors import PromptError
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.checkpoints import (
    Checkpoint,
    load_checkpoint,
    read_config,
    read_vocabulary,
    weights_digest,
)
from sam3_agent.model.devices import best_device, inference, memory_error, precision
from sam3_agent.model.domain import FILE as DOMAIN_FILE
from sam3_agent.model.domain import Domain
from sam3_agent.model.feature_cache import FeatureCache
from sam3_agent.model.lru import WeighedLRU
from sam3_agent.model.mask_decoding import FloatGrid, decode_mask
from sam3_agent.model.point_segmenter import PointSegmenter
from sam3_agent.rle import RLE, FloatArray, tight_boxes
from sam3_agent.sanitize import shorten
from sam3_agent.segmenter import (
    STANDARD,
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    Prompt,
    Selection,
    checked_concept,
    checked_object,
)

IMAGE_BYTES = 2_000_000_000
"""Memory that the features of encoded images may take; one takes 0.13 GB at full size."""

CANDIDATE_BYTES = 500_000_000
"""Memory that the candidates of one image's prompts may take; 0.07 GB each at full size."""

MAX_PROMPTS = 1000
"""More prompts than this in one call are refused."""

MASKED_BOX_LABEL = -10
"""transformers' label of a padding box, which is attended to by nothing."""

EXEMPLARS_ONLY = "visual"
"""What Meta's model reads as text when there are exemplars and no phrase."""

BATCH = {"cuda": 8}
"""Prompts in one forward pass, else 1: on a CPU 8 in a batch take longer than one by one."""

OUTSIDE_DOMAIN = (
    "This looks like a photo, and the segmenter {name} was trained on drawn icons only: it would "
    "find things that are not there. Choose another one, the shortest way first:\n"
    "1. Open weights, no licence and no key: --segmenter open:tiny (Grounding DINO + SAM 2, a "
    "download of 0.9 GB, once; no further package).\n"
    "2. SAM 3: accept its licence at https://huggingface.co/facebook/sam3, run `hf auth login`, "
    "then --segmenter facebook/sam3 (a download of 3.5 GB; a GPU is wise).\n"
    "3. For questions beyond simple ones also a multimodal LLM: --planner openai:MODEL or "
    "gemini:MODEL.\n"
    "`sam3-agent setup` asks for these and keeps the choice; in Python: "
    'Agent(segmenter="open:tiny"). If it is no photo, ask with --any-image, in Python '
    "Agent(check_domain=False)."
)
"""What a user is told of an image that the checkpoint cannot judge."""

RELEASED_WIDTH, RELEASED_EPSILON = 1024, 1e-5
"""The hidden size of the ViT in all released SAM 3 checkpoints, and the epsilon of its norms."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """All Q candidates that the model has for one prompt, before any of them is chosen.

    scores: (Q,) query scores in 0..1, without the presence score. boxes: (Q, 4) x0 y0 x1 y1 in
    pixels. logits: (Q, h, w) of the masks. decoded: the masks at image size that were made so far.
    """

    presence: float
    scores: FloatArray
    boxes: FloatArray
    logits: FloatGrid
    decoded: dict[int, RLE | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Features:
    """An encoded image: SAM 3's feature pyramid, and the candidates found with it so far.

    size: (height, width) of the image.
    """

    pyramid: Any
    size: tuple[int, int]
    candidates: WeighedLRU[Candidates]


class Sam3Segmenter:
    """The Segmenter of a SAM 3 checkpoint.

    checkpoint: `tiny`, a folder, a model id of the Hugging Face hub, or a loaded Checkpoint.
    device: a torch device; by default CUDA (in bfloat16) or MPS where there is one, else the CPU.
    threshold: the least score (query score x presence score) of a mask that is kept.
    image_bytes: memory for the features of encoded images; an image is not encoded twice.
    cache_folder: keeps features on disk too.
    batch: prompts in one forward pass.

    vocabulary: the nouns of a checkpoint that knows no others, each with its attributes, as its
        folder's vocabulary.json says; None for one with an open vocabulary.
    model: the transformers model. encoded: how often the image encoder has run.

    Safe from several threads. Raises SegmenterError when the checkpoint cannot be loaded.
    """

    def __init__(
        self,
        checkpoint: str | Checkpoint = "tiny",
        *,
        device: str | None = None,
        threshold: float = 0.5,
        image_bytes: float = IMAGE_BYTES,
        cache_folder: str | Path | None = None,
        batch: int | None = None,
    ) -> None:
        loaded = load_checkpoint(checkpoint) if isinstance(checkpoint, str) else checkpoint
        self.name = loaded.name
        self.device = device or best_device()
        self.threshold = threshold
        self.encoded = 0
        self._checkpoint = loaded
        self.vocabulary = read_vocabulary(loaded.place)
        self.model = _as_trained(loaded.model).to(self.device).eval()
        self._parameters = sum(weight.numel() for weight in self.model.parameters())
        self._processor = loaded.processor
        self._batch = batch or BATCH.get(self.device.partition(":")[0], 1)
        self._context = _context(loaded)
        domain = Path(loaded.place) / DOMAIN_FILE
        self._domain = Domain.read(domain) if domain.is_file() else None
        self._texts: WeighedLRU[tuple[Any, Any]] = WeighedLRU(1024)
        self._images: WeighedLRU[Features] = WeighedLRU(image_bytes, _feature_bytes)
        self._folder = FeatureCache(Path(cache_folder), self.model) if cache_folder else None
        self._tracker: PointSegmenter | None = None
        self._lock = threading.RLock()

    @property
    def prompts(self) -> frozenset[str]:
        """What it takes besides phrases: "clicks" only when the checkpoint has a tracker."""
        clicks = "tracker_config" in read_config(self._checkpoint.place)
        return frozenset({"exemplars", "clicks"} if clicks else {"exemplars"})

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its masks; see `segmenter.settings_of`."""
        return {
            "weights": weights_digest(self.model),
            "device": self.device,
            "dtype": precision(self.device),
            "threshold": self.threshold,
        }

    def outside_domain(self, image: Pixels) -> str | None:
        """See `Segmenter.outside_domain`; None for a checkpoint without a file of its domain."""
        if self._domain is None or self._domain.photo_score(image) <= 0:
            return None
        return OUTSIDE_DOMAIN.format(name=Path(self.name).name)

    def encode(self, image: Pixels) -> Features:
        """Run the image encoder, unless this image was encoded before; (H, W, 3) uint8 in."""
        size = (int(image.shape[0]), int(image.shape[1]))
        content = np.ascontiguousarray(image)
        key = hashlib.sha256(repr(size).encode() + content.tobytes()).hexdigest()
        with self._lock:
            features = self._images.get(key)
            if features is None:
                pyramid = self._folder.read(key, self.device) if self._folder else None
                if pyramid is None:
                    pyramid = self._encode(content)
                    if self._folder:
                        self._folder.write(key, pyramid)
                features = Features(pyramid, size, WeighedLRU(CANDIDATE_BYTES, _candidate_bytes))
                self._images.put(key, features)
            return features

    def detect(
        self,
        features: Features,
        prompts: Sequence[Prompt],
        selection: Selection = STANDARD,
    ) -> list[Detection]:
        """One Detection per prompt; a prompt that was asked before costs no forward pass."""
        if len(prompts) > MAX_PROMPTS:
            raise PromptError(f"{len(prompts)} prompts in one call, the limit is {MAX_PROMPTS}")
        checked = [checked_concept(prompt, features.size) for prompt in prompts]
        for prompt in checked:
            self._tokens(prompt.phrase or EXEMPLARS_ONLY)
        found: dict[ConceptPrompt, Detection] = {}
        with self._lock:
            for prompt, candidates in self._candidates(features, list(dict.fromkeys(checked))):
                found[prompt] = self._selected(prompt, candidates, features.size, selection)
        return [found[prompt] for prompt in checked]

    def segment_at(self, features: Features, prompt: ObjectPrompt) -> Masks:
        """The one object at a place: one mask, or none."""

        prompt = checked_object(prompt, features.size)
        with self._lock, inference(self.device, self._parameters):
            if self._tracker is None:
                self._tracker = PointSegmenter(self._checkpoint, self.device)
            hidden = features.pyramid.last_hidden_state.float()
            logits, score = self._tracker.masks(hidden, features.size, prompt)
        rle = decode_mask(logits, features.size)
        if rle is None:
            return Masks.empty(features.size)
        scores = np.array([score], np.float32)
        return Masks(features.size, tight_boxes([rle]), scores, ("this object",), (rle,))

    def _encode(self, image: Pixels) -> Any:
        import torch

        self.encoded += 1
        pixels = self._processor.image_processor(
            images=torch.from_numpy(np.array(image)).permute(2, 0, 1), return_tensors="pt"
        )["pixel_values"]
        try:
            with inference(self.device, self._parameters):
                return self.model.get_vision_features(pixel_values=pixels.to(self.device))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise memory_error(error, self.device) from error

    def _candidates(
        self, features: Features, prompts: list[ConceptPrompt]
    ) -> Iterator[tuple[ConceptPrompt, Candidates]]:
        """The candidates of each prompt: those at hand first, then the others batch by batch."""
        missing = []
        for prompt in prompts:
            known = features.candidates.get(prompt)
            if known is None:
                missing.append(prompt)
            else:
                yield prompt, known
        while missing:
            batch, missing = missing[: self._batch], missing[self._batch :]
            for prompt, candidates in zip(batch, self._run(features, batch), strict=True):
                features.candidates.put(prompt, candidates)
                yield prompt, candidates

    def _run(self, features: Features, prompts: list[ConceptPrompt]) -> list[Candidates]:
        """`_forward`, in halves when the memory does not do for all."""
        import torch

        try:
            with inference(self.device, self._parameters):
                return self._forward(features, prompts)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            failure = memory_error(error, self.device)
            if len(prompts) == 1:
                raise failure from error
        half = len(prompts) // 2
        self._batch = half
        return self._run(features, prompts[:half]) + self._run(features, prompts[half:])

    def _forward(self, features: Features, prompts: list[ConceptPrompt]) -> list[Candidates]:
        import torch

        count, (height, width) = len(prompts), features.size
        texts = [self._text(prompt.phrase or EXEMPLARS_ONLY) for prompt in prompts]
        boxes, labels = _exemplars(prompts, features.size)
        output = self.model(
            vision_embeds=_repeated(features.pyramid, count),
            text_embeds=SimpleNamespace(pooler_output=torch.cat([text for text, _ in texts])),
            attention_mask=torch.cat([attention for _, attention in texts]),
            input_boxes=boxes.to(self.device),
            input_boxes_labels=labels.to(self.device),
        )
        scale = np.array([width, height, width, height], np.float32)
        columns = (
            output.presence_logits.flatten().sigmoid(),
            output.pred_logits.sigmoid(),
            output.pred_boxes,
            output.pred_masks,
        )
        arrays = [column.float().cpu().numpy() for column in columns]
        return [
            Candidates(float(presence), scores, box * scale, logits)
            for presence, scores, box, logits in zip(*arrays, strict=True)
        ]

    def _selected(
        self,
        prompt: ConceptPrompt,
        candidates: Candidates,
        size: tuple[int, int],
        selection: Selection,
    ) -> Detection:
        """What the selection leaves of the candidates, as masks at image size, best first."""
        least = self.threshold if selection.threshold is None else selection.threshold
        scores = candidates.scores * (candidates.presence if selection.presence else 1.0)
        order = np.argsort(-scores, kind="stable")
        chosen, rles = [], []
        for i in order[scores[order] >= least]:
            if i not in candidates.decoded:
                candidates.decoded[i] = decode_mask(candidates.logits[i], size)
            rle = candidates.decoded[i]
            if rle is not None:
                chosen.append(int(i))
                rles.append(rle)
        masks = Masks(
            size, candidates.boxes[chosen], scores[chosen], (prompt.label,) * len(rles), tuple(rles)
        )
        kept = masks.nms(selection.measure, selection.limit)
        return Detection(prompt, candidates.presence, kept)

    def _tokens(self, phrase: str) -> list[int]:
        tokens: list[int] = self._processor.tokenizer(phrase)["input_ids"]
        if len(tokens) > self._context:
            raise PromptError(
                f"the concept phrase {shorten(phrase, 60)!r} has {len(tokens)} tokens, SAM 3 reads "
                f"at most {self._context}; use a short noun phrase such as 'red car'"
            )
        return tokens

    def _text(self, phrase: str) -> tuple[Any, Any]:
        """(1, L, C) text features and (1, L) attention mask of a phrase."""
        import torch

        known = self._texts.get(phrase)
        if known is not None:
            return known
        tokens = self._tokens(phrase)
        padding = self._context - len(tokens)
        ids = tokens + [self._processor.tokenizer.pad_token_id] * padding
        attention = torch.tensor([[1] * len(tokens) + [0] * padding], device=self.device)
        output = self.model.get_text_features(
            input_ids=torch.tensor([ids], device=self.device),
            attention_mask=attention,
            return_dict=True,
        )
        text = (output.pooler_output, attention)
        self._texts.put(phrase, text)
        return text


def _context(checkpoint: Checkpoint) -> int:
    """Tokens that the text encoder was trained on: 32, or 16 in LiteText.

    Padding to another length would stretch LiteText's position embeddings.
    """
    positions = checkpoint.model.config.text_config.max_position_embeddings
    return int(min(positions, checkpoint.processor.tokenizer.model_max_length))


def _exemplars(prompts: list[ConceptPrompt], size: tuple[int, int]) -> tuple[Any, Any]:
    """Boxes (N, K, 4), cx cy w h in 0..1, and labels (N, K): 1, 0, or the one of padding.

    Meta's model always attends to the geometry encoder's CLS token, also without exemplars;
    transformers adds it only when there are boxes, so each prompt has at least a masked one.
    """
    import torch

    most = max(1, *(len(prompt.positive) + len(prompt.negative) for prompt in prompts))
    boxes = torch.full((len(prompts), most, 4), 0.5)
    labels = torch.full((len(prompts), most), MASKED_BOX_LABEL, dtype=torch.long)
    height, width = size
    for row, prompt in enumerate(prompts):
        given = [*prompt.positive, *prompt.negative]
        for i, (x0, y0, x1, y1) in enumerate(given):
            centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
            boxes[row, i] = torch.tensor([*centre, (x1 - x0) / width, (y1 - y0) / height])
            labels[row, i] = int(i < len(prompt.positive))
    return boxes, labels


def _repeated(pyramid: Any, count: int) -> Any:
    """The features of one image as a batch of `count`, without copying them."""
    if count == 1:
        return pyramid
    from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

    def views(tensors: Any) -> Any:
        return tuple(tensor.expand(count, *tensor.shape[1:]) for tensor in tensors)

    return Sam3VisionEncoderOutput(
        last_hidden_state=pyramid.last_hidden_state.expand(count, -1, -1),
        fpn_hidden_states=views(pyramid.fpn_hidden_states),
        fpn_position_encoding=views(pyramid.fpn_position_encoding),
    )


def _as_trained(model: Any) -> Any:
    """The released model with the epsilon of its ViT's norms that Meta trained it with.

    It is 1e-5 there (sam3 0.1.4, vitdet.py), and 1e-6 in transformers 5.23's default: at full size
    that moves mask logits by up to 1e-4 of their largest value.
    """
    from torch import nn

    if model.config.vision_config.backbone_config.hidden_size == RELEASED_WIDTH:
        for module in model.vision_encoder.backbone.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = RELEASED_EPSILON
    return model


def _feature_bytes(features: Features) -> float:
    pyramid = features.pyramid
    tensors = [pyramid.last_hidden_state, *pyramid.fpn_hidden_states]
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _candidate_bytes(candidates: Candidates) -> float:
    return float(candidates.logits.nbytes)
