"""Makes a tool of a method, whose docstring in Google's style describes it and each argument."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from sam3_agent.tool import Tool
from sam3_agent.tool_schema import arguments_model

_ARGUMENT = re.compile(r" {4}(\w+): ")


def documented_tool(function: Callable[..., Any]) -> Tool:
    """The tool of a function, described as its docstring does before and after "Args:".

    Raises ValueError when the docstring describes other arguments than the function has.
    """
    description, arguments = parsed(inspect.getdoc(function) or "")
    names = list(inspect.signature(function).parameters)[1:]
    if list(arguments) != names:
        raise ValueError(f"the docstring of {function.__name__} describes {list(arguments)}")
    model = arguments_model(function, arguments)
    return Tool(function.__name__, description, model, function)


def parsed(docstring: str) -> tuple[str, dict[str, str]]:
    """The description in a docstring, and that of each argument in one line."""
    description, _, section = docstring.partition("\n\nArgs:\n")
    arguments: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        found = _ARGUMENT.match(line)
        if found is not None:
            name = found[1]
            arguments[name] = line[found.end() :]
        elif line.startswith(" " * 8):
            arguments[name] += " " + line.strip()
        else:
            break
    return description, arguments
