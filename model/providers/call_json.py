"""JSON in the replies of models: found in prose, repaired where no word changes, read as calls.

What is valid JSON is taken as it stands; a repair may change punctuation, never words or numbers.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sam3_agent.tool import Tool, read_json, tool_named

Call: TypeAlias = tuple[str, str]
"""A tool's name and its raw arguments."""

MAX_SPAN = 20_000
"""Characters of a broken piece that is looked at."""

MAX_REPAIR = 2000
"""Characters that json_repair gets: the square of them is its time, 3 s for 20,000."""

BROKEN = object()
"""The value of what is no JSON, or whose repair would be a guess."""

_DECODER = json.JSONDecoder()
_SURE_NAME_KEYS = ("tool", "tool_name", "function", "function_name", "recipient_name")
_NAME_KEYS = (*_SURE_NAME_KEYS, "name", "action")
_NESTED_KEYS = (
    *("function", "tool_call", "function_call", "tool_calls", "calls", "tool_use", "tool_uses"),
    *("tool", "action", "actions", "command"),
)
_ARGUMENT_KEYS = (
    *("arguments", "parameters", "args", "params", "input", "action_input", "tool_input"),
    *("tool_args", "kwargs"),
)
_LIKE_JSON = re.compile(r"[{\[]\s*([\"'“‘{\[/#}]|\\\"|\w)")
_FENCE_END = re.compile(r"```|</tool|<\|/?tool|<tool_call\|>")
_SPECIAL = re.compile(r"<[|｜]|[|｜]>|<escape>")
"""Marks of a model's own form: not JSON with a few signs too many."""

_WORD = re.compile(r"\w+|\.\.\.|…")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}


@dataclass
class Attempts:
    """How many pieces of one reply are still looked at, which bounds the time it takes.

    values: pieces of valid JSON. tries: brackets that turn out to open no JSON. repairs: pieces
    that are repaired, or marked as a call and not understood.
    """

    values: int = 1000
    tries: int = 200
    repairs: int = 20


def value_at(text: str, start: int, attempts: Attempts) -> tuple[Any, int] | None:
    """The JSON value that the bracket at `start` opens, and its end; BROKEN for what is none.

    None where the bracket is one of prose, or no attempts are left.
    """
    # valid JSON ends where its decoder stops; what fails is repaired up to the closing bracket, or,
    # without one, up to the end of the fence or tag around it
    if not attempts.values:
        return None
    if attempts.tries:
        try:
            end = _DECODER.raw_decode(text, start)[1]
            attempts.values -= 1
            return parse_strict(text[start:end]), end
        except RecursionError:  # so deep are many brackets, each of which would be tried
            attempts.tries = 0
        except ValueError:
            attempts.tries -= 1
    if not attempts.repairs or not _LIKE_JSON.match(text, start):
        return None
    attempts.repairs -= 1
    closed = closing_bracket(text, start)
    if closed is None and text[start] == "[":  # a lone [ is prose, or a list without its end
        return None
    span = text[start : start + MAX_SPAN + 1] if closed is None else text[start:closed]
    span = span if closed else _FENCE_END.split(span)[0]
    return repair(span, complete=closed is not None), closed or start + len(span)


def closing_bracket(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed, one past its end; None if it is not, or far away."""
    depth, quote, escaped, before = 0, "", False, ""
    for i in range(start, min(len(text), start + MAX_SPAN)):
        char = text[i]
        if quote:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif char in '"“' or (char in "'‘" and before in "{[(,:="):  # else an apostrophe
            quote = _QUOTES[char]
        elif char in "{[(":
            depth += 1
        elif char in "}])":
            depth -= 1
            if not depth:
                return i + 1
        if not char.isspace():
            before = char
    return None


def parse_strict(text: str) -> Any:
    """The value of valid JSON; BROKEN for anything else, also for a key that comes twice."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return BROKEN


def repair(span: str, complete: bool) -> Any:
    """The value of broken JSON; BROKEN where a repair would be a guess.

    A repair, by Python's parser or json_repair, counts only if it leaves every word and number as
    it was: only quotes, commas and brackets may change.

    complete: its last bracket is there. If not, and it ends in the middle of a value or a list, the
    reply was cut off.
    """
    whole = complete or span.rstrip().endswith(("}", "]"))
    if len(span) > MAX_SPAN or not whole or _SPECIAL.search(span):
        return BROKEN
    try:
        value = json.loads(json.dumps(ast.literal_eval(span)))
        if _words(json.dumps(value, ensure_ascii=False)) == _words(span):
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    if len(span) > MAX_REPAIR:
        return BROKEN
    from json_repair import repair_json

    try:
        value = repair_json(span, return_objects=True, skip_json_loads=True)
        same = _words(json.dumps(value, ensure_ascii=False)) == _words(span)
    except (ValueError, RecursionError):
        return BROKEN
    return value if same else BROKEN


def _words(text: str) -> list[str]:
    """The words and numbers of a piece of JSON, without its punctuation."""
    words = _WORD.findall(re.sub(r"\\.", " ", text).casefold())
    return ["null" if word == "none" else word for word in words]


def calls_of(value: Any, tools: Sequence[Tool], span: str = "") -> Iterator[Call]:
    """The calls that a piece of JSON stands for and names; `span` is its text.

    Broken JSON that quotes a tool's name is a call with that text for arguments, so that the check
    of the arguments can say what is wrong.
    """
    if value is BROKEN:
        named = {tool.name: re.search(rf"[\"'“]{tool.name}[\"'”\\]", span) for tool in tools}
        found = [(match.start(), name) for name, match in named.items() if match]
        if found:
            yield min(found)[1], span
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield from _calls_in(one, tools)


def _calls_in(value: Mapping[str, Any], tools: Sequence[Tool]) -> Iterator[Call]:
    """The calls that one JSON object stands for."""
    known = {tool.name for tool in tools}
    for key in _NESTED_KEYS:
        if isinstance(value.get(key), (dict, list)) and key not in known:
            yield from calls_of(value[key], tools)
            return
    for key in _NAME_KEYS:
        name = value.get(key)
        if isinstance(name, str) and (
            key in _SURE_NAME_KEYS or tool_named(name, known) or has_arguments(value)
        ):
            yield name, _arguments(value, key)
            return
    if set(value) <= known:  # {"segment": {...}, "look": {...}}
        yield from ((name, json.dumps(one)) for name, one in value.items() if isinstance(one, dict))


def has_arguments(value: Mapping[str, Any]) -> bool:
    """Whether an object holds arguments: {"name": "Bob", "input": 3} is no call."""
    given = [value[key] for key in _ARGUMENT_KEYS if key in value]
    return any(isinstance(one, dict) or isinstance(parse_strict(str(one)), dict) for one in given)


def _arguments(value: Mapping[str, Any], name_key: str) -> str:
    for key in _ARGUMENT_KEYS:
        if key in value:
            given = value[key]
            if isinstance(given, str) and parse_strict(given) is BROKEN:
                given = repair(given, complete=given.endswith("}"))
                given = given if isinstance(given, dict) else value[key]
            return given if isinstance(given, str) else json.dumps(given)
    ignored = {name_key, "type", "id", "thought", "reasoning"}
    return json.dumps({key: one for key, one in value.items() if key not in ignored})


def bare_calls(value: Any, tools: Sequence[Tool]) -> Iterator[Call]:
    """The calls of objects without a tool's name that can only be the arguments of one tool."""
    for one in value if isinstance(value, list) else [value]:
        fitting = [tool.name for tool in tools if isinstance(one, dict) and _fits(one, tool)]
        if len(fitting) == 1:
            yield fitting[0], json.dumps(one)


def _fits(value: Mapping[str, Any], tool: Tool) -> bool:
    properties, required = tool.parameters["properties"], tool.parameters["required"]
    return bool(value) and set(value) <= set(properties) and set(required) <= set(value)
