"""The files of a recording as values: reads them, and refuses those that are damaged."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from sam3_agent.errors import InputError
from sam3_agent.local_files import read_regular_file
from sam3_agent.model.recording import VERSION, digest_of
from sam3_agent.usage import TokenUsage

COSTS = frozenset(field.name for field in fields(TokenUsage))
"""What a record of a model call's cost may hold."""

Cost: TypeAlias = NonNegativeInt | NonNegativeFloat | None
"""A count, or dollars; None where they are not known."""

M = TypeVar("M", bound=BaseModel)


class _Values(BaseModel):
    """Values of a recording; of those that a later version adds nothing is read."""

    model_config = ConfigDict(strict=True)


class About(_Values):
    """What recording.json says of the recorded ask, see `Replay`."""

    query: str
    planner: str
    verifier: str
    segmenter: str
    effort: dict[str, Any]
    budget: dict[str, Any]
    # a recording from before the check was answered without it
    check_domain: bool = False
    person: list[str] | None = None
    answer: dict[str, Any] | None = None


class RecordedCall(_Values):
    """A call of a tool."""

    id: str
    name: str
    arguments: str


class RecordedMessage(_Values):
    """A message, as `message_values` gives it."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    pictures: list[str] = []
    tool_calls: list[RecordedCall] = []
    tool_call_id: str | None = None


class RecordedReply(RecordedMessage):
    """A reply of a planner, its cost, and whether it was cut off."""

    spent: dict[str, Cost]
    cut: bool = False

    @property
    def usage(self) -> TokenUsage:
        """The cost of this reply."""
        return _usage(self.spent)


class RecordedFailure(_Values):
    """Why there is no reply."""

    kind: str
    said: str
    tries: NonNegativeInt
    # older recordings have the tries alone
    spent: dict[str, Cost] | None = None

    @property
    def usage(self) -> TokenUsage | None:
        """The cost of the failure, where it was recorded."""
        return None if self.spent is None else _usage(self.spent)


class RecordedRequest(_Values):
    """The names of the tools, or in older recordings a digest; and digests of the messages."""

    tools: list[str] | str
    messages: list[str]


class Turn(_Values):
    """A line of turns.jsonl.

    digest: that by which later requests name the reply; empty where there is none.
    """

    request: RecordedRequest
    new_messages: list[RecordedMessage]
    blind: bool = False
    reply: RecordedReply | None = None
    failure: RecordedFailure | None = None
    digest: str = ""


def read_about(folder: Path) -> About:
    """The recording.json of a recording; raises InputError for anything else."""
    path = folder / "recording.json"
    values = _parsed(path, _content(path), path.name)
    version = values.get("version")
    if version is not None and version != VERSION:
        raise InputError(
            f"{folder} was recorded in format {version!r:.20}, this is {VERSION}: record it again"
        )
    if version is None:
        raise refused(folder, f"{path.name} has no version")
    return _checked(About, values, folder, path.name)


def read_turns(folder: Path) -> Iterator[Turn]:
    """Every line of turns.jsonl; raises InputError for one that is damaged, with its number."""
    path = folder / "turns.jsonl"
    for number, line in enumerate(_content(path).split("\n"), 1):
        if not line.strip():
            continue
        name = f"line {number} of {path.name}"
        values = _parsed(path, line, name)
        turn = _checked(Turn, values, folder, name)
        if (turn.reply is None) == (turn.failure is None):
            raise refused(folder, f"{name} has neither a reply nor a failure, or both")
        if turn.reply is not None:
            reply = {key: value for key, value in values["reply"].items() if key != "spent"}
            turn.digest = digest_of(json.dumps(reply).encode())
        yield turn


def refused(folder: Path, why: str) -> InputError:
    """The error for a folder that holds no recording."""
    return InputError(f"{folder} holds no recording of `sam3-agent ask --record`: {why}")


def _content(path: Path) -> str:
    try:
        return read_regular_file(path).decode("utf-8")
    except OSError as error:
        raise refused(path.parent, f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise refused(path.parent, f"{path.name} is not UTF-8 text ({error})") from error


def _parsed(path: Path, text: str, name: str) -> dict[str, Any]:
    """The JSON object of a text that is called by a name."""
    if "\0" in text:
        raise refused(path.parent, f"{name} has NUL bytes, as a crash leaves them; record it again")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = f"{name} is cut off or no JSON ({error}); record it again"
        raise refused(path.parent, why) from error
    if not isinstance(values, dict):
        raise refused(path.parent, f"{name} is no JSON object")
    return values


def _checked(kind: type[M], values: dict[str, Any], folder: Path, name: str) -> M:
    try:
        checked = kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise refused(folder, f"in {name}, {place}: {first['msg']}; record it again") from error
    return checked


def _usage(spent: dict[str, Any]) -> TokenUsage:
    return TokenUsage(**{name: value for name, value in spent.items() if name in COSTS})
