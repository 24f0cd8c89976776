"""Replays recordings: a recorded ask again, without the models that replied.

A replay compares each request with the recorded one, and stops when it has changed: then the
recorded reply would answer another question. What this package words itself may have been reworded
since: system prompts, descriptions of tools, errors.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sam3_agent.agent import Agent
from sam3_agent.budget import Budget
from sam3_agent.errors import DeadlineError, PlannerError
from sam3_agent.images import Pixels, load_image
from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.recording import message_values
from sam3_agent.model.recording_format import (
    RecordedMessage,
    RecordedReply,
    Turn,
    read_about,
    read_turns,
    refused,
)
from sam3_agent.review import Effort
from sam3_agent.segmenter import Segmenter
from sam3_agent.tool import Tool

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
        about = read_about(folder)
        self._turns = list(read_turns(folder))
        self._requests = _requests(folder, self._turns)
        self._finished = about.answer is not None
        self.query, self.planner = about.query, about.planner
        self.verifier, self.segmenter = about.verifier, about.segmenter
        self.check_domain = about.check_domain
        replies = about.person
        self.ask_person = None if replies is None else partial(_next_reply, iter(replies))
        try:
            self.effort = Effort.from_dict(about.effort)
            # seconds passed differently then
            self.budget = Budget(**{**about.budget, "seconds": None})
        except TypeError as error:
            raise refused(folder, f"{error}; record it again") from error
        self.without_pictures: set[str] = set()
        self._lock = threading.Lock()

    def take(self, name: str, messages: Sequence[Message], tools: Sequence[Tool]) -> RecordedReply:
        """The first unused reply to this request; PlannerError when it failed or there is none.

        name: of the planner that is asked.
        """
        request = _Request(
            [tool.name for tool in tools],
            [_compared(RecordedMessage(**message_values(message))) for message in messages],
        )
        with self._lock:
            for number, (recorded, turn) in enumerate(
                zip(self._requests, self._turns, strict=True)
            ):
                if recorded is not None and request.difference(recorded) is None:
                    self._requests[number] = None
                    if turn.blind:
                        self.without_pictures.add(name)
                    return _reply_in(turn)
            for number, recorded in enumerate(self._requests, 1):
                if recorded is not None:
                    changed = request.difference(recorded)
                    raise PlannerError(
                        f"the recording no longer fits: in request {number} {changed}; "
                        "record it again"
                    )
            cut = "" if self._finished else ", as the ask was interrupted before its answer"
            raise PlannerError(
                f"the recording ends after {len(self._turns)} replies{cut}: record it again"
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
        calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in reply.tool_calls)
        return Message("assistant", reply.text, (), calls, cut=reply.cut, spent=reply.usage)


def _next_reply(replies: Iterator[str], question: str) -> str:
    reply = next(replies, None)
    if reply is None:
        raise PlannerError("the user was not asked this in the recording: record it again")
    return reply


def _reply_in(turn: Turn) -> RecordedReply:
    """The reply of a recorded turn; raises its failure."""
    if turn.reply is None:
        failure = turn.failure
        assert failure is not None  # `read_turns` refuses a turn with neither
        kind = DeadlineError if failure.kind == "DeadlineError" else PlannerError
        raise kind(failure.said, failure.tries, failure.usage)
    return turn.reply


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
                same = before[:3] == now[:3]
                return f"message {number} differs{' in its pictures' if same else ''}"
        same_length = len(recorded.messages) == len(self.messages)
        return None if same_length else "the number of messages differs"


def _requests(folder: Path, turns: Sequence[Turn]) -> "list[_Request | None]":
    """The requests of recorded turns; raises InputError where a message is missing.

    A turn names its messages by their digests, and holds those that no earlier turn holds, as
    message or as reply.
    """
    known: dict[str, tuple[Any, ...]] = {}
    requests: list[_Request | None] = []
    for number, turn in enumerate(turns, 1):
        digests = turn.request.messages
        new = [digest for digest in digests if digest not in known]
        if len(new) != len(turn.new_messages):
            raise refused(
                folder,
                f"request {number} of turns.jsonl has {len(turn.new_messages)} new messages and "
                f"names {len(new)}: lines are missing, doubled or changed; record it again",
            )
        known |= zip(new, map(_compared, turn.new_messages), strict=True)
        tools = turn.request.tools
        names = tools if isinstance(tools, list) else None  # older recordings have a digest
        requests.append(_Request(names, [known[digest] for digest in digests]))
        if turn.reply is not None:
            known[turn.digest] = _compared(turn.reply)
    return requests


def _compared(message: RecordedMessage) -> tuple[Any, ...]:
    """What of a message has to be as it was recorded.

    System prompts and errors may have been reworded; the planner's own messages are those that were
    recorded.
    """
    role, text = message.role, message.text
    if role in ("system", "assistant"):
        return (role,)
    if text.startswith("Error: "):
        return (role, message.tool_call_id, "Error")
    for before, now in REWORDED.items():
        text = text.replace(before, now)
    return (role, message.tool_call_id, text, *message.pictures)
