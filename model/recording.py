"""Record and replay: what a planner was asked and said, kept in a folder, and played again.

    recording.json   what was asked, of whom, what the person said in between, and the answer
    image.png        the image
    turns.jsonl      a line for every reply of the planner or verifier: the request's fingerprints,
                     its new messages, and the reply, or why there is none
    pictures/        every picture that the planner was shown

Nothing of the transport is kept, so no key can be. A replay compares each request with the recorded
one, and stops when it has changed: then the recorded reply would answer another question.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from sam3_agent.answer import Answer
from sam3_agent.effort import Effort
from sam3_agent.errors import DeadlineError, InputError, PlannerError
from sam3_agent.images import Pixels
from sam3_agent.messages import Message, ToolCall
from sam3_agent.planner import Planner, sees
from sam3_agent.sanitize import replace_surrogates
from sam3_agent.tool import Tool
from sam3_agent.usage import Budget, TokenUsage, usage_of

VERSION = 2


class Recording:
    """The folder that an ask is recorded in; safe to use from several threads.

    about: what is asked of whom, as `recording.json` keeps it.
    """

    def __init__(self, folder: Path, image: Pixels, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._about = {"version": VERSION, **about}
        self._heard: list[str] | None = None
        self._told: set[str] = set()
        self._lock = threading.Lock()
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "image.png")
            (folder / "turns.jsonl").write_text("", encoding="utf-8")
            self._write_about({})
        except OSError as error:
            raise InputError(f"cannot record to {folder}: {error.strerror or error}") from error

    def listening(self, ask: Callable[[str], str]) -> Callable[[str], str]:
        """`ask`, and what the person says is kept."""
        heard = self._heard = []
        self._write_about({})

        def ask_person(question: str) -> str:
            heard.append(replace_surrogates(ask(question)))
            self._write_about({})
            return heard[-1]

        return ask_person

    def keep(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        reply: Message | PlannerError,
        blind: bool = False,
    ) -> None:
        """Write a request and its reply; of the messages only those not yet written.

        blind: whether the planner's server has turned out to take no pictures.
        """
        request = _fingerprints(messages, tools)
        with self._lock:
            new = [
                self._kept(message)
                for message, digest in zip(messages, request["messages"], strict=True)
                if digest not in self._told
            ]
            self._told.update(request["messages"])
            line: dict[str, Any] = {"request": request, "new_messages": new, "blind": blind}
            if isinstance(reply, Message):
                self._told.update(_fingerprints([reply], ())["messages"])
                line["reply"] = self._kept(reply) | {"spent": asdict(reply.spent)}
            else:
                kind = "DeadlineError" if isinstance(reply, DeadlineError) else "PlannerError"
                line["failure"] = {
                    "kind": kind,
                    "said": str(reply),
                    "tries": reply.tries,
                    "spent": asdict(usage_of(reply)),
                }
            with (self._folder / "turns.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def finish(self, answer: Answer) -> None:
        """Keep the answer beside what led to it."""
        self._write_about({"answer": answer.to_dict()})

    def _kept(self, message: Message) -> dict[str, Any]:
        """A message as JSON values, its pictures as files."""
        out = message.to_dict()
        if message.pictures:
            out["pictures"] = [self._file_of(picture) for picture in message.pictures]
        return out

    def _file_of(self, picture: Pixels) -> str:
        path = self._folder / "pictures" / f"{_digest(picture.tobytes())}.png"
        if not path.exists():
            Image.fromarray(picture).save(path)
        return f"pictures/{path.name}"

    def _write_about(self, more: dict[str, Any]) -> None:
        text = json.dumps(self._about | {"person": self._heard} | more, indent=2)
        (self._folder / "recording.json").write_text(text + "\n", encoding="utf-8")


class RecordingPlanner:
    """Passes everything on to another planner, and keeps it."""

    def __init__(self, planner: Planner, recording: Recording) -> None:
        self.name = planner.name
        self._planner = planner
        self._recording = recording
        self._saw = sees(planner)

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The other planner's reply, or its failure, once it is on disk."""
        try:
            reply = self._planner.reply(messages, tools)
        except PlannerError as error:
            self._recording.keep(messages, tools, error, self._turned_blind())
            raise
        self._recording.keep(messages, tools, reply, self._turned_blind())
        return reply

    @property
    def sees(self) -> bool:
        """Whether the other planner takes pictures."""
        return sees(self._planner)

    def _turned_blind(self) -> bool:
        """Whether its server has turned out to take no pictures."""
        return self._saw and not self.sees


class Replay:
    """A recorded ask: what was asked of whom, and every reply.

    query, planner, verifier, segmenter, effort, budget, check_domain: those of the recorded ask;
    verifier is "none" when nobody checked. ask_person: says what the person said; None when there
    was nobody to ask. blind: the models that have turned out to take no pictures, so far. Raises
    InputError for a folder that holds no recording.
    """

    def __init__(self, folder: Path) -> None:
        try:
            about = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
            lines = (folder / "turns.jsonl").read_text(encoding="utf-8").splitlines()
            self._turns = [json.loads(line) for line in lines]
            if about["version"] != VERSION:
                raise InputError(
                    f"{folder} was recorded in format {about['version']}, this is {VERSION}: "
                    "record it again"
                )
            self.query = str(about["query"])
            self.planner = str(about["planner"])
            self.verifier = str(about["verifier"])
            self.segmenter = str(about["segmenter"])
            self.effort = Effort(**about["effort"])
            # a recording from before the check was answered without it
            self.check_domain = bool(about.get("check_domain", False))
            heard = about.get("person")
            self.ask_person = None if heard is None else partial(_said_again, iter(list(heard)))
            # seconds passed differently then
            self.budget = Budget(**{**about["budget"], "seconds": None})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no recording of `sam3-agent ask --record`: {error}"
            ) from error
        self._replies = len(self._turns)
        self.blind: set[str] = set()
        self._lock = threading.Lock()

    def take(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """The first unused reply to this request; PlannerError when it failed or there is none.

        name: of the planner that is asked.
        """
        with self._lock:
            for index, turn in enumerate(self._turns):
                if turn["request"] == request:
                    del self._turns[index]
                    if turn.get("blind"):
                        self.blind.add(name)
                    return _reply_in(turn)
            if not self._turns:
                raise PlannerError(
                    f"the recording ends after {self._replies} replies: record it again"
                )
            changed = _difference(self._turns[0]["request"], request)
            number = self._replies - len(self._turns) + 1
            raise PlannerError(
                f"the recording no longer fits: in request {number} {changed}; record it again"
            )


class ReplayPlanner:
    """Gives the replies of a recording, as long as it is asked what was asked then."""

    def __init__(self, name: str, replay: Replay) -> None:
        self.name = name
        self._replay = replay

    @property
    def sees(self) -> bool:
        """Whether the planner took pictures when it was recorded, up to this reply."""
        return self.name not in self._replay.blind

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The recorded reply; PlannerError when there is none or the request has changed."""
        reply = self._replay.take(self.name, _fingerprints(messages, tools))
        calls = tuple(ToolCall(**call) for call in reply.get("tool_calls", ()))
        return Message("assistant", reply["text"], (), calls, spent=TokenUsage(**reply["spent"]))


def _said_again(heard: Iterator[str], question: str) -> str:
    reply = next(heard, None)
    if reply is None:
        raise PlannerError("the person was not asked this in the recording: record it again")
    return reply


def _reply_in(turn: dict[str, Any]) -> dict[str, Any]:
    """The reply of a recorded turn; raises its failure."""
    failure = turn.get("failure")
    if failure is not None:
        kind = DeadlineError if failure["kind"] == "DeadlineError" else PlannerError
        spent = failure.get("spent")  # older recordings have the tries alone
        raise kind(failure["said"], failure["tries"], spent and TokenUsage(**spent))
    reply: dict[str, Any] = turn["reply"]
    return reply


def _fingerprints(messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
    """What tells whether two requests are the same."""
    schemas = [[tool.name, tool.description, dict(tool.parameters)] for tool in tools]
    return {
        "tools": _digest(json.dumps(schemas).encode()),
        "messages": [
            _digest(
                json.dumps(message.to_dict()).encode(),
                *(picture.tobytes() for picture in message.pictures),
            )
            for message in messages
        ],
    }


def _difference(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    if then["tools"] != now["tools"]:
        return "the tools differ"
    before, after = then["messages"], now["messages"]
    for number, (old, new) in enumerate(zip(before, after, strict=False), 1):
        if old != new:
            what = "the system prompt" if number == 1 else f"message {number}"
            return f"{what} differs"
    return None if len(before) == len(after) else "the number of messages differs"


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
