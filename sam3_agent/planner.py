"""The planner protocol, and what a planner declares about itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from sam3_agent.abilities import declared, refuse_unfit
from sam3_agent.errors import PlannerError
from sam3_agent.messages import Message, ToolCall
from sam3_agent.tool import Tool
from sam3_agent.usage import TokenUsage


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens; cached: input that the provider had cached."""

    input: float
    cached: float
    output: float

    def cost(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars; `input_tokens` includes the cached ones, `output_tokens` the reasoning."""
        new = max(0, input_tokens - cached_tokens)
        total = new * self.input + cached_tokens * self.cached + output_tokens * self.output
        return total / 1e6


FREE = Price(0.0, 0.0, 0.0)
"""The price of a planner whose tokens cost nothing."""


@dataclass(frozen=True)
class Provider:
    """The API behind a planner class, and what a user needs for it.

    `doctor`, `--help`, README.md's table and the recorded versions are made from this.

    name: what stands before the colon in `openai:MODEL`. title: the provider, in words.
    package: the distribution that the class needs. module: the name it is imported under.
    extra: what installs it with sam3-agent; "" for a planner of another distribution.
    key_variables: environment variables of the key; the first one set counts.
    base_url_variable: the environment variable of the server's address; "" for none.
    example_model: a model's name for help and error messages.
    price_source: where the known prices come from, with the day; "" when none is known.
    """

    name: str
    title: str
    package: str
    module: str
    extra: str
    key_variables: tuple[str, ...]
    base_url_variable: str = ""
    example_model: str = "MODEL"
    price_source: str = ""


class Planner(Protocol):
    """Reads the conversation so far and replies with what to do next.

    Beside `name` and `reply` a planner may declare what is in `PlannerDefaults`.

    A planner that sees is, unless the agent gets another `verifier` or "none", the verifier of its
    own answers: with every effort but `fast`, `reply` is then also called with new conversations
    that are not the planner's own, from several threads at once: a system prompt that asks for a
    check, one user message with pictures, and a single tool (`judge`, `report` or `prefer`) to
    call.
    """

    @property
    def name(self) -> str:
        """The name under which `registry.planner` finds it."""
        ...

    def reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The next `assistant` message, normally with tool calls.

        Raises PlannerError when no reply can be had. A planner that waits or retries heeds
        `budget.deadline`.
        """
        ...


class PlannerDefaults:
    """Optional attributes of a planner, with what holds for a class that does not declare them.

    sees: whether it takes pictures, as far as is known; with False nothing is verified. It may turn
        False during a run, when a server turns out to take no pictures.
    price: what its tokens cost; None when that is not known.
    settings: what decides its replies, as JSON values for the record of a run, such as its
        temperature (None: the server's own) and the longest side of the pictures that are sent.
    provider: the API behind it, of a class that `registry` knows; None for one that needs nothing.
    """

    sees: bool = True
    price: Price | None = FREE
    settings: Mapping[str, Any] = MappingProxyType({})
    provider: Provider | None = None


_DEFAULTS = PlannerDefaults()


def sees(planner: Planner) -> bool:
    """Whether a planner takes pictures; see `PlannerDefaults`."""
    return bool(declared(planner, _DEFAULTS, "sees"))


def price_of(planner: Planner) -> Price | None:
    """What a planner's tokens cost; see `PlannerDefaults`."""
    price: Price | None = declared(planner, _DEFAULTS, "price", Price | None)
    return price


def settings_of(planner: Planner) -> dict[str, Any]:
    """What decides a planner's replies; see `PlannerDefaults`."""
    return dict(declared(planner, _DEFAULTS, "settings", Mapping))


def provider_of(planner: Planner | type[Planner]) -> Provider | None:
    """The API behind a planner or planner class; see `PlannerDefaults`."""
    provider: Provider | None = declared(planner, _DEFAULTS, "provider", Provider | None)
    return provider


def checked_planner(value: Any, role: str = "planner") -> Planner:
    """The value, if it is a planner; raises InputError with what was expected."""
    hint = f"or give the name of a {role}, such as 'offline' or 'openai:MODEL'"
    refuse_unfit(value, role, ("reply(messages, tools)",), hint)
    planner: Planner = value
    for ability in (sees, price_of):  # an attribute of another type is refused here, too
        ability(planner)
    return planner


def checked_reply(planner: Planner, reply: Any) -> Message:
    """The reply of a planner, if it is one; raises PlannerError with what was expected."""
    wrong = _wrong_in(reply)
    if wrong:
        raise PlannerError(
            f"the planner {planner.name} returned {wrong}; reply returns Message('assistant', "
            "text, tool_calls=(ToolCall(id, name, arguments),)) with arguments as JSON text"
        )
    message: Message = reply
    return message


def _wrong_in(reply: Any) -> str:
    """What is wrong with a reply; "" if nothing is."""
    if not isinstance(reply, Message):
        return f"{type(reply).__name__}, not a Message"
    if reply.role != "assistant":
        return f"a message of the role {reply.role!r}, not 'assistant'"
    if not isinstance(reply.text, str):
        return f"a message whose text is {type(reply.text).__name__}, not str"
    if not isinstance(reply.tool_calls, (tuple, list)):
        return f"tool_calls that are {type(reply.tool_calls).__name__}, not a tuple"
    if not isinstance(reply.spent, TokenUsage):
        return f"a message whose spent is {type(reply.spent).__name__}, not TokenUsage"
    for call in reply.tool_calls:
        if not isinstance(call, ToolCall):
            return f"a tool call that is {type(call).__name__}, not a ToolCall"
        for name in ("id", "name", "arguments"):
            if not isinstance(getattr(call, name), str):
                kind = type(getattr(call, name)).__name__
                return f"a ToolCall whose {name} is {kind}, not str"
    return ""
