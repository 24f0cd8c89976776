"""The header of a run: what it is a run of, and with which code and models it was made."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from sam3_agent import registry
from sam3_agent.errors import InputError
from sam3_agent.evals.benchmark import Sample

FORMAT: Final = "sam3-agent run"
VERSION: Final = 1


class Resumption(BaseModel):
    """The code and models with which a run was resumed, where they differ from those before.

    versions: of the packages. commit: of this code. setup: see `setup.setup`.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    versions: dict[str, str]
    commit: str | None
    setup: dict[str, Any] = {}


class Header(BaseModel):
    """The first line of a run file.

    config: what decides the rows: benchmark, data, split, strategy (the solver), planner,
        segmenter, effort, seed, limit, shard and the like.
    samples: a digest of all samples. total: the number of rows of the finished run.
    versions, commit, setup: as in `Resumption`, of the code and models that began the run.
    resumed: one entry each time that it was resumed with others; lines of their own in the file.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    kind: Literal["run"] = "run"
    format: Literal["sam3-agent run"] = FORMAT
    version: Literal[1] = VERSION
    config: dict[str, Any]
    samples: str
    total: Annotated[int, Field(ge=0)]
    versions: dict[str, str]
    commit: str | None
    began: str
    setup: dict[str, Any] = {}
    resumed: tuple[Resumption, ...] = Field(default=(), exclude=True)

    def made_with(self) -> Resumption:
        """Returns the code and models that began the run."""
        return Resumption(versions=self.versions, commit=self.commit, setup=self.setup)

    def differences(self, other: "Header") -> list[str]:
        """Says which values of the config another header has instead, one text each."""
        ours, theirs = self.config, other.config
        return [
            f"{name} was {ours.get(name)!r} and is {theirs.get(name)!r}"
            for name in dict.fromkeys([*ours, *theirs])
            if ours.get(name) != theirs.get(name)
        ]

    def without_shard(self) -> "Header":
        """Returns the header of the run of which this one may be a shard."""
        return self.model_copy(update={"config": {**self.config, "shard": None}})


def read_header(content: Mapping[str, Any], path: Path) -> Header:
    """Reads the header of the run in `path`; InputError or ValidationError for another."""
    if content.get("format") != FORMAT:
        raise InputError(f"{path}: is no run of sam3-agent eval (its first line says otherwise)")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: is a run of format {content.get('version')}, this is {VERSION}: "
            "use the version of sam3-agent that wrote it, or run it again"
        )
    return Header.model_validate({name: content[name] for name in content if name != "resumed"})


def new_header(
    config: Mapping[str, Any],
    samples: Sequence[Sample],
    total: int,
    setup: Mapping[str, Any] | None = None,
) -> Header:
    """Makes the header of a run that begins now, with this code.

    samples: those of all shards. total: the number of rows that this run will have.
    """
    return Header(
        config=_as_read(config),
        samples=digest(samples),
        total=total,
        versions=_versions(),
        commit=_commit(),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        setup=_as_read(setup or {}),
    )


def _as_read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns JSON values into what is read back from a file: tuples into lists."""
    read: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return read


def digest(samples: Sequence[Sample]) -> str:
    """Hashes the ids, queries and truths of samples, which tells whether two runs ask the same."""
    digest = hashlib.sha256()
    for sample in samples:
        # the data may have been corrected since: rows about other truths must not be mixed
        truth = [] if sample.truth is None else sample.truth.rle()
        fields = [sample.id, sample.query, truth, dict(sample.about)]
        digest.update(json.dumps(fields, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in registry.recorded_packages():
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _commit() -> str | None:
    """Returns the git commit of this code, with "+" for changed files; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
