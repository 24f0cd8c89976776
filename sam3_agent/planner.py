"""The seam to the brain: what the agent needs of a planner."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sam3_agent.messages import Message
from sam3_agent.tool import Tool


class Planner(Protocol):
    """Reads the conversation so far and says what to do next.

    Three attributes are optional:

    - `sees`: False for a planner that takes no pictures; without the attribute it is taken to see
      them. A planner that sees is, unless the agent gets another `verifier` or "none", the verifier
      of its own answers: with every effort but `fast`, `reply` is then also called with fresh
      conversations that are not the planner's own, from several threads at once: a system prompt
      that asks for a check, one user message with pictures, and a single tool (`judge`, `report` or
      `prefer`) to call. With `sees = False` nothing is verified. It may turn False during a run,
      when a server turns out to take no pictures.
    - `price`: what its tokens cost; None when that is not known, left out when nothing costs.
    - `settings`: what decides its replies; see `settings_of`.
    """

    @property
    def name(self) -> str:
        """The name under which `registry.planner` finds it."""

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


def sees(planner: Planner) -> bool:
    """Whether a planner takes pictures, as far as it is known; see `Planner`."""
    return bool(getattr(planner, "sees", True))
