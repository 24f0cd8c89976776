"""Asks a planner for one reply, checks it, and notes what it cost."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sam3_agent.budget import UsageTracker, refuse_if_stopped
from sam3_agent.errors import PlannerError, StoppedError
from sam3_agent.messages import Message
from sam3_agent.planner import Planner, checked_reply
from sam3_agent.sanitize import MAX_ARGUMENTS, replace_surrogates, shorten
from sam3_agent.tool import Tool

MAX_TEXT = 20_000
"""Characters of a reply's text that are kept; of a longer one the middle is left out."""

MAX_TOOL_NAME = 100
"""Characters of the name of a called tool that are kept."""


def ask_planner(
    planner: Planner,
    part: str,
    messages: Sequence[Message],
    tools: Iterable[Tool],
    tracker: UsageTracker,
) -> Message:
    """The reply of a planner, with encodable, bounded texts.

    part: what the tracker adds its cost to, that of a failure, too. Raises PlannerError when the
    planner fails or returns something else than a reply, StoppedError when the caller has stopped
    the question.
    """
    refuse_if_stopped()
    try:
        reply = checked_reply(planner, planner.reply(tuple(messages), tuple(tools)))
    except (PlannerError, StoppedError) as error:
        tracker.add(part, error.spent)
        raise
    tracker.add(part, reply.spent)
    return _sanitized(reply)


def _sanitized(reply: Message) -> Message:
    calls = tuple(
        replace(
            call,
            id=replace_surrogates(call.id),
            name=shorten(replace_surrogates(call.name), MAX_TOOL_NAME),
            # one more than a tool takes, so that it refuses them instead of reading a part
            arguments=replace_surrogates(call.arguments)[: MAX_ARGUMENTS + 1],
        )
        for call in reply.tool_calls
    )
    text = shorten(replace_surrogates(reply.text), MAX_TEXT, middle=True)
    return replace(reply, text=text, tool_calls=calls)
