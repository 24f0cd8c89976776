"""How model families write tool calls in text when their server does not parse them.

A marker announces a call; what stands behind it has one of a few shapes. Each shape is read by one
function, whichever marker announced it, since models mix them. A reader gets the text, where to
begin, and the tools; it returns the calls and where they end, None where the text has another
shape, and `unread` for its own shape in a form that is not understood: a wrong call is worse than
an error.
"""

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sam3_agent.errors import ToolError
from sam3_agent.model.providers.call_json import (
    BROKEN,
    MAX_SPAN,
    Attempts,
    Call,
    bare_calls,
    calls_of,
    end_of,
    strict,
    value_at,
)
from sam3_agent.tool import Tool, tool_named
from sam3_agent.tool_schema import refuse_joined_strings

Reading: TypeAlias = tuple[list[Call], int] | None
"""The calls, and where in the text they end."""

Reader: TypeAlias = Callable[[str, int, Sequence[Tool], Attempts], Reading]

MARKERS = {
    "<tool_call>": "Hermes, Qwen, GLM, Granite, Hunyuan, ERNIE, MiMo",
    "<tool_calls>": "Jamba, Hunyuan, MiniMax M1",
    "<tool_use>": "Anthropic's blocks as tags",
    "<TOOLCALL>": "Nemotron",
    "<function_call>": "Hermes 1, Granite 20B",
    "<functioncall>": "Glaive",
    "<function_calls>": "Anthropic's old form, and models trained on it",
    "<minimax:tool_call>": "MiniMax M2",
    "<seed:tool_call>": "Seed-OSS",
    "<longcat_tool_call>": "LongCat",
    "<dots_function_call>": "dots",
    "<｜DSML｜function_calls>": "DeepSeek V3.2",
    "<｜DSML｜tool_calls>": "DeepSeek V4",
    "<｜DSML｜ calls>": "DeepSeek V4.1",
    "<｜tool▁calls▁begin｜>": "DeepSeek V3, R1, V3.1",
    "<｜tool▁call▁begin｜>": "DeepSeek V3, R1, V3.1",
    "<｜tool_calls_begin｜>": "Step",
    "<｜tool_call_begin｜>": "Step",
    "<|tool_calls_section_begin|>": "Kimi K2",
    "<|tool_call_begin|>": "Kimi K2",
    "<|tool_call_start|>": "LFM2",
    "<|tool_call|>": "Granite 3, Phi-4-mini",
    "<|tool_calls|>": "variants of it",
    "<|tool_call>": "Gemma 4",
    "<start_function_call>": "FunctionGemma",
    "<|tools_prefix|>": "Apertus",
    "<|python_tag|>": "Llama 3.1 to 3.3",
    "<|python_start|>": "Llama 4",
    "<|action_start|>": "InternLM, Intern-S1",
    "<|START_ACTION|>": "Command R7B, Command A",
    "<|open|>tools<|sep|>": "Kimi K3",
    "[TOOL_CALLS]": "Mistral",
    "functools[": "Phi-4",
}
"""What announces a call, and which models write it."""

NAME = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*"
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
_SURE_FORM = re.compile(
    r"to=|<function=\s*[\"']?\w|<(?:\w+:)?invoke\s|<[^<>]{0,20}DSML|<\|open\|>call"
)
_ITEM = re.compile(r"\s*<(\w+)>([^<]*)</\1>")
_PAIR_NAME = re.compile(
    rf"({NAME})(?:\s|\\n|<tool_sep>)*(?=<(?:\w+_)?arg_key>|</(?:\w+_)?tool_call>)"
)
_PAIR = re.compile(
    r"(?:\s|\\n)*<(?:\w+_)?arg_key>([^<]{1,100})</(?:\w+_)?arg_key>(?:\s|\\n)*<(?:\w+_)?arg_value>"
)
_VALUE_END = re.compile(r"</(?:\w+_)?arg_value>")
_CALL_END = re.compile(r"(?=</(?:\w+_)?tool_call>)")
BEFORE_JSON = (
    r"(?:\s|\[ARGS\]|\[CALL_ID\]\w+|[*\"'`:=(\]]|```\w*|</?\w{1,30}>|<[|｜][^<>]{1,40}[|｜]>"
    r"|(?:action[ _]input|arguments?|args|parameters|params|input|json|with|tool|function)\b)*+"
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
_PYTHON = re.compile(rf"\[?\s{{0,20}}{NAME}\(")
_FILLER = re.compile(
    r"(?:\s|```\w*|<\|plugin\|>|<(?:tool_)?name>|call:(?=\w+\()|(?:json|python)\b"
    r"|function(?=<[｜|]tool)|<[｜|]tool[▁_]sep[｜|]>)*"
)


def read_marked(
    text: str, start: int, tools: Sequence[Tool], attempts: Attempts
) -> tuple[list[Call], int]:
    """The calls that the marker at `start`, or the shape itself, announces, and their end.

    A marker whose call is not understood gives a call whose check says what was read.
    """
    marker = _MARKER.match(text, start)
    begin = _filled(text, marker.end() - marker[0].endswith("[") if marker else start)
    if marker and _MARKER.match(text, begin):
        return [], begin  # a marker of a section, before that of the call
    sure = bool(marker or _SURE_FORM.match(text, start))
    for read in READERS:
        found = read(text, begin, tools, attempts)
        if found is not None and (sure or any(tool_of(name, tools) for name, _ in found[0])):
            return found
    # else it is XML of another kind: <tool name="hammer">
    return unread(text, start, tools, attempts) if sure else ([], start + 1)


def _filled(text: str, position: int) -> int:
    """Where what may stand between a marker and its call ends."""
    filler = _FILLER.match(text, position)
    return filler.end() if filler else position


def unread(
    text: str, start: int, tools: Sequence[Tool], attempts: Attempts
) -> tuple[list[Call], int]:
    """A piece that announces a call and is not understood, up to the next marker."""
    attempts.repairs = max(0, attempts.repairs - 1)
    stop = _NEXT.search(text, start + 1, start + MAX_SPAN)
    end = stop.start() if stop else min(len(text), start + MAX_SPAN)
    piece = text[start:end].strip()
    words = re.findall(r"[\w-]+", piece)
    known = {tool.name for tool in tools}
    name = next((word for word in words if word in known), " ".join(piece.split())[:60])
    # a piece that begins with a marker is no JSON, so that its check cannot take it
    return [(name, piece)], end


def read_json_shape(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Hermes, Qwen 2.5 and 3, Granite, Phi-4, Jamba, Nemotron, InternLM, Llama 3, Command R,
    Mistral's lists, MiniMax M1: objects with name and arguments, alone, in a row or in a list.
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
    """Mistral ([TOOL_CALLS]look[ARGS]{...}), Kimi K2 (functions.look:0), DeepSeek V3 and R1, GLM-4:
    the name before the JSON of its arguments.
    """
    named = _NAMED.match(text, start)
    if named is None or text[named.end()] == "[":
        return None
    return _with_json(named[1], text, start, named.end(), tools, attempts)


def _with_json(
    name: str, text: str, start: int, begin: int, tools: Sequence[Tool], attempts: Attempts
) -> Reading:
    """A call of `name` whose arguments are the JSON object at `begin`."""
    found = value_at(text, begin, attempts)
    if found is None:
        return unread(text, start, tools, attempts)
    value, end = found
    if isinstance(value, dict):
        # a name before an object that holds name and arguments says the same twice
        inner = [one for one in calls_of(value, tools) if tool_of(one[0], tools)]
        return inner or [(name, json.dumps(value, ensure_ascii=False))], end
    return [(name, text[begin:end])], end  # its check says what is wrong


def read_harmony(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """gpt-oss: <|channel|>commentary to=functions.look <|constrain|>json<|message|>{...}, with the
    special tokens or without.
    """
    if not text.startswith("to=", start):
        return None
    header = _HARMONY.match(text, start)
    if header is None:
        return unread(text, start, tools, attempts)
    return _with_json(header[1], text, start, header.end(), tools, attempts)


def read_function_tags(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Qwen3-Coder, 3.5 and 3.6 (<function=...><parameter=...>), MiniMax M2, Anthropic and dots
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
    inner = _filled(text, begin)
    if text[inner : inner + 1] == "{":
        return _with_json(name, text, start, inner, tools, attempts)
    if text[:begin].endswith("/>"):
        return [(name, "{}")], begin
    tool = tool_of(name, tools)
    found = _parameters(text, begin, tool, end)
    closed = found and re.compile(rf"\s*(?:{end}|\Z)").match(text, found[1])
    if not found or not closed or not (found[0] or closed[0].strip()):
        return unread(text, start, tools, attempts)
    return [(name, typed(tool, found[0]))], closed.end()


def _parameters(
    text: str, position: int, tool: Tool | None, function_end: str
) -> tuple[dict[str, Any], int] | None:
    """The parameters in tags from `position` on, and their end; None where one is not clear.

    A value may speak of tags: its end is the closing tag that another tag follows. Where it has
    none, the next line that begins with a tag ends it, or the function's end.
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
    """What finds a tool's name as a tag around an argument's: <look><numbers>..., as Cline asks.

    The tag alone is none: models write <answer> around words.
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
    """GLM 4.5 and later, Hunyuan 3, Ling 3, Spark, LongCat: the name, then <arg_key> and
    <arg_value>.
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
            return unread(text, start, tools, attempts)
        values[key[1].strip()] = text[key.end() : end.start()]
        position = end.end()
    if not re.compile(r"(?:\s|\\n)*(?:</(?:\w+_)?tool_call>|\Z)").match(text, position):
        return unread(text, start, tools, attempts)
    return [(opened[1], typed(tool_of(opened[1], tools), values))], position


def typed(tool: Tool | None, values: dict[str, Any]) -> str:
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


def read_gemma_call(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Gemma 4 (call:look{numbers:[1]}, strings between <|"|>), FunctionGemma (between <escape>)."""
    opened = _GEMMA_CALL.match(text, start)
    if opened is None:
        return None
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
    value = strict(written)
    if not isinstance(value, dict):
        return unread(text, start, tools, attempts)
    return [(opened[1] or opened[2], json.dumps(value, ensure_ascii=False))], position


def read_python(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Llama 3.2 and 4, LFM2, ToolACE ([look(numbers=[1]), answer(...)]), Gemma 3 (tool_code)."""
    if not _PYTHON.match(text, start):
        return None
    end = end_of(text, text.index("[" if text[start] == "[" else "(", start))
    if end is None:
        return unread(text, start, tools, attempts)
    source = text[start:end]
    try:
        refuse_joined_strings(source)
        tree = ast.parse(source, mode="eval").body
        nodes = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
        return [_python_call(node, tools) for node in nodes], end
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        calls, stop = unread(text, start, tools, attempts)
        return calls, max(end, stop)


def _python_call(node: ast.AST, tools: Sequence[Tool]) -> Call:
    """A call as Python writes it; ValueError for anything but names and literals."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
        (node,) = node.args
    if not isinstance(node, ast.Call):
        raise ValueError("it is no call")
    name = ast.unparse(node.func).removesuffix(".call")  # Llama 3.1: segment.call(...)
    tool = tool_of(name, tools)
    order = list(tool.parameters["properties"]) if tool else []
    if len(node.args) > len(order):
        raise ValueError("too many arguments")
    given = [*zip(order, node.args, strict=False)]
    given += [(str(one.arg), one.value) for one in node.keywords]
    values = {key: _literal(value) for key, value in given}
    if len(values) < len(given):
        raise ValueError("an argument comes twice")
    if len(node.args) == 1 and isinstance(node.args[0], ast.Dict):  # look({"numbers": [1]})
        values = _literal(node.args[0]) | {
            str(one.arg): values[str(one.arg)] for one in node.keywords
        }
    return tool.name if tool else name, json.dumps(values, ensure_ascii=False)


def _literal(node: ast.AST) -> Any:
    """The value of a literal, in which JSON's true, false and null may stand."""
    words = {"true": True, "false": False, "null": None}
    for one in ast.walk(node):
        for field, child in ast.iter_fields(one):
            if isinstance(child, ast.Name) and child.id in words:
                setattr(one, field, ast.Constant(words[child.id]))
    if isinstance(node, ast.Name) and node.id in words:
        return words[node.id]
    return ast.literal_eval(node)


READERS: tuple[Reader, ...] = (
    read_function_tags,
    read_argument_pairs,
    read_gemma_call,
    read_harmony,
    read_python,
    read_json_shape,
    read_named_json,
)
"""In this order: an earlier shape is the more particular one."""

# some write the marks of DeepSeek and Step with the signs of a keyboard
MARKER = "|".join(
    re.escape(one).replace("｜", "[｜|]").replace("▁", "[▁_]").replace("\\|", "[｜|]")
    for one in MARKERS
)
_MARKER = re.compile(MARKER, re.IGNORECASE)
_NEXT = re.compile(
    rf"{MARKER}|</(?:\w+[:_])?(?:tool_calls?|function|invoke)>|<tool_call\|>"
    r"|<[|｜]/?tool[_▁]calls?(?:[_▁]section)?(?:[_▁]end)?[|｜]>"
)


def tool_of(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool that a model means by a name; see `tool_named`."""
    known = tool_named(name, [tool.name for tool in tools])
    return next((tool for tool in tools if tool.name == known), None)
