"""Meta's own SAM 3 package on a CPU, the reference of the bench.

It is imported where it is installed (`pip install sam3==0.1.4 --no-deps`, with timm,
einops, ftfy, iopath, psutil, opencv-python-headless and matplotlib, which its helpers import), and
never copied.
"""

import contextlib
import gzip
import importlib.util
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_agent.evals.bench.meta_weights import meta_sizes, meta_weight
from sam3_agent.geometry import Size
from sam3_agent.images import Pixels


class MetaSam3:
    """Meta's image model with random weights; ImportError where it is not installed.

    config: a transformers `Sam3Config` with other sizes than the released ones.
    """

    def __init__(self, config: Any = None) -> None:
        import torch

        builder = _module("model_builder")
        processing = _module("model.sam3_image_processor")
        torch.manual_seed(0)
        sizes = meta_sizes(config) if config is not None else {}
        with tempfile.TemporaryDirectory() as folder, _on_cpu(), _built_with(builder, sizes):
            # the wheel lacks its vocabulary; without merges every letter is a token, which is
            # enough for short phrases
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
        """Copies the weights of a transformers `Sam3Model` (its state dict)."""
        import torch

        own = self.model.state_dict()
        with torch.no_grad():
            for name, value in own.items():
                # rotary tables are computed; prompts of points have no counterpart in transformers
                if not name.endswith("freqs_cis") and ".points_" not in name:
                    value.copy_(meta_weight(name, value.shape, weights))

    def tokens(self, phrase: str) -> list[int]:
        """Returns the token ids of a phrase, with those of begin and end."""
        tokenizer = self.model.backbone.language_backbone.tokenizer
        ids: list[int] = [int(i) for i in tokenizer([phrase], context_length=32)[0] if i]
        return ids

    def raw(
        self, state: Any, phrase: str, boxes: Sequence[Sequence[float]], labels: Sequence[bool]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Returns all candidates for a phrase and exemplars (cx cy w h in 0..1), unfiltered.

        presence (), scores (Q,) without presence, boxes (Q, 4) cx cy w h in 0..1, logits (Q, h, w).
        """
        import torch

        self._processor.reset_all_prompts(state)
        with torch.inference_mode(), _on_cpu():
            state["backbone_out"].update(self.model.backbone.forward_text([phrase], device="cpu"))
            # the original encodes a prompt without boxes, too, and that changes the scores
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
        """Encodes an image."""
        from PIL import Image

        return self._processor.set_image(Image.fromarray(np.asarray(image)))

    def detect(self, state: Any, phrase: str, threshold: float) -> Any:
        """Returns the state with boxes, scores and dense masks of a phrase."""
        # the package filters at this threshold before it enlarges masks, as our decoding does
        self._processor.confidence_threshold = threshold
        self._processor.reset_all_prompts(state)
        with _on_cpu():
            return self._processor.set_text_prompt(phrase, state)


def enlarge_and_encode(logits: npt.NDArray[np.float32], size: Size) -> list[bytes]:
    """Turns (N, h, w) logits into N RLE counts at (H, W)."""
    import torch

    interpolate = _module("model.data_misc").interpolate
    rle_encode = _module("train.masks_ops").rle_encode
    with torch.inference_mode():
        enlarged = interpolate(
            torch.from_numpy(logits)[:, None], size, mode="bilinear", align_corners=False
        ).sigmoid()
        return [rle["counts"] for rle in rle_encode((enlarged > 0.5).squeeze(1))]


def remove_overlaps(
    counts: list[bytes], scores: npt.NDArray[np.float32], size: Size, iom: float = 0.3
) -> list[int]:
    """Removes overlapping masks; returns the indexes of those that are kept."""
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
    """Draws all masks of an image file as Meta's agent does; boxes x0 y0 x1 y1."""
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
    """Keeps the model off CUDA: two tables and one pinned tensor go there on any device."""
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
    """Makes Meta's builder use other sizes than those written into it."""
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


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"sam3.{name}")


def relative_box(box: Any, shape: tuple[int, ...]) -> list[float]:
    """Converts x0 y0 x1 y1 in pixels to cx cy w h in 0..1."""
    x0, y0, x1, y1 = box
    height, width = shape[:2]
    return [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]


def corner_box(box: Any, shape: tuple[int, ...]) -> list[float]:
    """Converts cx cy w h in 0..1 to x0 y0 x1 y1 in pixels."""
    cx, cy, w, h = box
    height, width = shape[:2]
    across, down = (cx - w / 2, cx + w / 2), (cy - h / 2, cy + h / 2)
    return [across[0] * width, down[0] * height, across[1] * width, down[1] * height]


def meta_sam3_installed() -> bool:
    return importlib.util.find_spec("sam3") is not None


def new_meta_sam3() -> MetaSam3 | None:
    """Builds the model at its released size; None where the package is not installed."""
    return MetaSam3() if meta_sam3_installed() else None
