"""A chat: several questions about one image, whose masks and words stay."""

import threading
from collections.abc import Generator
from typing import TYPE_CHECKING

from sam3_agent.answer import Answer
from sam3_agent.errors import InputError
from sam3_agent.events import Event, Finished
from sam3_agent.loop import LAST_TURN, Asked
from sam3_agent.messages import Message
from sam3_agent.sanitize import shorten
from sam3_agent.scene import Scene

if TYPE_CHECKING:
    from sam3_agent.agent import Agent

MAX_REMEMBERED, MAX_EARLIER = 5, 400
"""Earlier questions that fresh eyes are told of, and characters of each and of its answer."""


class Chat:
    """Answers questions that may refer to earlier ones: "now only those on the left".

    scene: the image with every mask found so far, whose numbers stay. answers: those so far. A
    question that fails leaves the chat as it was, but for masks that were found. One question at a
    time; each has the agent's whole budget.
    """

    def __init__(self, agent: "Agent", scene: Scene) -> None:
        self.scene = scene
        self.answers: list[Answer] = []
        self._agent = agent
        self._messages: tuple[Message, ...] = ()
        self._busy = threading.Lock()

    def ask(self, query: str) -> Answer:
        """Answer the next question; raises as `Agent.ask`."""
        from sam3_agent.agent import last_answer

        return last_answer(self.stream(query))

    def stream(self, query: str) -> Generator[Event, None, None]:
        """`ask` as typed events; the last is Finished."""
        from sam3_agent.agent import checked_query

        return self._events(checked_query(query))

    def _events(self, query: str) -> Generator[Event, None, None]:
        if not self._busy.acquire(blocking=False):
            raise InputError("this chat is still answering; wait, or open another chat")
        try:
            said = [
                f"Earlier: {shorten(one.query, MAX_EARLIER)} -> {shorten(one.text, MAX_EARLIER)}\n"
                for one in self.answers[-MAX_REMEMBERED:]
            ]
            answered = self.answers[-1].numbers if self.answers else ()
            asked = Asked(self.scene, query, self._messages, answered, "".join(said))
            for event in self._agent.answering(asked):
                if isinstance(event, Finished):
                    self.answers.append(event.answer)
                    self._messages = _continued(event.answer)
                    break
                yield event
        finally:
            self._busy.release()
        yield event


def _continued(answer: Answer) -> tuple[Message, ...]:
    """A conversation as the next question finds it: with its end, and without its last turn."""
    kept = tuple(one for one in answer.messages if (one.role, one.text) != ("user", LAST_TURN))
    cut_off = answer.status == "out_of_budget"
    return (*kept, Message("assistant", answer.text)) if cut_off else kept
