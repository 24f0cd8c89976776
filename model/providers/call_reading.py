"""What the readers of tool calls in text share: names, fillers, calls that cannot be read."""

import json
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from sam3_agent.model.providers.call_json import MAX_SPAN, Attempts, Call, calls_of, value_at
from sam3_agent.model.providers.call_markers import MARKER
from sam3_agent.tool import Tool, tool_named

Reading: TypeAlias = tuple[list[Call], int] | None
"""The calls, and where in the text they end."""

Reader: TypeAlias = Callable[[str, int, Sequence[Tool], Attempts], Reading]

NAME = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*"
"""A tool's name, also with the name of a module before it."""

# possessive (*+): a long run of fillers without JSON behind it would be tried again and again
BEFORE_JSON = (
    r"(?:\s|\[ARGS\]|\[CALL_ID\]\w+|[*\"'`:=(\]]|```\w*|</?\w{1,30}>|<[|｜][^<>]{1,40}[|｜]>"
    r"|(?:action[ _]input|arguments?|args|parameters|params|input|json|with|tool|function)\b)*+"
)

_FILLER = re.compile(
    r"(?:\s|```\w*|<\|plugin\|>|<(?:tool_)?name>|call:(?=\w+\()|(?:json|python)\b"
    r"|function(?=<[｜|]tool)|<[｜|]tool[▁_]sep[｜|]>)*"
)
_NEXT = re.compile(
    rf"{MARKER}|</(?:\w+[:_])?(?:tool_calls?|function|invoke)>|<tool_call\|>"
    r"|<[|｜]/?tool[_▁]calls?(?:[_▁]section)?(?:[_▁]end)?[|｜]>"
)


def tool_of(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool that a model means by a name; see `tool_named`."""
    known = tool_named(name, [tool.name for tool in tools])
    return next((tool for tool in tools if tool.name == known), None)


def skip_filler(text: str, position: int) -> int:
    """The end of what may stand between a marker and its call."""
    filler = _FILLER.match(text, position)
    return filler.end() if filler else position


def unreadable_call(
    text: str, start: int, tools: Sequence[Tool], attempts: Attempts
) -> tuple[list[Call], int]:
    """The call for a piece that announces one and cannot be read, and the piece's end.

    It reaches up to the next marker. Its arguments are the piece itself, which the check of the
    arguments refuses with what was read: the model can then correct it.
    """
    attempts.repairs = max(0, attempts.repairs - 1)
    stop = _NEXT.search(text, start + 1, start + MAX_SPAN)
    end = stop.start() if stop else min(len(text), start + MAX_SPAN)
    piece = text[start:end].strip()
    words = re.findall(r"[\w-]+", piece)
    known = {tool.name for tool in tools}
    name = next((word for word in words if word in known), " ".join(piece.split())[:60])
    return [(name, piece)], end


def call_with_json(
    name: str, text: str, start: int, begin: int, tools: Sequence[Tool], attempts: Attempts
) -> Reading:
    """A call of `name` whose arguments are the JSON object at `begin`."""
    found = value_at(text, begin, attempts)
    if found is None:
        return unreadable_call(text, start, tools, attempts)
    value, end = found
    if isinstance(value, dict):
        # a name before an object that holds name and arguments says the same twice
        inner = [one for one in calls_of(value, tools) if tool_of(one[0], tools)]
        return inner or [(name, json.dumps(value, ensure_ascii=False))], end
    return [(name, text[begin:end])], end  # its check says what is wrong
