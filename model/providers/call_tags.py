"""Tool calls whose name and arguments stand in XML-like tags."""

import json
import re
from collections.abc import Sequence
from typing import Any

from sam3_agent.errors import ToolError
from sam3_agent.model.providers.call_json import MAX_SPAN, Attempts
from sam3_agent.model.providers.call_reading import (
    NAME,
    Reading,
    call_with_json,
    skip_filler,
    tool_of,
    unreadable_call,
)
from sam3_agent.tool import Tool

# `<`, `</` and `>` of tags, with the names' prefixes: <minimax:invoke>, DeepSeek's DSML and Kimi
# K3's <|open|>call<|sep|>
_LT = r"<(?:\|open\|>)?(?:[｜|]DSML[｜|]\s*|[a-z]\w*:)?"
_LT_END = r"<(?:/|\|close\|>)(?:[｜|]DSML[｜|]\s*|[a-z]\w*:)?"
_GT = r"(?:>|<\|sep\|>)"

_TAGS = r"(?:function|invoke|tool|call|function_call|tool_call|tool_use)"
FUNCTION_TAG = rf"{_LT}{_TAGS}(?:\s*=\s*|\s+(?:name|tool)\s*=\s*)[\"']?"
_FUNCTION = re.compile(
    rf"{FUNCTION_TAG}({NAME})[\"']?[^<>]{{0,100}}?{_GT}"
    rf"|<invoke>\s*<tool_name>\s*({NAME})\s*</tool_name>(?:\s*<parameters>)?"
)
_PARAMETER = (
    rf"{_LT}(?:parameter|param|argument|arg)(?:\s*=\s*|\s+(?:name|key)\s*=\s*)[\"']?([\w-]+)[\"']?"
    rf"[^<>]{{0,100}}?{_GT}"
)
_PARAMETER_END = rf"{_LT_END}(?:parameter|param|argument|arg){_GT}"
_FUNCTION_END = rf"{_LT_END}(?:{_TAGS}|parameters){_GT}"
_ITEM = re.compile(r"\s*<(\w+)>([^<]*)</\1>")
_PAIR_NAME = re.compile(
    rf"({NAME})(?:\s|\\n|<tool_sep>)*(?=<(?:\w+_)?arg_key>|</(?:\w+_)?tool_call>)"
)
_PAIR = re.compile(
    r"(?:\s|\\n)*<(?:\w+_)?arg_key>([^<]{1,100})</(?:\w+_)?arg_key>(?:\s|\\n)*<(?:\w+_)?arg_value>"
)
_VALUE_END = re.compile(r"</(?:\w+_)?arg_value>")
_CALL_END = re.compile(r"(?=</(?:\w+_)?tool_call>)")


def read_function_tags(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Reads a tag with the tool's name, and in it tags of the parameters, or JSON.

    Qwen3-Coder, 3.5 and 3.6 (<function=...><parameter=...>), MiniMax M2, Anthropic and dots
    (<invoke name=...><parameter name=...>), DeepSeek V3.2 and V4 (DSML), Step, Seed-OSS, MiniCPM,
    Kimi K3, Llama 3.1 (<function=...>{...}</function>).
    """
    opened = _FUNCTION.match(text, start)
    own_tag = re.compile(named_tag(tools)).match(text, start)
    if own_tag:
        name, begin, end = own_tag[0].strip("<>"), own_tag.end(), rf"</{own_tag[0][1:]}"
    elif opened:
        name, begin, end = opened[1] or opened[2], opened.end(), _FUNCTION_END
    else:
        return None
    inner = skip_filler(text, begin)
    if text[inner : inner + 1] == "{":
        return call_with_json(name, text, start, inner, tools, attempts)
    if text[:begin].endswith("/>"):
        return [(name, "{}")], begin
    tool = tool_of(name, tools)
    found = _parameters(text, begin, tool, end)
    closed = found and re.compile(rf"\s*(?:{end}|\Z)").match(text, found[1])
    if not found or not closed or not (found[0] or closed[0].strip()):
        return unreadable_call(text, start, tools, attempts)
    return [(name, typed_arguments(tool, found[0]))], closed.end()


def _parameters(
    text: str, position: int, tool: Tool | None, function_end: str
) -> tuple[dict[str, Any], int] | None:
    """The parameters in tags from `position` on, and their end; None where one is not clear.

    A value may contain tags as text: it ends at the closing tag that another tag follows. Where
    there is none, it ends before the next line that begins with a tag, or at the function's end.
    """
    own = "|".join(tool.parameters["properties"]) if tool else r"(?!)"
    opening = rf"(?:{_PARAMETER}|<({own})>)"
    follows = rf"\s*(?:{opening}|{function_end}|\Z)"
    closing = rf"(?:{_PARAMETER_END}|</(?:{own})>)(?={follows})"
    missing = rf"(?=\n\s*(?:{opening}|{function_end}))"
    begin, first = re.compile(rf"\s*{opening}"), re.compile(f"{closing}|{missing}")
    last = re.compile(f"(?={function_end})")
    values: dict[str, Any] = {}
    while (given := begin.match(text, position)) is not None:
        key, limit = given[1] or given[2], given.end() + MAX_SPAN
        end = first.search(text, given.end(), limit) or last.search(text, given.end(), limit)
        if end is None or key in values:  # cut off in a value, or a key that comes twice
            return None
        value = text[given.end() : end.start()]
        values[key] = _plain(value)
        inside = {one[1] or one[2] for one in re.finditer(opening, value)}
        if inside & set(own.split("|")) - set(values):  # two parameters, run together
            return None
        position = end.end()
    return values, position


def _plain(value: str) -> str:
    """The text of a value, without the line breaks that Qwen puts around it, or <![CDATA[ ]]>."""
    if value.startswith("\n"):
        value = value[1:].removesuffix("\n")
    if value.strip().startswith("<![CDATA["):
        value = value.strip().removeprefix("<![CDATA[").removesuffix("]]>")
    return value


def named_tag(tools: Sequence[Tool]) -> str:
    """A pattern of a tool's name as a tag around that of a parameter: <look><numbers>..., as in
    Cline. The tool's tag alone is no call: models write <answer> around prose.
    """
    names = (
        rf"<{re.escape(tool.name)}>(?=\s*<(?:{'|'.join(tool.parameters['properties'])})>)"
        for tool in tools
        if tool.parameters["properties"]
    )
    return "|".join(names) or r"(?!)"


def read_argument_pairs(
    text: str, start: int, tools: Sequence[Tool], attempts: Attempts
) -> Reading:
    """Reads a name, then pairs of <arg_key> and <arg_value>.

    GLM 4.5 and later, Hunyuan 3, Ling 3, Spark, LongCat.
    """
    opened = _PAIR_NAME.match(text, start)
    if opened is None:
        return None
    values: dict[str, str] = {}
    position = opened.end()
    while (key := _PAIR.match(text, position)) is not None:
        end = _VALUE_END.search(text, key.end(), key.end() + MAX_SPAN)
        if end is None or _PAIR.search(text, key.end(), end.start()):  # its closing tag is missing
            end = _CALL_END.search(text, key.end(), key.end() + MAX_SPAN)
        if end is None or key[1].strip() in values:
            return unreadable_call(text, start, tools, attempts)
        values[key[1].strip()] = text[key.end() : end.start()]
        position = end.end()
    if not re.compile(r"(?:\s|\\n)*(?:</(?:\w+_)?tool_call>|\Z)").match(text, position):
        return unreadable_call(text, start, tools, attempts)
    return [(opened[1], typed_arguments(tool_of(opened[1], tools), values))], position


def typed_arguments(tool: Tool | None, values: dict[str, Any]) -> str:
    """Arguments that are all text, as JSON of the types that the tool wants."""
    properties = tool.parameters["properties"] if tool else {}
    # text keeps the word null, unless it may be left out: templates write None so
    optional = set(properties) - set(tool.parameters["required"] if tool else ())
    given = {key: one for key, one in values.items() if not (one == "null" and key in optional)}
    for key, schema in properties.items():
        value = given.get(key)
        if schema.get("type") == "array" and isinstance(value, str):
            items = _ITEM.findall(value)
            if items and not _ITEM.sub("", value).strip():
                given[key] = [text for _, text in items]
    try:
        return json.dumps(tool.fitting(given) if tool else values, ensure_ascii=False)
    except ToolError:
        return json.dumps(values, ensure_ascii=False)  # its check says what is wrong
