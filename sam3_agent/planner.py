"""The seam to the brain: what the agent needs of a planner."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sam3_agent.messages import Message
from sam3_agent.tool import Tool


class Planner(Protocol):
    """Reads the conversation so far and says what to do next.

    A planner that cannot see pictures has an attribute `sees = False`, and is never asked to check
    masks; one whose calls cost money has a `price`, None when it is not known. One with `settings`
    says in them what decides its replies; see `settings_of`.
    """

    @property
    def name(self) -> str:
        """The name under which `load.planner` finds it."""

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The next `assistant` message, normally with tool calls.

        Raises PlannerError when no reply can be had. A planner that waits or retries heeds
        `usage.deadline`.
        """


def settings_of(planner: Planner) -> dict[str, Any]:
    """What of a planner decides its replies, as JSON values for the record of a run.

    Such as its temperature (None: the server's own) and the longest side of the pictures that it is
    sent.
    """
    settings: Mapping[str, Any] = getattr(planner, "settings", {})
    return dict(settings)
