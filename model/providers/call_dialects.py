"""How model families write tool calls in text when their server does not parse them.

A marker announces a call; what follows it has one of a few shapes. Each shape is read by one
function, whichever marker announced it, since models mix them. A reader gets the text, where to
begin, and the tools. It returns the calls and where they end; None where the text has another
shape; and an `unreadable_call` for its own shape in a form that it cannot read, since a wrong call
is worse than an error.
"""

import json
import re
from collections.abc import Sequence

from sam3_agent.model.providers.call_json import (
    BROKEN,
    MAX_SPAN,
    Attempts,
    Call,
    bare_calls,
    calls_of,
    parse_strict,
    value_at,
)
from sam3_agent.model.providers.call_markers import MARKER
from sam3_agent.model.providers.call_python import read_python
from sam3_agent.model.providers.call_reading import (
    BEFORE_JSON,
    NAME,
    Reader,
    Reading,
    call_with_json,
    skip_filler,
    tool_of,
    unreadable_call,
)
from sam3_agent.model.providers.call_tags import read_argument_pairs, read_function_tags
from sam3_agent.tool import Tool

_MARKER = re.compile(MARKER, re.IGNORECASE)
_SURE_FORM = re.compile(
    r"to=|<function=\s*[\"']?\w|<(?:\w+:)?invoke\s|<[^<>]{0,20}DSML|<\|open\|>call"
)
_NAMED = re.compile(rf"({NAME})(?::\d+)?{BEFORE_JSON}(?=[{{\[])", re.IGNORECASE)
_HARMONY = re.compile(rf"to=({NAME})(?:<\|\w+\|>|[\w\s]){{0,120}}?(?=\{{)")
GEMMA_QUOTE = r"<\|\"\|>|<escape>"
_GEMMA_CALL = re.compile(
    rf"(?:call:({NAME})\s*(?=\{{)|({NAME})\s*(?=\{{[^{{}}\"]{{0,80}}?(?:{GEMMA_QUOTE})))"
)
_GEMMA_TOKEN = re.compile(
    r'<\|"\|>(.*?)<\|"\|>|<escape>(.*?)<escape>|("(?:\\.|[^"\\])*")|([{}\[\],])|([^{}\[\],"<]+)',
    re.DOTALL,
)


def read_marked(
    text: str, start: int, tools: Sequence[Tool], attempts: Attempts
) -> tuple[list[Call], int]:
    """The calls that the marker at `start`, or the shape itself, announces, and their end."""
    # the bracket at the end of `functools[` belongs to the JSON
    marker = _MARKER.match(text, start)
    begin = skip_filler(text, marker.end() - marker[0].endswith("[") if marker else start)
    if marker and _MARKER.match(text, begin):
        return [], begin  # a marker of a section, before that of the call
    sure = bool(marker or _SURE_FORM.match(text, start))
    # the first reader whose shape it is decides; without a sure sign only for a known tool
    for read in READERS:
        found = read(text, begin, tools, attempts)
        if found is not None and (sure or any(tool_of(name, tools) for name, _ in found[0])):
            return found
    # else it is XML of another kind: <tool name="hammer">
    return unreadable_call(text, start, tools, attempts) if sure else ([], start + 1)


def read_json_shape(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Reads JSON objects with name and arguments, alone, in a row or in a list.

    Hermes, Qwen 2.5 and 3, Granite, Phi-4, Jamba, Nemotron, InternLM, Llama 3, Command R,
    Mistral's lists, MiniMax M1.
    """
    calls: list[Call] = []
    position = start
    while text[position : position + 1] in ("{", "["):
        found = value_at(text, position, attempts)
        if found is None:
            break
        value, end = found
        read = [*calls_of(value, tools, text[position:end])]
        read = read or ([] if value is BROKEN else [*bare_calls(value, tools)])
        if not read:
            break
        calls += read
        gap = re.compile(r"[\s,;]*").match(text, end)
        position = gap.end() if gap else end
    return (calls, position) if calls else None


def read_named_json(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Reads a name before the JSON of its arguments.

    Mistral ([TOOL_CALLS]look[ARGS]{...}), Kimi K2 (functions.look:0), DeepSeek V3 and R1, GLM-4.
    """
    named = _NAMED.match(text, start)
    if named is None or text[named.end()] == "[":
        return None
    return call_with_json(named[1], text, start, named.end(), tools, attempts)


def read_harmony(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Reads gpt-oss, with the special tokens or without:
    <|channel|>commentary to=functions.look <|constrain|>json<|message|>{...}.
    """
    if not text.startswith("to=", start):
        return None
    header = _HARMONY.match(text, start)
    if header is None:
        return unreadable_call(text, start, tools, attempts)
    return call_with_json(header[1], text, start, header.end(), tools, attempts)


def read_gemma_call(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Reads Gemma 4 (call:look{numbers:[1]}, strings between <|"|>) and FunctionGemma (strings
    between <escape>).
    """
    opened = _GEMMA_CALL.match(text, start)
    if opened is None:
        return None
    # the tokens are written again as JSON: strings in quotes, keys in quotes, the rest as it is
    position, depth, written = opened.end(), 0, ""
    while token := _GEMMA_TOKEN.match(text, position, start + MAX_SPAN):
        special, escaped, quoted, bracket, bare = token.groups()
        position = token.end()
        if bare:  # `key:`, `key: 3`, or a number: all that is no key must be JSON
            key, colon, value = bare.rpartition(":") if bare.endswith(":") else bare.partition(":")
            written += (
                f"{json.dumps(key.strip()) if key.strip() else ''}:{value}" if colon else bare
            )
        else:
            text_of = special if special is not None else escaped
            written += bracket or quoted or json.dumps(text_of)
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(bracket or "", 0)
        if not depth:
            break
    value = parse_strict(written)
    if not isinstance(value, dict):
        return unreadable_call(text, start, tools, attempts)
    return [(opened[1] or opened[2], json.dumps(value, ensure_ascii=False))], position


READERS: tuple[Reader, ...] = (
    read_function_tags,
    read_argument_pairs,
    read_gemma_call,
    read_harmony,
    read_python,
    read_json_shape,
    read_named_json,
)
"""In this order: an earlier shape is the more specific one."""
