"""Tool calls as Python code: [look(numbers=[1]), answer("Two.", [1, 2])]."""

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from sam3_agent.model.providers.call_json import Attempts, Call, closing_bracket
from sam3_agent.model.providers.call_reading import NAME, Reading, tool_of, unreadable_call
from sam3_agent.tool import Tool
from sam3_agent.tool_schema import refuse_joined_strings

_PYTHON = re.compile(rf"\[?\s{{0,20}}{NAME}\(")


def read_python(text: str, start: int, tools: Sequence[Tool], attempts: Attempts) -> Reading:
    """Reads Python calls, alone or in a list.

    Llama 3.2 and 4, LFM2, ToolACE ([look(numbers=[1]), answer(...)]), Gemma 3 (tool_code).
    """
    if not _PYTHON.match(text, start):
        return None
    end = closing_bracket(text, text.index("[" if text[start] == "[" else "(", start))
    if end is None:
        return unreadable_call(text, start, tools, attempts)
    source = text[start:end]
    try:
        refuse_joined_strings(source)
        tree = ast.parse(source, mode="eval").body
        nodes = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
        return [_python_call(node, tools) for node in nodes], end
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        calls, stop = unreadable_call(text, start, tools, attempts)
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
