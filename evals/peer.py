"""Meta's own SAM 3 package on a CPU, as the peer of the bench.

It is imported where somebody has installed it (`pip install sam3==0.1.4 --no-deps`, with timm,
einops, ftfy, iopath, psutil, opencv-python-headless and matplotlib, which its helpers import), and
never copied.
"""

import gzip
import importlib
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_agent.images import Pixels


class Peer:
    """Meta's image model at full size with random weights; ImportError when not installed."""

    def __init__(self) -> None:
        import torch
        from torch.overrides import TorchFunctionMode

        class OnCPU(TorchFunctionMode):
            """Its constructors put two tables on "cuda" whatever the device is."""

            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                kwargs = dict(kwargs or {})
                if kwargs.get("device") == "cuda":
                    kwargs["device"] = "cpu"
                return func(*args, **kwargs)

        builder = _module("model_builder")
        processing = _module("model.sam3_image_processor")
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder, OnCPU():
            # the wheel lacks its vocabulary; without merges every letter is a token, which does
            # for short phrases
            vocabulary = Path(folder) / "bpe.txt.gz"
            vocabulary.write_bytes(gzip.compress(b"no merges\n"))
            self.model = builder.build_sam3_image_model(
                bpe_path=str(vocabulary), device="cpu", load_from_HF=False
            )
        self._processor = processing.Sam3Processor(
            self.model, device="cpu", confidence_threshold=0.0
        )

    def encode(self, image: Pixels) -> Any:
        """Its image features."""
        from PIL import Image

        return self._processor.set_image(Image.fromarray(np.asarray(image)))

    def detect(self, state: Any, phrase: str, threshold: float) -> Any:
        """Its state with boxes, scores and dense masks of a phrase."""
        self._processor.confidence_threshold = threshold
        self._processor.reset_all_prompts(state)
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


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"sam3.{name}")
