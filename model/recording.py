"""Records the requests to planners and their replies in a folder, and replays them.

    recording.json   the question, the models' names, the user's replies in between, the answer
    image.png        the image
    turns.jsonl      a line for every reply of the planner or verifier: the request's fingerprints,
                     its new messages, and the reply, or why there is none
    pictures/        every picture that the planner was shown

Nothing of the transport is kept, so no key can be. A replay compares each request with the recorded
one, and stops when it has changed: then the recorded reply would answer another question. What this
package words itself may have been reworded since: system prompts, descriptions of tools, errors.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.budget import Budget
from sam3_agent.errors import DeadlineError, InputError, PlannerError
from sam3_agent.images import Pixels, load_image
from sam3_agent.messages import Message, ToolCall
from sam3_agent.planner import Planner, Price, price_of, sees
from sam3_agent.review import Effort
from sam3_agent.sanitize import replace_surrogates
from sam3_agent.segmenter import Segmenter
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

VERSION = 2

REWORDED = {
    "fresh eyes checked this answer and have doubts. They may be wrong, too.": (
        "an independent check of this answer has doubts. It may be wrong, too."
    ),
    "gave no usable opinion": "gave no usable reply",
}
"""Texts of recorded requests as they were worded once, and as they are worded now."""


def start_recording(
    agent: Agent, folder: Path, image: Pixels, query: str
) -> "tuple[Agent, Recording]":
    """An agent like this one whose planner, verifier and user are recorded, and the recording.

    `Recording.finish` keeps the answer. Raises InputError when the folder cannot be written.
    """
    recording = Recording(
        folder,
        image,
        {
            "query": query,
            "planner": agent.planner.name,
            "verifier": agent.verifier.name if agent.verifier else "none",
            "segmenter": agent.segmenter.name,
            "effort": asdict(agent.effort),
            "budget": asdict(agent.budget),
            "check_domain": agent.check_domain,
        },
    )
    ask = agent.ask_person
    recorded = Agent(
        RecordingPlanner(agent.planner, recording),
        agent.segmenter,
        verifier=RecordingPlanner(agent.verifier, recording) if agent.verifier else "none",
        effort=agent.effort,
        ask_person=None if ask is None else recording.listening(ask),
        tools=list(agent.tools.values()),
        budget=agent.budget,
        max_megapixels=agent.max_megapixels,
        check_domain=agent.check_domain,
    )
    return recorded, recording


def load_recording(
    folder: Path, segmenter: Segmenter | str | None = None
) -> tuple[Agent, Pixels, str]:
    """The agent, image and question of a recording; asking them needs no network for the models.

    segmenter: None for the one whose name was recorded. Raises InputError when the folder holds no
    recording.
    """
    recorded = Replay(folder)
    verifier = recorded.verifier
    agent = Agent(
        ReplayPlanner(recorded.planner, recorded),
        segmenter or recorded.segmenter,
        verifier="none" if verifier == "none" else ReplayPlanner(verifier, recorded),
        effort=recorded.effort,
        ask_person=recorded.ask_person,
        budget=recorded.budget,
        check_domain=recorded.check_domain,
    )
    image = load_image(folder / "image.png", max_megapixels=float("inf"))
    return agent, image, recorded.query


class Recording:
    """The folder that an ask is recorded in; safe to use from several threads.

    about: what is asked of whom, as `recording.json` keeps it.
    """

    def __init__(self, folder: Path, image: Pixels, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._about = {"version": VERSION, **about}
        self._user_replies: list[str] | None = None
        self._written: set[str] = set()
        self._lock = threading.Lock()
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "image.png")
            (folder / "turns.jsonl").write_text("", encoding="utf-8")
            self._write_about({})
        except OSError as error:
            raise InputError(f"cannot record to {folder}: {error.strerror or error}") from error

    def listening(self, ask: Callable[[str], str]) -> Callable[[str], str]:
        """`ask`, with every reply of the user written down."""
        replies = self._user_replies = []
        self._write_about({})

        def ask_person(question: str) -> str:
            replies.append(replace_surrogates(ask(question)))
            self._write_about({})
            return replies[-1]

        return ask_person

    def keep(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        reply: Message | PlannerError,
        lost_pictures: bool = False,
    ) -> None:
        """Write a request and its reply; of the messages only those not yet written.

        lost_pictures: whether the planner's server has turned out to take no pictures.
        """
        digests = [_fingerprint(message) for message in messages]
        with self._lock:
            new = [
                self._kept(message)
                for message, digest in zip(messages, digests, strict=True)
                if digest not in self._written
            ]
            self._written.update(digests)
            line: dict[str, Any] = {
                "request": {"tools": [tool.name for tool in tools], "messages": digests},
                "new_messages": new,
                "blind": lost_pictures,
            }
            if isinstance(reply, Message):
                self._written.add(_fingerprint(reply))
                line["reply"] = self._kept(reply) | {"spent": asdict(reply.spent)}
            else:
                kind = "DeadlineError" if isinstance(reply, DeadlineError) else "PlannerError"
                line["failure"] = {
                    "kind": kind,
                    "said": str(reply),
                    "tries": reply.tries,
                    "spent": asdict(reply.spent),
                }
            with (self._folder / "turns.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def finish(self, answer: Answer) -> None:
        """Keep the answer beside what led to it."""
        self._write_about({"answer": answer.to_dict()})

    def _kept(self, message: Message) -> dict[str, Any]:
        """A message as JSON values, its pictures as files."""
        values = _values(message)
        for name, picture in zip(values.get("pictures", ()), message.pictures, strict=True):
            if not (self._folder / name).exists():
                Image.fromarray(picture).save(self._folder / name)
        return values

    def _write_about(self, more: dict[str, Any]) -> None:
        text = json.dumps(self._about | {"person": self._user_replies} | more, indent=2)
        (self._folder / "recording.json").write_text(text + "\n", encoding="utf-8")


class RecordingPlanner:
    """Passes everything on to another planner, and records it."""

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
            self._recording.keep(messages, tools, error, self._lost_pictures())
            raise
        self._recording.keep(messages, tools, reply, self._lost_pictures())
        return reply

    @property
    def sees(self) -> bool:
        """Whether the other planner takes pictures."""
        return sees(self._planner)

    @property
    def price(self) -> Price | None:
        """What the other planner's tokens cost."""
        return price_of(self._planner)

    def _lost_pictures(self) -> bool:
        """Whether its server has turned out to take no pictures."""
        return self._saw and not self.sees


class Replay:
    """A recorded ask with every reply; InputError for a folder that holds none.

    query, planner, verifier, segmenter, effort, budget, check_domain: those of the recorded ask;
    verifier is "none" when there was none. ask_person: returns the recorded replies of the user;
    None when no user was there. without_pictures: the names of the models that have turned out to
    take no pictures, up to this reply.
    """

    def __init__(self, folder: Path) -> None:
        try:
            about = json.loads((folder / "recording.json").read_text(encoding="utf-8"))
            lines = (folder / "turns.jsonl").read_text(encoding="utf-8").splitlines()
            self._turns = [json.loads(line) for line in lines]
            self._requests = _requests(self._turns)
            if about["version"] != VERSION:
                raise InputError(
                    f"{folder} was recorded in format {about['version']}, this is {VERSION}: "
                    "record it again"
                )
            self.query = str(about["query"])
            self.planner = str(about["planner"])
            self.verifier = str(about["verifier"])
            self.segmenter = str(about["segmenter"])
            self.effort = Effort.from_dict(about["effort"])
            # a recording from before the check was answered without it
            self.check_domain = bool(about.get("check_domain", False))
            replies = about.get("person")
            self.ask_person = None if replies is None else partial(_next_reply, iter(list(replies)))
            # seconds passed differently then
            self.budget = Budget(**{**about["budget"], "seconds": None})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no recording of `sam3-agent ask --record`: {error}"
            ) from error
        self.without_pictures: set[str] = set()
        self._lock = threading.Lock()

    def take(self, name: str, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """The first unused reply to this request; PlannerError when it failed or there is none.

        name: of the planner that is asked.
        """
        request = _Request([tool.name for tool in tools], [_compared(_values(m)) for m in messages])
        with self._lock:
            for number, (recorded, turn) in enumerate(
                zip(self._requests, self._turns, strict=True)
            ):
                if recorded is not None and request.difference(recorded) is None:
                    self._requests[number] = None
                    if turn.get("blind"):
                        self.without_pictures.add(name)
                    return _reply_in(turn)
            for number, recorded in enumerate(self._requests, 1):
                if recorded is not None:
                    changed = request.difference(recorded)
                    raise PlannerError(
                        f"the recording no longer fits: in request {number} {changed}; "
                        "record it again"
                    )
            raise PlannerError(
                f"the recording ends after {len(self._turns)} replies: record it again"
            )


class ReplayPlanner:
    """Gives the replies of a recording, as long as it is asked what was asked then."""

    def __init__(self, name: str, replay: Replay) -> None:
        self.name = name
        self._replay = replay

    @property
    def sees(self) -> bool:
        """Whether the planner took pictures when it was recorded, up to this reply."""
        return self.name not in self._replay.without_pictures

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The recorded reply; PlannerError when there is none or the request has changed."""
        reply = self._replay.take(self.name, messages, tools)
        calls = tuple(ToolCall(**call) for call in reply.get("tool_calls", ()))
        return Message("assistant", reply["text"], (), calls, spent=TokenUsage(**reply["spent"]))


def _next_reply(replies: Iterator[str], question: str) -> str:
    reply = next(replies, None)
    if reply is None:
        raise PlannerError("the user was not asked this in the recording: record it again")
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


def _fingerprint(message: Message) -> str:
    """A digest that two messages share only if they are equal."""
    pictures = (picture.tobytes() for picture in message.pictures)
    return _digest(json.dumps(message.to_dict()).encode(), *pictures)


@dataclass(frozen=True)
class _Request:
    """What has to be equal in two requests for the reply to one to be that to the other.

    tools: their names; None where they are not known. messages: see `_compared`.
    """

    tools: list[str] | None
    messages: list[tuple[Any, ...]]

    def difference(self, recorded: "_Request") -> str | None:
        """What differs from a recorded request; None for nothing."""
        if recorded.tools not in (None, self.tools):
            return "the tools differ"
        pairs = zip(recorded.messages, self.messages, strict=False)
        for number, (before, now) in enumerate(pairs, 1):
            if before != now:
                return f"message {number} differs"
        same_length = len(recorded.messages) == len(self.messages)
        return None if same_length else "the number of messages differs"


def _requests(turns: Sequence[dict[str, Any]]) -> "list[_Request | None]":
    """The requests of recorded turns.

    A turn names its messages by their digests, and holds those that no earlier turn holds, as
    message or as reply.
    """
    known: dict[str, tuple[Any, ...]] = {}
    requests: list[_Request | None] = []
    for turn in turns:
        digests = turn["request"]["messages"]
        new = [digest for digest in digests if digest not in known]
        known |= zip(new, map(_compared, turn["new_messages"]), strict=True)
        tools = turn["request"]["tools"]
        names = tools if isinstance(tools, list) else None  # older recordings have a digest
        requests.append(_Request(names, [known[digest] for digest in digests]))
        if "reply" in turn:
            reply = {name: value for name, value in turn["reply"].items() if name != "spent"}
            known[_digest(json.dumps(reply).encode())] = _compared(reply)
    return requests


def _compared(message: dict[str, Any]) -> tuple[Any, ...]:
    """What of a message, as `_values` gives it, has to be as it was recorded.

    System prompts and errors may have been reworded; the planner's own messages are those that were
    recorded.
    """
    role, text = message["role"], message["text"]
    if role in ("system", "assistant"):
        return (role,)
    if text.startswith("Error: "):
        return (role, message.get("tool_call_id"), "Error")
    for before, now in REWORDED.items():
        text = text.replace(before, now)
    return (role, message.get("tool_call_id"), text, *message.get("pictures", ()))


def _values(message: Message) -> dict[str, Any]:
    """A message as JSON values, its pictures as names of files in a recording's folder."""
    values = message.to_dict()
    if message.pictures:
        values["pictures"] = [f"pictures/{_digest(one.tobytes())}.png" for one in message.pictures]
    return values


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
