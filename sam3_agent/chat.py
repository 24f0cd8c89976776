"""A chat: several questions about one image, whose masks and messages stay."""

import threading
from collections.abc import Callable, Generator
from typing import TypeAlias

from sam3_agent.answer import Answer
from sam3_agent.errors import InputError
from sam3_agent.events import Event, Finished, final_answer
from sam3_agent.loop import LAST_TURN
from sam3_agent.messages import Message
from sam3_agent.sanitize import shorten
from sam3_agent.scene import Scene
from sam3_agent.task import Task, checked_query

MAX_EARLIER, MAX_EARLIER_TEXT = 5, 400
"""Earlier questions that a reviewer gets, and characters of each and of its answer."""

StreamTask: TypeAlias = Callable[[Task], Generator[Event, None, None]]
"""Answers a task, such as `Agent.stream_task`."""


class Chat:
    """Answers questions that may refer to earlier ones: "now only those on the left".

    scene: the image with every mask found so far, whose numbers stay. answers: those so far. A
    question that fails leaves the chat as it was, but for masks that were found. One question at a
    time; each has the agent's whole budget.
    """

    def __init__(self, stream_task: StreamTask, scene: Scene) -> None:
        self.scene = scene
        self.answers: list[Answer] = []
        self._stream_task = stream_task
        self._messages: tuple[Message, ...] = ()
        self._busy = threading.Lock()

    def ask(self, query: str) -> Answer:
        """Answer the next question; raises as `Agent.ask`."""
        return final_answer(self.stream(query))

    def stream(self, query: str) -> Generator[Event, None, None]:
        """`ask` as typed events; the last is Finished."""
        return self._events(checked_query(query))

    def _events(self, query: str) -> Generator[Event, None, None]:
        if not self._busy.acquire(blocking=False):
            raise InputError("this chat is still answering; wait, or open another chat")
        last: list[Event] = []
        try:
            for event in self._stream_task(self._task(query)):
                if isinstance(event, Finished):
                    self.answers.append(event.answer)
                    self._messages = _continued(event.answer)
                    last.append(event)
                    break
                yield event
        finally:
            self._busy.release()
        yield from last  # only now: a finished stream does not block the next question

    def _task(self, query: str) -> Task:
        earlier = "".join(
            f"Earlier: {_shortened(one.query)} -> {_shortened(one.text)}\n"
            for one in self.answers[-MAX_EARLIER:]
        )
        return Task(self.scene, query, self._messages, earlier)


def _shortened(text: str) -> str:
    return shorten(text, MAX_EARLIER_TEXT, middle=True)


def _continued(answer: Answer) -> tuple[Message, ...]:
    """A conversation as the next question continues it: with its end, without its last turn."""
    kept = tuple(one for one in answer.messages if (one.role, one.text) != ("user", LAST_TURN))
    ended_early = answer.status == "out_of_budget"
    return (*kept, Message("assistant", answer.text)) if ended_early else kept
