"""Loading SAM 3: checkpoint names and folders to models, and what to do when that fails."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3_agent.errors import SegmenterError

logger = logging.getLogger(__name__)

TINY = Path(__file__).parent / "tiny"
"""The folder of the shipped checkpoint."""

MODELS = {
    "sam3": "Sam3Model",
    "sam3_video": "Sam3Model",
    "sam3_lite_text": "Sam3LiteTextModel",
    "sam3_lite_text_video": "Sam3LiteTextModel",
}
"""The transformers class for a checkpoint's model_type; facebook/sam3 is a sam3_video."""

_NO_NETWORK = frozenset(
    {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "TimeoutException"}
)


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the detector (in float32, on the CPU) and its processor.

    name: what the segmenter is called. place: the folder or hub id, from which the tracker is read
        when it is needed.
    """

    name: str
    place: str
    model: Any
    processor: Any


def load_checkpoint(name: str) -> Checkpoint:
    """The checkpoint `tiny`, of a folder, or of a model on the Hugging Face hub.

    Raises SegmenterError with what to do.
    """
    try:
        import torch
        import torchvision  # noqa: F401  # transformers' SAM 3 needs its roi_align
        import transformers
        from transformers.utils import logging as chatter
    except ImportError as error:
        raise SegmenterError(
            f"SAM 3 needs torch, torchvision and transformers >= 5.10.4: {error}"
        ) from error
    place = str(TINY) if name == "tiny" else name
    showed_bars = chatter.is_progress_bar_enabled()
    chatter.disable_progress_bar()
    try:
        kind = str(read_config(place).get("model_type"))
        if kind not in MODELS:
            raise SegmenterError(_unknown_kind(place, kind))
        model = getattr(transformers, MODELS[kind]).from_pretrained(place, dtype=torch.float32)
        processor = transformers.Sam3Processor.from_pretrained(place)
    except SegmenterError:
        raise
    except Exception as error:  # what the hub, transformers and safetensors raise is open-ended
        raise SegmenterError(_advice(name, error)) from error
    finally:
        if showed_bars:
            chatter.enable_progress_bar()
    logger.info("loaded SAM 3 checkpoint %s", place)
    return Checkpoint(name, place, model, processor)


def weight_files(place: str) -> list[Path]:
    """The safetensors files of a checkpoint, from its folder or the local hub cache."""
    folder = Path(place)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(place, allow_patterns=["*.safetensors", "*.json"]))
    return sorted(folder.glob("*.safetensors"))


def read_config(place: str) -> dict[str, Any]:
    """The config.json of a folder or a hub model."""
    folder = Path(place)
    if not folder.exists():
        from huggingface_hub import hf_hub_download

        config: dict[str, Any] = json.loads(
            Path(hf_hub_download(place, "config.json")).read_text(encoding="utf-8")
        )
        return config
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SegmenterError(
            f"{folder} is no SAM 3 checkpoint: it has no readable config.json with a model_type; "
            "pass `tiny`, a hub id such as facebook/sam3, or a folder saved by transformers"
        ) from error
    return config


def _unknown_kind(place: str, kind: str) -> str:
    if kind.startswith(("sam3.1", "sam3_1", "sam31")):
        return (
            f"{place} is a SAM 3.1 checkpoint ({kind}), which this version of transformers cannot "
            "load; its image detector is SAM 3's, so use facebook/sam3, or upgrade transformers"
        )
    return f"{place} holds a {kind!r} model, not a SAM 3 checkpoint"


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
