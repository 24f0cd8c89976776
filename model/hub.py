"""Looks up and downloads the weights of segmenters on the Hugging Face hub, for `sam3-agent setup`.

The models themselves are loaded by transformers, from the same cache.
"""

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from sam3_agent.errors import InputError, SegmenterError
from sam3_agent.model.checkpoint_advice import advice
from sam3_agent.registry import HUB_ID

FILES = ("*.json", "*.txt", "*.safetensors")
"""What transformers reads of a repository; the other formats in it are not downloaded."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

SECONDS = 10.0
"""How long the hub may take for all that is asked about one repository."""


@dataclass(frozen=True)
class Repository:
    """A repository of the hub as this machine finds it.

    cached: its weights are on disk. bytes: of its files; None when the hub did not say.
    problem: why it cannot be had, and what to do; empty when it can.
    """

    id: str
    cached: bool
    bytes: int | None = None
    problem: str = ""


def repositories(segmenter: str) -> tuple[str, ...]:
    """The hub ids that a segmenter's name stands for; none for `tiny` and folders.

    Raises InputError for a name that is none of these.
    """
    if segmenter == "tiny":
        return ()
    sources: tuple[str, ...] = (segmenter,)
    if segmenter.startswith("open:"):
        from sam3_agent.model.open_vocabulary import checkpoint_sources

        sources = checkpoint_sources(segmenter)
    ids = tuple(source for source in sources if not Path(source).is_dir())
    for source in ids:
        if not HUB_ID.fullmatch(source):
            raise InputError(
                f"there is no segmenter {source!r}: it is neither a folder nor a hub id such as "
                "facebook/sam3; the others are tiny, open:tiny and open:base"
            )
    return ids


def look_up(repository: str) -> Repository:
    """Whether a repository is on disk, and if not, whether this user may download it."""
    import httpx2
    from huggingface_hub import try_to_load_from_cache

    known = (try_to_load_from_cache(repository, name, cache_dir=_cache()) for name in WEIGHTS)
    if any(isinstance(path, str) for path in known):
        return Repository(repository, True)
    found: list[Repository] = []
    # in a thread, since the hub's client counts its timeout from byte to byte
    asking = threading.Thread(target=lambda: found.append(_ask_hub(repository)), daemon=True)
    asking.start()
    asking.join(SECONDS)
    if found:
        return found[0]
    late = httpx2.ReadTimeout(f"no answer in {SECONDS:g} s")
    return Repository(repository, False, None, advice(repository, late))


def _ask_hub(repository: str) -> Repository:
    """What the hub says about a repository that is not on disk."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=_endpoint())
    try:
        info = api.model_info(repository, files_metadata=True, timeout=SECONDS)
        sizes = [
            file.size or 0
            for file in info.siblings or ()
            if any(Path(file.rfilename).match(pattern) for pattern in FILES)
        ]
        size = sum(sizes) or None
    except Exception as error:  # what the hub and its HTTP client raise is open-ended
        return Repository(repository, False, None, advice(repository, error))
    try:
        api.auth_check(repository)
    except Exception as error:
        return Repository(repository, False, size, advice(repository, error))
    return Repository(repository, False, size)


def download(repository: str) -> None:
    """Fetch a repository's files into the cache; raises SegmenterError with what to do."""
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            repository, allow_patterns=[*FILES], endpoint=_endpoint(), cache_dir=_cache()
        )
    except Exception as error:
        raise SegmenterError(advice(repository, error)) from error


def free_bytes() -> tuple[Path, int]:
    """The folder of the hub's cache, and what is free on its disk."""
    folder = _cache()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return folder, shutil.disk_usage(there).free


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(os.environ.get("HF_HUB_CACHE") or HF_HUB_CACHE)
