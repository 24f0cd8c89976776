"""Tool calls without a marker: a name before JSON, ReAct, Python on lines of its own, YAML."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from sam3_agent.model.providers.call_json import Attempts, Call, closing_bracket
from sam3_agent.model.providers.call_python import read_python
from sam3_agent.model.providers.call_reading import BEFORE_JSON, NAME, tool_of
from sam3_agent.model.providers.call_tags import typed_arguments
from sam3_agent.tool import Tool

MAX_BEFORE = 160
"""Characters before a bracket in which a name is looked for."""

MAX_YAML = 4000

_LABELLED = re.compile(
    rf"^[\s*>#-]*(?:action|tool(?:[ _]name)?|function(?:[ _]name)?)[\"'*` ]*[:=][\"'*` ]*({NAME})"
    rf"(?::\d+)?{BEFORE_JSON}\Z",
    re.IGNORECASE | re.MULTILINE,
)
_ACTION = re.compile(
    rf"^[ \t>*]*Action[* ]*:[* ]*`?({NAME})`?"
    r"(?:\[(.*)\]|[* ]*\n[\s>*]*Action[ _]Input[* ]*:[* ]*(.*))",
    re.IGNORECASE | re.MULTILINE,
)
_YAML = re.compile(
    r"^[ \t]*(?:- )?\w+[ \t]*:[^\n:]{0,80}\n(?:[ \t]*(?:- .*|[\w-]+[ \t]*:.*)(?:\n|\Z))+",
    re.MULTILINE,
)


def named_before(text: str, start: int, value: Any, tools: Sequence[Tool]) -> Call | None:
    """The call of the tool that is named right before its arguments: look {"numbers": [1]}.

    Without a label such as "Action:" the name may be a word of prose ("the answer: {...}"): the
    object must then have nothing but arguments of this tool.
    """
    if not isinstance(value, dict):
        return None
    before = text[max(0, start - MAX_BEFORE) : start]
    arguments = json.dumps(value, ensure_ascii=False)
    labelled = _LABELLED.search(before)
    if labelled:
        return labelled[1], arguments
    known = "|".join(re.escape(tool.name) for tool in tools)
    named = (
        re.search(rf"(?<![\w-])({known})(?::\d+)?{BEFORE_JSON}\Z", before, re.I) if known else None
    )
    tool = tool_of(named[1], tools) if named else None
    if tool and value and set(value) <= set(tool.parameters["properties"]):
        return tool.name, arguments
    return None


def calls_in_lines(text: str, tools: Sequence[Tool]) -> Iterator[Call]:
    """The calls that whole lines of a reply are."""
    for read in (_python_lines, _react, _yaml):
        calls = [*read(text, tools)]
        if calls:
            yield from calls
            return


def _python_lines(text: str, tools: Sequence[Tool]) -> Iterator[Call]:
    """segment(phrases=["dog"]), also over several lines, printed, or with a result's name."""
    known = "|".join(re.escape(tool.name) for tool in tools) or r"(?!)"
    begin = re.compile(
        r"^[ \t>*`-]*(?:Action[ *]*:[ *`]*)?(?:\w+ *= *)?(?:print\()?(?:[a-zA-Z_]\w*\.)*"
        rf"(?=(?:{known})\()",
        re.MULTILINE,
    )
    attempts, position = Attempts(), 0
    while attempts.repairs and (line := begin.search(text, position)) is not None:
        attempts.repairs -= 1
        start = line.end()
        position = closing_bracket(text, text.index("(", start)) or start + 1
        found = read_python(text, start, tools, attempts)
        if found is None or position == start + 1:  # without its end it is no call
            continue
        rest = text[position:].partition("\n")[0].rstrip("`* \t")
        if not rest.strip(");.") or rest.lstrip().startswith("#"):
            yield from found[0]
        elif rest.endswith(")"):
            # more than a call: 'look([1]) + look([2])'; its check says what is wrong
            position += len(rest)
            yield text[start : text.index("(", start)], text[start:position]


def _react(text: str, tools: Sequence[Tool]) -> Iterator[Call]:
    """ReAct, where the input is no JSON object: Action: segment, Action Input: red car."""
    for action in _ACTION.finditer(text):
        name, given = action[1], (action[2] or action[3] or "").strip().strip("`")
        tool = tool_of(name, tools)
        needed = tool.parameters["required"] if tool else []
        if given in ("", "None", "null", "{}"):
            yield name, "{}"
        elif tool and len(needed) == 1:
            yield name, typed_arguments(tool, {needed[0]: given})
        else:
            yield name, given


def _yaml(text: str, tools: Sequence[Tool]) -> Iterator[Call]:
    """`tool: segment`, then `arguments:` and the arguments, each a line or a list of lines."""
    import yaml

    known = re.compile("|".join(rf"\b{re.escape(tool.name)}\b" for tool in tools) or r"(?!)")
    for block in _YAML.finditer(text):
        written = block[0]
        if len(written) > MAX_YAML or not known.search(written) or re.search(r"[&*]\w", written):
            continue  # with & and * a short text stands for an endless value
        try:
            # all as text, which the tool's check reads: in YAML "no" is false, and 1:30 is 90
            value = yaml.load(written, yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError):
            continue
        value = value.get("tool_calls", value) if isinstance(value, dict) else value
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _yaml_call(one, tools)


def _yaml_call(value: dict[str, Any], tools: Sequence[Tool]) -> Iterator[Call]:
    for key in _NAMES:
        tool = tool_of(value[key], tools) if isinstance(value.get(key), str) else None
        if tool:
            rest = {name: one for name, one in value.items() if name != key}
            nested = [rest[name] for name in _ARGUMENTS if isinstance(rest.get(name), dict)]
            yield tool.name, typed_arguments(tool, nested[0] if nested else rest)
            return
    for key, given in value.items():  # segment: {phrases: ...}
        tool = tool_of(key, tools)
        if tool and isinstance(given, dict) and set(given) <= set(tool.parameters["properties"]):
            yield tool.name, typed_arguments(tool, given)


_NAMES = ("tool", "tool_name", "function", "name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "input")
