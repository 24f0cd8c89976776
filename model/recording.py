"""Records the requests to planners and their replies in a folder; `replay` reads it.

    recording.json   the question, the models' names, the user's replies in between, the answer
    image.png        the image
    turns.jsonl      a line for every reply of the planner or verifier: the request's fingerprints,
                     its new messages, and the reply, or why there is none
    pictures/        every picture that the planner was shown

Nothing of the transport is kept, so no key can be. Files are replaced whole, and lines are added
whole, so that a recording that is interrupted can be replayed as far as it goes.
"""

import errno
import hashlib
import io
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from sam3_agent.agent import Agent
from sam3_agent.answer import Answer
from sam3_agent.errors import DeadlineError, InputError, PlannerError
from sam3_agent.images import Pixels
from sam3_agent.messages import Message
from sam3_agent.planner import Planner, Price, price_of, sees
from sam3_agent.sanitize import replace_surrogates
from sam3_agent.tool import Tool

logger = logging.getLogger(__name__)

VERSION = 2


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
            "effort": agent.effort.to_dict(),
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


class Recording:
    """The folder that an ask is recorded in; safe to use from several threads.

    When nothing more can be written to it, such as on a full disk, a warning is logged once, and
    the ask goes on without being recorded: its answer has been paid for.

    about: what is asked of whom, as `recording.json` keeps it.
    """

    def __init__(self, folder: Path, image: Pixels, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._about = {"version": VERSION, **about}
        self._user_replies: list[str] | None = None
        self._written: set[str] = set()
        self._lock = threading.Lock()
        self._stopped = False
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            # first, so that what was recorded here before is not taken for this ask's
            (folder / "turns.jsonl").write_text("", encoding="utf-8")
            _write(folder / "image.png", _png(image))
            self._write_about({})
        except OSError as error:
            raise InputError(f"cannot record to {folder}: {error.strerror or error}") from error

    def listening(self, ask: Callable[[str], str]) -> Callable[[str], str]:
        """`ask`, with every reply of the user written down."""
        replies = self._user_replies = []
        with self._going_on():
            self._write_about({})

        def ask_person(question: str) -> str:
            replies.append(replace_surrogates(ask(question)))
            with self._going_on():
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
        with self._lock, self._going_on():
            if self._stopped:
                return
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
                if reply.cut:
                    line["reply"]["cut"] = True
            else:
                kind = "DeadlineError" if isinstance(reply, DeadlineError) else "PlannerError"
                line["failure"] = {
                    "kind": kind,
                    "said": str(reply),
                    "tries": reply.tries,
                    "spent": asdict(reply.spent),
                }
            _add_line(self._folder / "turns.jsonl", json.dumps(line))

    def finish(self, answer: Answer) -> None:
        """Keep the answer beside what led to it."""
        with self._going_on():
            if not self._stopped:
                self._write_about({"answer": answer.to_dict()})

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Write inside; what cannot be written ends the recording, not the ask."""
        try:
            yield
        except OSError as error:
            self._stopped = True
            logger.warning(
                "the recording in %s ends here, it cannot be replayed to its end: %s",
                self._folder,
                error.strerror or error,
            )

    def _kept(self, message: Message) -> dict[str, Any]:
        """A message as JSON values, its pictures as files."""
        values = message_values(message)
        for name, picture in zip(values.get("pictures", ()), message.pictures, strict=True):
            if not (self._folder / name).exists():
                _write(self._folder / name, _png(picture))
        return values

    def _write_about(self, more: dict[str, Any]) -> None:
        text = json.dumps(self._about | {"person": self._user_replies} | more, indent=2)
        _write(self._folder / "recording.json", text.encode() + b"\n")


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


def _png(picture: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Replaces a file by one with this content, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def _add_line(path: Path, line: str) -> None:
    """Adds a line to the end of a file, whole or not at all."""
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        content = line.encode() + b"\n"
        try:
            if file.write(content) < len(content):  # the disk is full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def _fingerprint(message: Message) -> str:
    """A digest that two messages share only if they are equal."""
    pictures = (picture.tobytes() for picture in message.pictures)
    return digest_of(json.dumps(message.to_dict()).encode(), *pictures)


def message_values(message: Message) -> dict[str, Any]:
    """A message as JSON values, its pictures as names of files in a recording's folder."""
    values = message.to_dict()
    if message.pictures:
        values["pictures"] = [
            f"pictures/{digest_of(one.tobytes())}.png" for one in message.pictures
        ]
    return values


def digest_of(*parts: bytes) -> str:
    """16 hexadecimal digits of a digest of the parts in a row."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
