"""SAM 3 in process: concept prompts, exemplars and clicks on an image that is encoded once.

Works with transformers' `Sam3Model` and every checkpoint that it loads: the shipped `tiny` one,
`facebook/sam3`, SAM 3 LiteText, or a folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sam3_agent.fork_safety import fork_safe_lock
from sam3_agent.geometry import Size
from sam3_agent.images import Pixels
from sam3_agent.masks import Masks
from sam3_agent.model.checkpoints import (
    Checkpoint,
    load_checkpoint,
    read_config,
    read_vocabulary,
    weights_digest,
)
from sam3_agent.model.detection import (
    Candidates,
    Features,
    ImageCache,
    checked_concepts,
    detect,
    object_masks,
)
from sam3_agent.model.devices import best_device, inference, memory_error, precision
from sam3_agent.model.domain import FILE as DOMAIN_FILE
from sam3_agent.model.domain import Domain
from sam3_agent.model.feature_cache import FeatureCache
from sam3_agent.model.mask_decoding import FloatGrid, refuse_not_finite
from sam3_agent.model.point_segmenter import PointSegmenter
from sam3_agent.model.sam3_text import TextEncoder
from sam3_agent.rle import FloatArray
from sam3_agent.segmenter import (
    STANDARD,
    ConceptPrompt,
    Detection,
    ObjectPrompt,
    Prompt,
    Selection,
    checked_object,
)

IMAGE_BYTES = 2_000_000_000
"""Memory that the features of encoded images may take; one takes 0.13 GB at full size."""

MASKED_BOX_LABEL = -10
"""transformers' label of a padding box, which is attended to by nothing."""

EXEMPLARS_ONLY = "visual"
"""What Meta's model reads as text when there are exemplars and no phrase."""

BATCH = {"cuda": 8}
"""Prompts in one forward pass, else 1: on a CPU 8 in a batch take longer than one by one."""

RELEASED_WIDTH, RELEASED_EPSILON = 1024, 1e-5
"""The hidden size of the ViT in all released SAM 3 checkpoints, and the epsilon of its norms."""


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
        self.vocabulary = read_vocabulary(loaded.source)
        self.model = _as_trained(loaded.model).to(self.device).eval()
        self._parameters = sum(weight.numel() for weight in self.model.parameters())
        self._processor = loaded.processor
        self._batch = batch or BATCH.get(self.device.partition(":")[0], 1)
        self._text = TextEncoder(loaded, self.device)
        domain = Path(loaded.source) / DOMAIN_FILE
        self._domain = Domain.read(domain) if domain.is_file() else None
        self._images: ImageCache[Any] = ImageCache(image_bytes, _pyramid_bytes)
        self._folder = self._feature_cache(Path(cache_folder)) if cache_folder else None
        self._tracker: PointSegmenter | None = None
        self._lock = fork_safe_lock()

    @property
    def prompts(self) -> frozenset[str]:
        """What it takes besides phrases: "clicks" only when the checkpoint has a tracker."""
        clicks = "tracker_config" in read_config(self._checkpoint.source)
        return frozenset({"exemplars", "clicks"} if clicks else {"exemplars"})

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its masks; see `SegmenterDefaults`."""
        return {
            "weights": weights_digest(self.model),
            "device": self.device,
            "dtype": precision(self.device),
            "threshold": self.threshold,
        }

    def outside_domain(self, image: Pixels) -> str | None:
        """See `SegmenterDefaults`; None for a checkpoint without a file of its domain."""
        return self._domain.reason(image, Path(self.name).name) if self._domain else None

    def encode(self, image: Pixels) -> Features[Any]:
        """Run the image encoder, unless this image was encoded before; (H, W, 3) uint8 in."""
        with self._lock:
            return self._images.get(image, self._encode)

    def detect(
        self,
        features: Features[Any],
        prompts: Sequence[Prompt],
        selection: Selection = STANDARD,
    ) -> list[Detection]:
        """One Detection per prompt; a prompt that was asked before costs no forward pass."""
        checked = checked_concepts(prompts, features.size)
        for prompt in checked:
            self._text.tokens(prompt.phrase or EXEMPLARS_ONLY)
        with self._lock:
            return detect(features, checked, selection, self.threshold, self._find)

    def segment_at(self, features: Features[Any], prompt: ObjectPrompt) -> Masks:
        """The one object at a place: one mask, or none."""
        prompt = checked_object(prompt, features.size)
        with self._lock, inference(self.device, self._parameters):
            if self._tracker is None:
                self._tracker = PointSegmenter(self._checkpoint, self.device)
            hidden = features.encoded.last_hidden_state.float()
            logits, score = self._tracker.logits(hidden, features.size, prompt)
        return object_masks(logits, score, features.size)

    def _feature_cache(self, folder: Path) -> FeatureCache:
        preprocessing = repr(self._processor.image_processor)
        return FeatureCache(folder, self.model, preprocessing, precision(self.device))

    def _encode(self, image: Pixels, key: str) -> Any:
        """The feature pyramid of an image, from the folder of the cache or the model."""
        pyramid = self._folder.read(key, self.device) if self._folder else None
        if pyramid is None:
            pyramid = self._run_encoder(image)
            if self._folder:
                self._folder.write(key, pyramid)
        return pyramid

    def _run_encoder(self, image: Pixels) -> Any:
        import torch

        self.encoded += 1
        pixels = self._processor.image_processor(
            images=torch.from_numpy(np.array(image)).permute(2, 0, 1), return_tensors="pt"
        )["pixel_values"]
        try:
            with inference(self.device, self._parameters):
                pyramid = self.model.get_vision_features(pixel_values=pixels.to(self.device))
                refuse_not_finite("features", *_tensors(pyramid))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise memory_error(error, self.device) from error
        return pyramid

    def _find(
        self, features: Features[Any], prompts: list[ConceptPrompt]
    ) -> Iterator[tuple[ConceptPrompt, Candidates]]:
        """The candidates of each prompt, batch by batch."""
        while prompts:
            batch, prompts = prompts[: self._batch], prompts[self._batch :]
            yield from zip(batch, self._run(features, batch), strict=True)

    def _run(self, features: Features[Any], prompts: list[ConceptPrompt]) -> list[Candidates]:
        """`_forward`, in halves when the memory is too small for all."""
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

    def _forward(self, features: Features[Any], prompts: list[ConceptPrompt]) -> list[Candidates]:
        import torch

        count, (height, width) = len(prompts), features.size
        texts = [self._text.encode(prompt.phrase or EXEMPLARS_ONLY) for prompt in prompts]
        boxes, labels = _exemplars(prompts, features.size)
        output = self.model(
            vision_embeds=_repeated(features.encoded, count),
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
            _candidates(float(presence), scores, box * scale, logits)
            for presence, scores, box, logits in zip(*arrays, strict=True)
        ]


def _candidates(
    presence: float, scores: FloatArray, boxes: FloatArray, logits: FloatGrid
) -> Candidates:
    """The candidates of one prompt, with (Q, h, w) logits of their masks."""

    def mask_logits(chosen: Sequence[int]) -> Iterator[FloatGrid]:
        return (logits[i] for i in chosen)

    return Candidates(presence, scores, boxes, mask_logits, logits.nbytes)


def _exemplars(prompts: list[ConceptPrompt], size: Size) -> tuple[Any, Any]:
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


def _pyramid_bytes(pyramid: Any) -> float:
    return float(sum(tensor.numel() * tensor.element_size() for tensor in _tensors(pyramid)))


def _tensors(pyramid: Any) -> list[Any]:
    return [pyramid.last_hidden_state, *pyramid.fpn_hidden_states]
