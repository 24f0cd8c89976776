"""Tool calls as text, for models without native ones: how they are asked for, and how read.

Asked for is one JSON object to a fenced block. Read is whatever such models really write: fences or
none, prose around, several calls, thinking before them, JSON lines, single quotes, missing or
surplus braces, other key names, bare arguments, Python. What is valid JSON is taken as it stands; a
repair may change punctuation, never words or numbers.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sam3_agent.messages import Message, ToolCall
from sam3_agent.tool import Tool, read_json, tool_named

MAX_READ = 200_000
"""Characters; of a longer reply the end is read."""

MAX_BROKEN = 200
"""Brackets of one reply that may turn out to open no JSON."""

MAX_REPAIRS = 20
"""Broken pieces of one reply that are looked at."""

MAX_REPAIRED = 20_000
"""Characters of a broken piece that is repaired; a longer one is told to be broken."""

_THINKING = re.compile(
    r"<(think|thinking|thought|reasoning)\b[^>]*>.*?(</\1\s*>|\Z)"
    r"|\[THINK\].*?(\[/THINK\]|\Z)"
    r"|<\|channel\|>\s*analysis\b.*?(<\|end\|>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_THOUGHT_BEFORE = re.compile(r"\A.*</(think|thinking|thought|reasoning)\s*>", re.DOTALL)
_SURE_NAME_KEYS = ("tool", "tool_name", "function", "function_name")
_NAME_KEYS = (*_SURE_NAME_KEYS, "name", "action")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input", "action_input")
_PYTHON_LINE = re.compile(r"(?:print\()?(?:[a-zA-Z_]\w*\.)*([a-zA-Z_]\w*)\(.*\)")

_Call: TypeAlias = tuple[str, str]
"""A tool's name and its raw arguments."""


def instructions(tools: Sequence[Tool]) -> str:
    """What the system prompt says of the tools to a model that has no native tool calls."""
    described = "\n\n".join(
        f"### {tool.name}\n{tool.description}\nArguments (JSON schema): "
        f"{json.dumps(tool.parameters['properties'])}"
        for tool in tools
    )
    example = ToolCall("", tools[0].name, json.dumps(tools[0].example()))
    return (
        "## Tools\nCall a tool by writing one JSON object in a fenced block, nothing else in it:\n"
        f"{written(example)}\n"
        "Several blocks are several calls. The results come in the next message.\n\n" + described
    )


def written(call: ToolCall) -> str:
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
            text = message.text or "\n".join(map(written, message.tool_calls))
            message = replace(message, text=text, tool_calls=())
        elif message.role == "tool":
            name = names.get(message.tool_call_id, "the tool")
            message = replace(message, role="user", text=f"Result of {name}:\n{message.text}")
        out.append(message)
    return out


def read_calls(text: str, tools: Sequence[Tool]) -> list[ToolCall]:
    """The tool calls in a reply, in order; empty when there is none.

    Calls inside thinking blocks do not count. A call that cannot be repaired is returned as it is
    written, so that the check of its arguments can say what is wrong.
    """
    text = text[-MAX_READ:]
    calls = list(_calls_of(_strict(text), tools))  # a reply that is JSON has no thinking to drop
    if not calls:
        text = _THOUGHT_BEFORE.sub(" ", _THINKING.sub(" ", text))
        calls = list(_json_calls(text, tools)) or list(_python_calls(text, tools))
    return [
        ToolCall(f"text_{number}", name, arguments)
        for number, (name, arguments) in enumerate(calls, 1)
    ]


def _json_calls(text: str, tools: Sequence[Tool]) -> Iterator[_Call]:
    """The calls among the outermost {...} and [...] of a text, valid or broken."""
    decoder = json.JSONDecoder()
    tries, repairs, i = MAX_BROKEN, MAX_REPAIRS, 0
    while (tries or repairs) and (start := _OPENING.search(text, i)) is not None:
        i = start.start()
        if tries:
            try:
                end = decoder.raw_decode(text, i)[1]
            except RecursionError:  # so deep are many brackets, each of which would be tried
                tries = 0
            except ValueError:
                tries -= 1
            else:
                yield from _calls_of(_strict(text[i:end]), tools, text[i:end])
                i = end
                continue
        calls: list[_Call] = []
        end = i + 1
        if repairs and _LIKE_JSON.match(text, i):
            repairs -= 1
            closed = _end_of(text, i)
            if closed or text[i] == "{":  # a lone [ is prose, or a list without its end
                span = text[i:closed] if closed else _FENCE_END.split(text[i:])[0]
                calls = list(_calls_of(_repaired(span, complete=closed is not None), tools, span))
                end = (closed or len(text)) if calls else end
        yield from calls
        i = end


_OPENING = re.compile(r"[{\[]")
_LIKE_JSON = re.compile(r"[{\[]\s*([\"'{\[/#}]|\w)")
_FENCE_END = re.compile(r"```|</tool")


def _end_of(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed, one past its end; None if it is not, or far away."""
    depth, quote, escaped, before = 0, "", False, ""
    for i in range(start, min(len(text), start + MAX_REPAIRED)):
        char = text[i]
        if quote:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif char == '"' or (char == "'" and before in "{[,:"):  # any other ' is an apostrophe
            quote = char
        elif char in "{[":
            depth += 1
        elif char in "}]":
            depth -= 1
            if not depth:
                return i + 1
        if not char.isspace():
            before = char
    return None


def _strict(text: str) -> Any:
    """The value of valid JSON; _BROKEN for anything else, also for a key that comes twice."""
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _repaired(span: str, complete: bool) -> Any:
    """The value of broken JSON; _BROKEN where a repair would be a guess.

    complete: its last bracket is there. If not, and it ends in the middle of a word or a number,
    the reply was cut off.
    """
    if len(span) > MAX_REPAIRED or not (complete or span.rstrip().endswith(("}", "]", '"', "'"))):
        return _BROKEN
    try:
        value = json.loads(json.dumps(ast.literal_eval(span)))
        if _words(json.dumps(value, ensure_ascii=False)) == _words(span):
            return value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    from json_repair import repair_json

    try:
        value = repair_json(span, return_objects=True, skip_json_loads=True)
        same = _words(json.dumps(value, ensure_ascii=False)) == _words(span)
    except (ValueError, RecursionError):
        return _BROKEN
    return value if same else _BROKEN


_BROKEN = object()
_WORD = re.compile(r"\w+|\.\.\.|…")


def _words(text: str) -> list[str]:
    """The words and numbers of a piece of JSON, without its punctuation."""
    words = _WORD.findall(re.sub(r"\\.", " ", text).casefold())
    return ["null" if word == "none" else word for word in words]


def _calls_of(value: Any, tools: Sequence[Tool], span: str = "") -> Iterator[_Call]:
    """The calls that a piece of JSON stands for; `span` is its text."""
    if value is _BROKEN:
        named = {tool.name: re.search(rf"[\"']{tool.name}[\"']", span) for tool in tools}
        found = [(match.start(), name) for name, match in named.items() if match]
        if found:
            yield min(found)[1], span
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            yield from _calls_in(one, tools)


def _calls_in(value: Mapping[str, Any], tools: Sequence[Tool]) -> Iterator[_Call]:
    """The calls that one JSON object stands for."""
    for key in ("function", "tool_call", "tool_calls", "calls"):
        if isinstance(value.get(key), (dict, list)):
            yield from _calls_of(value[key], tools)
            return
    known = {tool.name for tool in tools}
    for key in _NAME_KEYS:
        name = value.get(key)
        if isinstance(name, str) and (
            key in _SURE_NAME_KEYS
            or tool_named(name, known)
            or any(argument in value for argument in _ARGUMENT_KEYS)
        ):
            yield name, _arguments(value, key)
            return
    for name in known:  # {"segment": {...}}
        if len(value) == 1 and isinstance(value.get(name), dict):
            yield name, json.dumps(value[name])
            return
    fitting = [tool.name for tool in tools if _fits(value, tool)]
    if len(fitting) == 1:
        yield fitting[0], json.dumps(value)


def _arguments(value: Mapping[str, Any], name_key: str) -> str:
    for key in _ARGUMENT_KEYS:
        if key in value:
            return value[key] if isinstance(value[key], str) else json.dumps(value[key])
    ignored = {name_key, "type", "id", "thought", "reasoning"}
    return json.dumps({key: one for key, one in value.items() if key not in ignored})


def _fits(value: Mapping[str, Any], tool: Tool) -> bool:
    """Whether an object without a tool's name can only be the arguments of this tool."""
    properties, required = tool.parameters["properties"], tool.parameters["required"]
    return bool(value) and set(value) <= set(properties) and set(required) <= set(value)


def _python_calls(text: str, tools: Sequence[Tool]) -> Iterator[_Call]:
    """Calls written as Python on a line of their own: segment(phrases=["dog"])."""
    for line in map(_bare, text.splitlines()):
        match = _PYTHON_LINE.fullmatch(line)
        tool = next((tool for tool in tools if match and tool.name == match[1]), None)
        if tool is None:
            continue
        try:
            call: ast.AST = ast.parse(line, mode="eval").body
            if isinstance(call, ast.Call) and line.startswith("print("):
                (call,) = call.args
            order = list(tool.parameters["properties"])
            if not isinstance(call, ast.Call) or len(call.args) > len(order):
                raise ValueError("not one call, or too many arguments")
            given = [*zip(order, call.args, strict=False)]
            given += [(str(one.arg), one.value) for one in call.keywords]
            values = {name: ast.literal_eval(node) for name, node in given}
            if len(values) < len(given):
                raise ValueError("an argument comes twice")
            yield tool.name, json.dumps(values)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            yield tool.name, line  # its check says what is wrong


def _bare(line: str) -> str:
    return line.strip("`>*- \t")
