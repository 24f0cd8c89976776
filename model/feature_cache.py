"""Image features on disk: one safetensors file for an image and a checkpoint."""

import hashlib
import logging
import os
import uuid
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

VERSION = 2
"""The version of the files' content; those of others are never read."""


class FeatureCache:
    """Keeps feature pyramids in a folder, in the precision they were made in.

    One takes 0.13 GB at full size in float32. A file's name carries a fingerprint of what the
    features depend on, so that those of another checkpoint, preprocessing or precision are never
    read; its metadata carries a checksum (CRC-32: 8 ms for 56 MB) of the tensors and of the image
    that they were made of. A file that is damaged is made anew.

    preprocessing: what turns an image into the model's input, as text. precision: the data type
    that the model runs in.
    """

    def __init__(self, folder: Path, model: Any, preprocessing: str, precision: str) -> None:
        self.folder = folder
        encoder = model.vision_encoder
        self._neck = encoder.neck
        weights = _checksum(encoder.state_dict(), "weights")
        depends = (VERSION, repr(model.config.vision_config), preprocessing, precision, weights)
        self._fingerprint = hashlib.sha256(repr(depends).encode()).hexdigest()[:16]

    def read(self, key: str, device: str) -> Any:
        """The pyramid of an image by its content hash, or None."""
        from safetensors import SafetensorError, safe_open
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        path = self._path(key)
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                written = (file.metadata() or {}).get("checksum")
            if written != _checksum(tensors, self._fingerprint + key):
                raise ValueError("its checksum is another")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError) as error:
            logger.warning("%s is damaged (%s): the image is encoded again", path, error)
            return None
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        levels = tuple(tensors[f"level_{i}"] for i in range(len(tensors) - 1))
        positions = tuple(
            self._neck.position_encoding(level.shape, level.device, level.dtype) for level in levels
        )
        return Sam3VisionEncoderOutput(
            last_hidden_state=tensors["hidden"],
            fpn_hidden_states=levels,
            fpn_position_encoding=positions,
        )

    def write(self, key: str, pyramid: Any) -> None:
        """Keep a pyramid; logs a warning for a folder that cannot be written to.

        Several processes may write: a file appears whole, or not at all.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors = {f"level_{i}": level for i, level in enumerate(pyramid.fpn_hidden_states)}
        tensors["hidden"] = pyramid.last_hidden_state
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        path = self._path(key)
        unfinished = path.with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            checksum = _checksum(tensors, self._fingerprint + key)
            save_file(tensors, unfinished, metadata={"checksum": checksum})
            os.replace(unfinished, path)
        except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in its own
            logger.warning("cannot keep image features in %s: %s", self.folder, error)
        finally:
            _remove(unfinished)

    def _path(self, key: str) -> Path:
        return self.folder / f"{self._fingerprint}-{key[:32]}.safetensors"


def _checksum(tensors: Mapping[str, Any], of: str) -> str:
    """A CRC-32 of tensors with their names, data types and shapes, and of what they belong to."""
    import torch

    checksum = zlib.crc32(of.encode())
    for name, tensor in sorted(tensors.items()):
        about = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(content.numpy().data, zlib.crc32(about.encode(), checksum))
    return f"{checksum:08x}"


def _remove(unfinished: Path) -> None:
    """Deletes what a failed or interrupted write has left, where that is possible."""
    with suppress(OSError):
        unfinished.unlink()
