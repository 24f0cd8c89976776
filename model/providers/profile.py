"""How a server wants to be asked, learned from what it refuses."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from sam3_agent.fork_safety import fork_safe_lock
from sam3_agent.model.providers.failures import Failure
from sam3_agent.model.providers.refusals import Refusal, pictures_allowed

logger = logging.getLogger(__name__)

LimitName: TypeAlias = Literal["max_completion_tokens", "max_tokens"]

SMALLER_SIDES = (1024, 768, 512)
"""Pixels of a picture's longest side that are tried when a server refuses a picture's size."""


@dataclass(frozen=True)
class Profile:
    """How a server wants to be asked; each refusal that names a point changes it, once.

    tool_calls: `native`, or `text` for models that have none, and for servers that know no `tool`
        role.
    layout: `turns` keeps the conversation as it was; `rebuilt` sends the system prompt and one user
        message with everything so far, for servers that refuse a user message after a tool message.
    system: whether a system prompt may be a message of its own; else it begins the user's first.
    pictures: how many a request may have at most; 0 for a model that takes none, None for any.
    pictures_in_results: whether a function response may hold pictures (Gemini 3 and later).
    max_side: pixels of a picture's longest side; None for the planner's own limit.
    limit_name: the parameter that limits the reply. refused: parameters that are not sent.
    """

    tool_calls: Literal["native", "text"] = "native"
    layout: Literal["turns", "rebuilt"] = "turns"
    system: bool = True
    pictures: int | None = None
    pictures_in_results: bool = True
    max_side: int | None = None
    limit_name: LimitName = "max_completion_tokens"
    refused: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class RequestContents:
    """What a refused request held.

    roles: those of its messages. parameters: their names. turns: whether it held more than a first
    question. pictures: their number. side: pixels of the longest side that they may have had.
    """

    roles: Collection[str]
    parameters: Collection[str]
    turns: bool
    pictures: int = 0
    side: int = 0
    pictures_in_results: bool = False


class LearnedProfile:
    """The profile of one server as learned so far, shared by all threads."""

    def __init__(self, name: str, profile: Profile) -> None:
        self.profile = profile
        self._name = name
        self._lock = fork_safe_lock()

    def learn(self, used: Profile, failure: Failure, contents: RequestContents) -> bool:
        """Change the profile by what a server refused; returns whether it is worth asking again.

        used: the profile of the refused request. When another thread has changed it since, that
        may be enough.
        """
        with self._lock:
            if self.profile is not used:
                return True
            for refusal in failure.refusals:
                changed, meaning = _changed(used, refusal, failure.numbers, contents)
                if changed != used:
                    self.profile = changed
                    logger.warning("%s %s", self._name, meaning)
                    return True
        return False


def _changed(
    profile: Profile, refusal: Refusal, numbers: Sequence[int], contents: RequestContents
) -> tuple[Profile, str]:
    """The profile that avoids a refusal, and a description of the change.

    It is the same profile when the request did not hold what the refusal is about.
    """
    if refusal in ("tools", "tool_role"):
        about = "tools" in contents.parameters if refusal == "tools" else "tool" in contents.roles
        return (
            replace(profile, tool_calls="text") if about else profile,
            "has no native tool calls: they are now asked for as text",
        )
    if refusal == "roles" and profile.layout == "turns" and contents.turns:
        return (
            replace(profile, layout="rebuilt"),
            "refuses the order of roles: sent as one message now",
        )
    if refusal in ("roles", "system") and "system" in contents.roles:
        return (
            replace(profile, system=False),
            "takes no system prompt: it is sent in the first user message now",
        )
    if refusal == "pictures_in_results" and contents.pictures_in_results:
        return (
            replace(profile, pictures_in_results=False),
            "takes no pictures in function responses: sent after them now",
        )
    if refusal in ("picture_count", "pictures") and contents.pictures:
        allowed = pictures_allowed(numbers, contents.pictures) if refusal == "picture_count" else 0
        return replace(profile, pictures=allowed), _allowed(allowed)
    if refusal == "picture_size" and contents.pictures:
        side = next((side for side in SMALLER_SIDES if side < contents.side), None)
        meaning = f"refuses the size of a picture: at most {side} pixels a side now"
        return (replace(profile, max_side=side) if side else profile), meaning
    return _without_parameter(profile, refusal, contents)


def _allowed(pictures: int) -> str:
    if pictures == 0:
        return (
            "takes no pictures: it goes on by what the tools tell in words, and verifies nothing. "
            "For answers that need pictures use a multimodal model (llama.cpp: give --mmproj)"
        )
    counted = "1 picture" if pictures == 1 else f"{pictures} pictures"
    return f"takes at most {counted} in a request: only the latest are sent now"


def _without_parameter(
    profile: Profile, refusal: Refusal, contents: RequestContents
) -> tuple[Profile, str]:
    """The profile that no longer sends a parameter, or sends it under its other name."""
    meaning = f"refuses {refusal}: no longer sent"
    if refusal not in contents.parameters:
        return profile, meaning
    refused = profile.refused | {refusal}
    if refusal in ("max_tokens", "max_completion_tokens"):
        other: LimitName = (
            "max_tokens" if refusal == "max_completion_tokens" else "max_completion_tokens"
        )
        if other in profile.refused:
            return profile, meaning
        return (
            replace(profile, limit_name=other, refused=refused),
            f"refuses {refusal}: sent as {other} now",
        )
    if refusal in ("temperature", "reasoning_effort", "seed"):
        return replace(profile, refused=refused), meaning
    return profile, meaning
