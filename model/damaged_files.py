"""Finds the file of a checkpoint folder that is damaged, once loading has failed."""

import json
import zipfile
from pathlib import Path

PARTS = (
    ("config.json",),
    ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
    ("processor_config.json", "preprocessor_config.json"),
)
"""What every checkpoint has: one file of each of these."""

POINTER = b"version https://git-lfs"
"""How the placeholder begins that Git leaves where Git LFS has not fetched a file."""


def damaged_file(folder: Path) -> str | None:
    """What is wrong with the first damaged file of a folder, and what to do; None if none is."""
    for path in sorted(folder.glob("*")):
        if path.suffix in (".json", ".safetensors", ".bin", ".txt"):
            problem = file_problem(path)
            if problem is not None:
                return f"{path.name} {problem}"
    for names in PARTS:
        if not any((folder / name).exists() for name in names):
            return f"{names[0]} is missing: copy or download it again"
    return _missing_shard(folder)


def file_problem(path: Path) -> str | None:
    """What is wrong with a file of a checkpoint, and what to do; None if nothing is."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not size:
        return "is empty: copy or download it again"
    if start.startswith(POINTER):
        return "is a placeholder of Git LFS: run `git lfs pull` where it was cloned"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page and no file of a model: download it again, logged in"
    if not start.strip(b"\0"):
        return "begins with zeros where its content should be: copy or download it again"
    if path.suffix == ".json":
        return _json_problem(path)
    if path.suffix == ".safetensors":
        return _safetensors_problem(path)
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        return "is damaged or cut short: copy or download it again"
    return None


def _json_problem(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({error}): copy or download it again"
    return None


def _safetensors_problem(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt"):
            return None
    except (SafetensorError, OSError) as error:
        return f"is damaged or cut short ({error}): copy or download it again"


def _missing_shard(folder: Path) -> str | None:
    """The first file that an index of weights names and the folder lacks."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
            lacking = sorted(name for name in shards if not (folder / name).exists())
        except (KeyError, TypeError, AttributeError):
            return f"{index.name} has no weight_map of names: copy or download it again"
        if lacking:
            return f"{lacking[0]} is missing, which {index.name} names: copy or download it again"
    return None
