"""Replays recordings: a recorded ask again, without the models that replied.

A replay compares each request with the recorded one, and stops when it has changed: then the
recorded reply would answer another question. What this package words itself may have been reworded
since: system prompts, descriptions of tools, errors.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sam3_agent.agent import Agent
from sam3_agent.budget import Budget
from sam3_agent.errors import DeadlineError, InputError, PlannerError
from sam3_agent.images import Pixels, load_image
from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.recording import VERSION, digest_of, message_values
from sam3_agent.review import Effort
from sam3_agent.segmenter import Segmenter
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage

REWORDED = {
    "fresh eyes checked this answer and have doubts. They may be wrong, too.": (
        "an independent check of this answer has doubts. It may be wrong, too."
    ),
    "gave no usable opinion": "gave no usable reply",
}
"""Texts of recorded requests as they were worded once, and as they are worded now."""


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
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            raise InputError(
                f"{folder} holds no recording of `sam3-agent ask --record`: {why}"
            ) from error
        self.without_pictures: set[str] = set()
        self._lock = threading.Lock()

    def take(self, name: str, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """The first unused reply to this request; PlannerError when it failed or there is none.

        name: of the planner that is asked.
        """
        request = _Request(
            [tool.name for tool in tools], [_compared(message_values(m)) for m in messages]
        )
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
            known[digest_of(json.dumps(reply).encode())] = _compared(reply)
    return requests


def _compared(message: dict[str, Any]) -> tuple[Any, ...]:
    """What of a message, as `message_values` gives it, has to be as it was recorded.

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
