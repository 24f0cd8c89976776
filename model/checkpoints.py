"""Loads SAM 3 checkpoints by name, folder or hub id; errors say what to do."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sam3_agent.credentials import key_problem
from sam3_agent.errors import SegmenterError
from sam3_agent.model.checkpoint_advice import advice, local_folder, unknown_kind
from sam3_agent.model.checkpoint_checks import (
    check_image_size,
    check_names,
    check_tokenizer,
    check_types,
    check_values,
)
from sam3_agent.model.damaged_files import file_problem
from sam3_agent.vocabulary import Vocabulary

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

_VOCABULARY = TypeAdapter(dict[str, list[str]])


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the detector (in float32, on the CPU) and its processor.

    name: what the segmenter is called. source: the folder or hub id, from which the tracker is read
        when it is needed.
    """

    name: str
    source: str
    model: Any
    processor: Any


def load_checkpoint(name: str) -> Checkpoint:
    """The checkpoint `tiny`, of a folder, or of a model on the Hugging Face hub.

    Raises SegmenterError with what to do.
    """
    try:
        import torch  # noqa: F401
        import torchvision  # noqa: F401  # transformers' SAM 3 needs its roi_align
        import transformers  # noqa: F401
    except ImportError as error:
        raise SegmenterError(
            f"SAM 3 needs torch, torchvision and transformers >= 5.10.4: {error}"
        ) from error
    source = str(TINY) if name == "tiny" else name
    return Checkpoint(name, *load_pretrained(source, MODELS, "Sam3Processor"))


def load_pretrained(
    name: str,
    kinds: Mapping[str, str],
    processor: str,
    what: str = "SAM 3 checkpoint",
    example: str = "facebook/sam3",
) -> tuple[str, Any, Any]:
    """The folder or hub id that was read, the model in float32 on the CPU, and its processor.

    kinds: transformers' class for each model_type. processor: that of the processor. what, example:
    for errors. Raises SegmenterError with what to do.
    """
    import transformers

    with loading(name, what):
        source = reachable(name)
        kind = str(read_config(source, what, example).get("model_type"))
        if kind not in kinds:
            raise SegmenterError(unknown_kind(source, kind, what, example))
        model = load_model(getattr(transformers, kinds[kind]), source)
        loaded = getattr(transformers, processor).from_pretrained(source)
        check_image_size(source, model, loaded)
        if hasattr(loaded, "tokenizer"):
            check_tokenizer(source, loaded.tokenizer, model.config.text_config.vocab_size)
        return source, model, loaded


@contextmanager
def loading(name: str, what: str = "SAM 3 checkpoint") -> Iterator[None]:
    """Load inside, quietly; what fails is a SegmenterError that says what to do."""
    from transformers.utils import logging as chatter

    showed_bars, verbosity = chatter.is_progress_bar_enabled(), chatter.get_verbosity()
    chatter.disable_progress_bar()
    chatter.set_verbosity_error()  # it warns of every model that is loaded from a larger one
    try:
        yield
    except SegmenterError:
        raise
    except Exception as error:  # what the hub, transformers and safetensors raise is open-ended
        raise SegmenterError(advice(name, error, what)) from error
    finally:
        chatter.set_verbosity(verbosity)
        if showed_bars:
            chatter.enable_progress_bar()
    logger.info("loaded %s %s", what, name)


def reachable(source: str) -> str:
    """The folder or hub id to load from; an id's folder in the local cache when the hub is offline.

    The hub is asked once. Its client and transformers would ask for each file of a checkpoint and
    try each five times over, half a minute for a network that is not there. Raises SegmenterError
    for a token that cannot be one, and what the hub client raises.
    """
    if Path(source).exists():
        return source
    problem = key_problem(os.environ.get("HF_TOKEN"))
    if problem is not None:
        raise SegmenterError(
            f"the token in HF_TOKEN has characters that no token has: {problem}. Copy the token "
            "alone, once more, into HF_TOKEN"
        )
    from huggingface_hub import (
        constants,
        get_hf_file_metadata,
        hf_hub_url,
        try_to_load_from_cache,
    )

    cached = try_to_load_from_cache(source, "config.json")
    try:
        url = hf_hub_url(source, "config.json")
        get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception as error:  # as open-ended as in `loading`
        if not isinstance(cached, str):
            raise
        reason = " ".join(str(error).split())
        logger.warning("%s is read from the local cache: %s", source, reason)
        return str(Path(cached).parent)
    return source


def load_model(kind: Any, source: str) -> Any:
    """A transformers model of this class in float32 on the CPU, with weights from folder or hub.

    A pickle file is read as tensors only, so that it cannot run code. Raises SegmenterError for
    weights that are not all there, do not fit, or are damaged.
    """
    import torch

    model, report = kind.from_pretrained(
        source,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # `check_names` refuses them, by name
        weights_only=True,
    )
    check_names(source, model, report)
    check_values(source, model.state_dict())
    folder = local_folder(source)
    if folder is not None:
        check_types(source, folder)
    return model


def weight_files(source: str) -> list[Path]:
    """The safetensors files of a checkpoint, from its folder or the local hub cache."""
    folder = Path(source)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(source, allow_patterns=["*.safetensors", "*.json"]))
    return sorted(folder.glob("*.safetensors"))


def weights_digest(*models: Any) -> str:
    """A hash of all weights of torch models, by their names."""
    import torch

    digest = hashlib.sha256()
    for model in models:
        for name, weight in sorted(model.state_dict().items()):
            content = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(content.numpy().data)
    return digest.hexdigest()[:16]


def read_vocabulary(source: str) -> Vocabulary | None:
    """The vocabulary.json of a checkpoint's folder; None without one, for an open vocabulary.

    Raises SegmenterError for a file that holds no words.
    """
    file = Path(source) / "vocabulary.json"
    if not file.exists():
        return None
    try:
        return dict(_VOCABULARY.validate_json(file.read_bytes(), strict=True))
    except (OSError, ValueError) as error:
        raise SegmenterError(
            f"{file} holds no vocabulary, an object of nouns with lists of words: copy or download "
            "it again, or delete it for a checkpoint that knows any noun"
        ) from error


def read_config(
    source: str, what: str = "SAM 3 checkpoint", example: str = "facebook/sam3"
) -> dict[str, Any]:
    """The config.json of a folder or a hub model."""
    folder = Path(source)
    if folder.exists():
        path = folder / "config.json"
        for file in folder.glob("*"):  # reading a pipe would wait for ever
            if file.exists() and not (file.is_file() or file.is_dir()):
                raise SegmenterError(f"{file} is a pipe or a device, and no file of a {what}")
    else:
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(source, "config.json"))
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = file_problem(path) or "has no model_type"
        raise SegmenterError(
            f"{folder} is no {what}: it has no readable config.json with a model_type (config.json "
            f"{problem}); pass a hub id such as {example}, or a folder saved by transformers"
        ) from error
    return config
