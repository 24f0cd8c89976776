"""A planner's reply as it goes into a conversation."""

from dataclasses import replace

from sam3_agent.messages import Message
from sam3_agent.sanitize import MAX_ARGUMENTS, replace_surrogates, shorten

MAX_TEXT = 20_000
"""Characters of a reply's text that are kept; of a longer one the middle is left out."""

MAX_TOOL_NAME = 100
"""Characters of the name of a called tool that are kept."""


def sanitize_reply(reply: Message) -> Message:
    """The reply with encodable, bounded texts."""
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
