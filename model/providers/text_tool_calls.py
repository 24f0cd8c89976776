"""Tool calls as text, for models without native ones: the instructions, and how replies are read.

The instructions ask for one JSON object in a fenced block. Models write other things: JSON in
prose, broken JSON, the forms of their training (see `call_markers`), Python, ReAct, YAML. A reply
is read in three steps, and the first that yields calls ends it:

1. the whole reply is valid JSON;
2. `_scan` goes from left to right to the next event: a tag of reasoning (skip to its end), a marker
   or form of a call (`call_dialects`), a result (stop: the model made it up), or a bracket that may
   open JSON (`call_json`). What is read is skipped, so nothing in arguments is read twice;
3. whole lines of what is left are calls in Python, ReAct or YAML (`call_lines`).
"""

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from sam3_agent.messages import Message, ToolCall
from sam3_agent.model.providers.call_dialects import GEMMA_QUOTE, read_marked
from sam3_agent.model.providers.call_json import (
    BROKEN,
    Attempts,
    Call,
    bare_calls,
    calls_of,
    has_arguments,
    parse_strict,
    value_at,
)
from sam3_agent.model.providers.call_lines import calls_in_lines, named_before
from sam3_agent.model.providers.call_markers import MARKER
from sam3_agent.model.providers.call_reading import tool_of
from sam3_agent.model.providers.call_tags import FUNCTION_TAG, named_tag
from sam3_agent.reasoning import REASONING_END, REASONING_TAGS
from sam3_agent.tool import Tool

MAX_READ = 200_000
"""Characters; of a longer reply the end is read."""

MAX_CALLS = 64
"""Calls of one reply that are read."""

_RESULT = (
    r"^[ \t>*]*Observation[* ]*:|</?tool_response>|<\|tool_response>|<function_results>"
    r"|<\|observation\|>|<[｜|]tool[▁_]outputs?[▁_]begin[｜|]>"
)
"""How the result of a call begins: behind it a model goes on with what it made up."""


_ACTION = re.compile(r"^[ \t>*]*Action[* ]*:", re.IGNORECASE | re.MULTILINE)
_AT_END = re.compile(r"\s*\Z")


def instructions(tools: Sequence[Tool]) -> str:
    """The section of the system prompt that describes the tools and how to call them as text."""
    described = "\n\n".join(
        f"### {tool.name}\n{tool.description}\nArguments (JSON schema): "
        f"{json.dumps(tool.parameters['properties'])}"
        for tool in tools
    )
    example = ToolCall("", tools[0].name, json.dumps(tools[0].example()))
    return (
        "## Tools\nCall a tool by writing one JSON object in a fenced block, nothing else in it:\n"
        f"{format_call(example)}\n"
        "Several blocks are several calls. The results come in the next message.\n\n" + described
    )


def format_call(call: ToolCall) -> str:
    """A call as the instructions ask for it."""
    return f'```json\n{{"tool": {json.dumps(call.name)}, "arguments": {call.arguments}}}\n```'


def as_text(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation without native calls: tools in the system prompt, results by the user."""
    out = []
    names: dict[str | None, str] = {}
    for message in messages:
        if message.role == "system" and tools:
            message = replace(message, text=f"{message.text}\n\n{instructions(tools)}")
        elif message.role == "assistant":
            # ids may come again in a later turn: a result belongs to the latest
            names |= {call.id: call.name for call in message.tool_calls}
            text = message.text or "\n".join(map(format_call, message.tool_calls))
            message = replace(message, text=text, tool_calls=())
        elif message.role == "tool":
            name = names.get(message.tool_call_id, "the tool")
            message = replace(message, role="user", text=f"Result of {name}:\n{message.text}")
        out.append(message)
    return out


def read_calls(text: str, tools: Sequence[Tool]) -> list[ToolCall]:
    """The tool calls in a reply, in order; empty when there is none.

    Calls in reasoning do not count. What is plainly meant as a call and not understood is returned
    as it is written, so that the check of its arguments can say what is wrong.
    """
    text = text[-MAX_READ:]
    value = parse_strict(text)  # a reply that is JSON has no reasoning to drop
    calls = [*calls_of(value, tools)] or [*bare_calls(value, tools)]
    if not calls:
        calls, prose = _scan(text, tools)
        calls = calls or [*calls_in_lines(prose, tools)]
    return [
        ToolCall(f"text_{number}", name, arguments)
        for number, (name, arguments) in enumerate(calls[:MAX_CALLS], 1)
    ]


def _scan(text: str, tools: Sequence[Tool]) -> tuple[list[Call], str]:
    """The calls that JSON or a marker shows, and the text without reasoning."""
    calls: list[Call] = []
    prose: list[str] = []
    attempts, position = Attempts(), 0
    events = _event_pattern(tuple(tool.name for tool in tools), named_tag(tools))
    action = _ACTION.search(text)
    while len(calls) < MAX_CALLS and (event := events.search(text, position)) is not None:
        kind, start, end = str(event.lastgroup), event.start(), event.end()
        prose.append(text[position:start])
        if kind.startswith("reasoning"):
            _, closing = REASONING_TAGS[int(kind.removeprefix("reasoning"))]
            closed = re.compile(closing, re.IGNORECASE).search(text, end)
            position = closed.end() if closed else len(text)
        elif kind == "after_reasoning":  # it began in the prompt: all before was reasoning
            calls, prose, position = [], [], end
        elif kind == "result":
            # without a call before, "Observation:" is a word of the model's own text
            if calls or (action and action.start() < start):
                return calls, "".join(prose)
            position = end
        elif kind == "bracket":
            found, position = _read_bracket(text, start, tools, attempts)
            calls += found
            prose.append(text[start:position])
        # a marker in a sentence is no call, nor is one that ends the reply after calls
        elif _is_only_named(text, start, end) or (calls and _AT_END.match(text, end)):
            position = end
        else:
            found, position = read_marked(text, start, tools, attempts)
            calls += found
    return calls, "".join([*prose, text[position:]])


@functools.lru_cache(64)
def _event_pattern(names: tuple[str, ...], tag: str) -> re.Pattern[str]:
    """What a reply is searched for: reasoning, markers, forms of calls, brackets."""
    known = "|".join(map(re.escape, names)) or r"(?!)"
    begins = [f"(?P<reasoning{i}>{begin})" for i, (begin, _) in enumerate(REASONING_TAGS)]
    forms = [
        MARKER,
        FUNCTION_TAG,
        tag,
        rf"\bto=(?:functions\.|(?:{known})\b)",
        rf"\b(?:call:(?:{known})(?=\s*\{{)|(?:{known})(?=\{{[^{{}}\"]{{0,80}}(?:{GEMMA_QUOTE})))",
        rf"^[ \t>*`-]*\[(?=\s{{0,20}}(?:\w+\.)?(?:{known})\()",
    ]
    kinds = {
        "after_reasoning": REASONING_END,
        "call": "|".join(forms),
        "result": _RESULT,
        "bracket": r"[{\[]",
    }
    pattern = "|".join([*begins, *(f"(?P<{kind}>{one})" for kind, one in kinds.items())])
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def _read_bracket(
    text: str, start: int, tools: Sequence[Tool], attempts: Attempts
) -> tuple[list[Call], int]:
    """The calls of the JSON that a bracket in prose opens, if any, and where to go on."""
    found = value_at(text, start, attempts)
    if found is None:
        return [], start + 1
    value, end = found
    calls = [*calls_of(value, tools, text[start:end])]
    if value is BROKEN:
        # the bracket may be one of prose, with JSON further inside
        return calls, end if calls else start + 1
    named = named_before(text, start, value, tools)
    if named and not any(tool_of(name, tools) for name, _ in calls):
        return [named], end
    if _fills_lines(text, start, end):
        return calls or [*bare_calls(value, tools)], end
    if text[start - 1 : start] == "`" == text[end : end + 1]:  # quoted in a sentence
        return [], end
    if isinstance(value, dict) and not has_arguments(value):
        # {"tool": "hammer", "price": 3} in a sentence is no call
        calls = [call for call in calls if tool_of(call[0], tools)]
    return calls, end


def _is_only_named(text: str, start: int, end: int) -> bool:
    """Whether a marker is only named: in backticks, or as a word of a sentence."""
    if text[start - 1 : start] == "`" == text[end : end + 1]:
        return True
    rest = text[end : end + 200].partition("\n")[0]
    return bool(
        re.search(r"\w[ (\"'“]\Z", text[max(0, start - 2) : start])
        and re.match(r"[)\"'”]?[.,;:]? [a-z]", rest)
        and not re.search(r"[{\[(]|</|<[|｜]", rest)
    )


def _fills_lines(text: str, start: int, end: int) -> bool:
    """Whether nothing else stands on the lines where a piece begins and ends."""
    before = text[max(text.rfind("\n", 0, start) + 1, start - 200) : start]
    after = text[end : end + 200].partition("\n")[0]
    return not re.search(r"\w", re.sub(r"```\w*", "", before + after))
