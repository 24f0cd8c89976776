"""Tool calls as text, for models without native ones: how they are asked for, and how read.

Asked for is one JSON object to a fenced block. Read is whatever such models really write: fences or
none, prose around, several calls, thinking before them, JSON lines, single quotes, missing or
surplus braces, other key names, bare arguments.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sam3_agent.messages import Message, ToolCall
from sam3_agent.tool import Tool

_THINKING = re.compile(
    r"<(think|thinking|thought|reasoning)\b[^>]*>.*?(</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_NAME_KEYS = ("tool", "name", "tool_name", "function", "function_name", "action")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "params", "input", "action_input")
_PYTHON_CALL = re.compile(r"(?m)^[\s`>*-]*([a-z_]+)\((.*)\)\s*`*\s*$")


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
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    for message in messages:
        if message.role == "system":
            text = f"{message.text}\n\n{instructions(tools)}"
            message = replace(message, text=text)
        elif message.role == "assistant":
            text = message.text or "\n".join(map(written, message.tool_calls))
            message = replace(message, text=text, tool_calls=())
        elif message.role == "tool":
            name = names.get(message.tool_call_id or "", "the tool")
            message = replace(message, role="user", text=f"Result of {name}:\n{message.text}")
        out.append(message)
    return out


def read_calls(text: str, tools: Sequence[Tool]) -> list[ToolCall]:
    """The tool calls in a reply, in order; empty when there is none.

    Calls inside thinking blocks do not count. A call that cannot be repaired is returned as it is
    written, so that the check of its arguments can say what is wrong.
    """
    text = _THINKING.sub(" ", text)
    calls = [call for span in _spans(text) for call in _calls_of(span, tools)]
    if not calls:
        calls = list(_python_calls(text, tools))
    return [
        ToolCall(f"text_{number}", name, arguments)
        for number, (name, arguments) in enumerate(calls, 1)
    ]


def _spans(text: str) -> Iterator[str]:
    """The outermost {...} and [...] of a text; the last may lack its end."""
    depth, start, quote, escaped = 0, 0, "", False
    for i, char in enumerate(text):
        if depth and quote:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quote:
                quote = ""
        elif depth and (char == '"' or (char == "'" and _opens_quote(text, i))):
            quote = char
        elif char in "{[":
            start = i if not depth else start
            depth += 1
        elif char in "}]" and depth:
            depth -= 1
            if not depth:
                yield text[start : i + 1]
    if depth:
        yield text[start:]


def _opens_quote(text: str, i: int) -> bool:
    """Whether the ' at i begins a string, and is no apostrophe."""
    return text[:i].rstrip()[-1:] in ("{", "[", ",", ":")


def _calls_of(span: str, tools: Sequence[Tool]) -> Iterator[tuple[str, str]]:
    """The (name, raw arguments) that a piece of JSON stands for."""
    value = _parsed(span)
    names = {tool.name for tool in tools}
    if value is None:
        for name in names:
            if re.search(rf"[\"']{re.escape(name)}[\"']", span):
                yield name, span
                return
        return
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            call = _call_of(one, names, tools)
            if call:
                yield call


def _call_of(
    value: Mapping[str, Any], names: set[str], tools: Sequence[Tool]
) -> tuple[str, str] | None:
    inner = value.get("function") or value.get("tool_call")
    if isinstance(inner, dict):
        return _call_of(inner, names, tools)
    for key in _NAME_KEYS:
        if isinstance(value.get(key), str):
            return value[key], _arguments(value, key)
    for name in names:  # {"segment": {...}}
        if len(value) == 1 and isinstance(value.get(name), dict):
            return name, json.dumps(value[name])
    fitting = [tool for tool in tools if _fits(value, tool)]
    return (fitting[0].name, json.dumps(value)) if len(fitting) == 1 else None


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


def _parsed(span: str) -> Any:
    """The JSON value of a span, repaired only when it is not valid as it stands."""
    try:
        return json.loads(span)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(json.dumps(ast.literal_eval(span)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    from json_repair import repair_json

    try:
        value = repair_json(span, return_objects=True, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) and value else None


def _python_calls(text: str, tools: Sequence[Tool]) -> Iterator[tuple[str, str]]:
    """Calls written as Python on a line of their own: segment(phrases=["dog"])."""
    for match in _PYTHON_CALL.finditer(text):
        tool = next((tool for tool in tools if tool.name == match[1]), None)
        if tool is None:
            continue
        try:
            call = ast.parse(f"f({match[2]})", mode="eval").body
            assert isinstance(call, ast.Call)
            order = list(tool.parameters["properties"])
            values = {
                name: ast.literal_eval(node) for name, node in zip(order, call.args, strict=False)
            }
            values |= {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
            yield tool.name, json.dumps(values)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
