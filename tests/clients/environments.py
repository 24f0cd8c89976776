"""Environments of clients: a venv or a node_modules folder each, made once and kept.

They lie in $SAM3_AGENT_CLIENTS, by default ~/.cache/sam3-agent/clients.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "versions.toml"
VERSIONS: dict[str, dict[str, Any]] = tomllib.loads(FILE.read_text(encoding="utf-8"))


def environment(client: str, wanted: Mapping[str, Any] | None = None) -> Path:
    """The folder of a client's environment, made anew when its packages have changed.

    wanted: its packages, or those of npm; by default as in versions.toml.
    """
    wanted = wanted or VERSIONS[client]
    default = Path.home() / ".cache" / "sam3-agent" / "clients"
    base = Path(os.environ.get("SAM3_AGENT_CLIENTS", default))
    folder = base / client.replace(" ", "-").lower()
    packages: list[str] = wanted.get("packages") or wanted["npm"]
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8").split() == packages:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if "packages" in wanted:
        _run(sys.executable, "-m", "venv", str(folder))
        pip = [str(python_of(folder)), "-m", "pip", "install", "--quiet"]
        _run(*pip, "--disable-pip-version-check", *packages)
    else:
        _run("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages)
    stamp.write_text("\n".join(packages), encoding="utf-8")
    return folder


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _run(*command: str) -> None:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr


def server_on_path(folder: Path, code: Path) -> Path:
    """A folder whose `sam3-agent` runs this interpreter on a checkout, for PATH."""
    folder.mkdir(exist_ok=True)
    script = folder / "sam3-agent"
    settings: Sequence[str] = (
        f"PYTHONPATH={code}",
        "SAM3_AGENT_CONFIG=/dev/null",
        "HF_HUB_OFFLINE=1",
    )
    exports = "\n".join(f"export {one}" for one in settings)
    script.write_text(f'#!/bin/sh\n{exports}\nexec {sys.executable} -m sam3_agent "$@"\n')
    script.chmod(0o755)
    return folder
