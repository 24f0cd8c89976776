"""Image features on disk: one safetensors file for an image and a checkpoint."""

import hashlib
import logging
import os
import uuid
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class FeatureCache:
    """Keeps feature pyramids in a folder, in the precision they were made in.

    One takes 0.13 GB at full size in float32. Files of another checkpoint are never read: their
    names carry a fingerprint of the image encoder. A file that cannot be read is written again.
    """

    def __init__(self, folder: Path, model: Any) -> None:
        self.folder = folder
        self._neck = model.vision_encoder.neck
        digest = hashlib.sha256(repr(model.config.vision_config).encode())
        for weight in self._neck.state_dict().values():
            digest.update(weight.detach().float().cpu().numpy().tobytes())
        self._fingerprint = digest.hexdigest()[:16]

    def read(self, key: str, device: str) -> Any:
        """The pyramid of an image by its content hash, or None."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        path = self._path(key)
        try:
            tensors = load_file(path, device=device)
            levels = tuple(tensors[f"level_{i}"] for i in range(len(tensors) - 1))
            hidden = tensors["hidden"]
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError) as error:
            logger.warning("%s cannot be read (%s): the image is encoded again", path, error)
            return None
        positions = tuple(
            self._neck.position_encoding(level.shape, level.device, level.dtype) for level in levels
        )
        return Sam3VisionEncoderOutput(
            last_hidden_state=hidden, fpn_hidden_states=levels, fpn_position_encoding=positions
        )

    def write(self, key: str, pyramid: Any) -> None:
        """Keep a pyramid; logs a warning for a folder that cannot be written to."""
        from safetensors.torch import save_file

        tensors = {f"level_{i}": level for i, level in enumerate(pyramid.fpn_hidden_states)}
        tensors["hidden"] = pyramid.last_hidden_state
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        path = self._path(key)
        unfinished = path.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, unfinished)
            os.replace(unfinished, path)
        except OSError as error:
            logger.warning("cannot keep image features in %s: %s", self.folder, error)

    def _path(self, key: str) -> Path:
        return self.folder / f"{self._fingerprint}-{key[:32]}.safetensors"
