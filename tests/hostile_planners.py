"""Planners that reply late or never."""

import threading
from collections.abc import Sequence
from typing import NoReturn

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
