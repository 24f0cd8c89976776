"""Planners that reply late or never."""

import threading
from collections.abc import Sequence
from typing import NoReturn

from sam3_agent.budget import refuse_if_stopped, stop_requested
from sam3_agent.messages import Message
from sam3_agent.model.scripted_planner import calling
from sam3_agent.tool import Tool


class Blocks:
    """Blocks for ever, and knows nothing of deadlines."""

    name = "blocks"
    sees = False

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> NoReturn:
        """Never returns."""
        while True:
            threading.Event().wait()


class Waiting:
    """Answers that there is nothing, once it is released."""

    name = "waiting"
    sees = False

    def __init__(self) -> None:
        self.released = threading.Event()

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The answer."""
        assert self.released.wait(60)
        return calling(("answer", {"text": "No dog.", "numbers": []}))


class Stoppable:
    """Waits until its caller stops the question."""

    name = "stoppable"
    sees = False

    def __init__(self) -> None:
        self.asked, self.stopped = threading.Event(), threading.Event()

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """Nothing, or that nobody stopped it for a minute."""
        event = stop_requested.get()
        assert event is not None
        self.asked.set()
        if event.wait(60):
            self.stopped.set()
        refuse_if_stopped()
        return calling(("answer", {"text": "No dog.", "numbers": []}))
