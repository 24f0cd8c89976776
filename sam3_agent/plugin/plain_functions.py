"""The tools as plain functions with signatures and docstrings, for agent frameworks."""

import asyncio
import inspect
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, get_type_hints

from sam3_agent.budget import stop_requested
from sam3_agent.errors import InputError, ModelError, ToolError
from sam3_agent.plugin.result import ToolResult
from sam3_agent.plugin.result_size import fit
from sam3_agent.plugin.tool_calls import TOOLS, run_tool
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.tool import Tool

F = TypeVar("F", bound=Callable[..., Any])

RETURNS = (
    "The image's handle for further calls, the findings in words, the status, and each mask with "
    "its number, phrase, score, box and area; the status is failed if the call could not run, and "
    "the text then says why."
)


def plain_function(toolkit: Toolkit, name: str, pictures: bool) -> Callable[..., dict[str, Any]]:
    """A tool as a function whose results are JSON values; see `plugin.functions`."""
    tool = TOOLS[name]
    signature = signature_of(tool)

    def function(*args: Any, **kwargs: Any) -> dict[str, Any]:
        arguments = {**signature.bind_partial(*args).arguments, **kwargs}
        try:
            result = run_tool(toolkit, name, arguments)
        except (ToolError, InputError, ModelError) as error:
            result = failed(error)
        return _values(result, pictures)

    return _presented(function, tool, signature)


def async_function(toolkit: Toolkit, name: str, pictures: bool) -> Callable[..., Any]:
    """`plain_function` as a coroutine function: the work runs in a thread.

    Cancelling returns at once; the thread calls no model after that.
    """
    run = plain_function(toolkit, name, pictures)

    async def function(*args: Any, **kwargs: Any) -> dict[str, Any]:
        stop = threading.Event()
        before = stop_requested.set(stop)
        try:
            return await asyncio.to_thread(run, *args, **kwargs)
        finally:
            stop.set()
            stop_requested.reset(before)

    return _presented(function, TOOLS[name], signature_of(TOOLS[name]))


def failed(error: Exception) -> ToolResult:
    """The result of a call that could not run."""
    return ToolResult("", 0, 0, f"Error: {error}", status="failed")


def signature_of(tool: Tool) -> inspect.Signature:
    """The parameters of a tool with plain types: limits are in the docstring, and are checked."""
    hints = get_type_hints(tool.function)
    _, *parameters = inspect.signature(tool.function).parameters.values()
    return inspect.Signature(
        [one.replace(annotation=hints[one.name]) for one in parameters],
        return_annotation=dict[str, Any],
    )


def docstring_of(tool: Tool) -> str:
    """The description of a tool and of its parameters in Google's style."""
    properties = tool.parameters["properties"]
    lines = [f"    {name}: {schema['description']}" for name, schema in properties.items()]
    parts = [tool.description, "", "Args:", *lines, "", "Returns:", f"    {RETURNS}", ""]
    return "\n".join(parts)


def _presented(function: F, tool: Tool, signature: inspect.Signature) -> F:
    """The function with the name, signature, annotations and docstring of a tool."""
    function.__name__ = function.__qualname__ = tool.name
    function.__doc__ = docstring_of(tool)
    function.__annotations__ = {
        **{one.name: one.annotation for one in signature.parameters.values()},
        "return": signature.return_annotation,
    }
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _values(result: ToolResult, pictures: bool) -> dict[str, Any]:
    """A result as JSON values within the limits of result_size; pictures as data URLs."""
    sized = fit(result if pictures else replace(result, pictures=(), files=()), structured=True)
    values = dict(sized.structured or {})
    if pictures:
        values["pictures"] = [file.data_url for file in sized.pictures]
    return values
