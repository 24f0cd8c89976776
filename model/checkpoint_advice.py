"""Says what to do about a checkpoint that did not load."""

from pathlib import Path

from sam3_agent.model.damaged_files import damaged_file

_NO_NETWORK = frozenset(
    {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "TransportError", "FileMetadataError"}
)
"""Names of errors of a hub that is not reached, or of something else that answers instead of it."""


def local_folder(source: str) -> Path | None:
    """The folder that holds the files of a checkpoint; None for one that is not on this disk."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source, "config.json")
    return Path(cached).parent if isinstance(cached, str) else None


def unknown_kind(source: str, kind: str, what: str, example: str) -> str:
    """The message for a checkpoint of another kind of model."""
    if kind.startswith(("sam3.1", "sam3_1", "sam31")):
        return (
            f"{source} is a SAM 3.1 checkpoint ({kind}), which this version of transformers cannot "
            "load; use facebook/sam3, or upgrade transformers"
        )
    return f"{source} holds a {kind!r} model, not a {what} such as {example}"


def advice(name: str, error: Exception, what: str = "SAM 3 checkpoint") -> str:
    """What to do about a checkpoint that did not load, by the kind of the failure."""
    kinds = set()
    cause: BaseException | None = error
    while cause is not None:
        kinds |= {kind.__name__ for kind in type(cause).__mro__}
        cause = cause.__cause__ or cause.__context__
    if "GatedRepoError" in kinds:
        return (
            f"{name} is gated: accept its licence at https://huggingface.co/{name}, then log in "
            "with `hf auth login` or set HF_TOKEN. Without it, use `open:base`, whose "
            "weights are free to download, or the shipped segmenter `tiny`"
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
    if "EntryNotFoundError" in kinds:
        return (
            f"{name} on the Hugging Face hub holds no config.json, so it is no {what}; use a "
            "checkpoint in the format of transformers, such as facebook/sam3"
        )
    reason = " ".join(str(error).split())
    if "HfHubHTTPError" in kinds:
        return f"the Hugging Face hub refused to give {name}: {reason}; try again later"
    if "UnpicklingError" in kinds:
        reason = "its pickle file holds more than tensors, which could run code; use safetensors"
        return f"cannot load the {what} {name!r}: {reason}"
    folder = local_folder(name)
    problem = damaged_file(folder) if folder is not None else None
    if problem is not None:
        return f"cannot load the {what} {name!r}: {problem}"
    return (
        f"cannot load the {what} {name!r}: {type(error).__name__}: {reason}; copy or download the "
        "checkpoint again"
    )
