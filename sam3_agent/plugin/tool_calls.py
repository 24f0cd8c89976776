"""Runs tool calls by name with unchecked arguments, for Python, MCP and REST alike."""

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sam3_agent.errors import ToolError
from sam3_agent.events import Event, PlannerReplied, ToolFinished, ToolStarted, TurnStarted
from sam3_agent.plugin.docstrings import documented_tool
from sam3_agent.plugin.error_responses import call_errors
from sam3_agent.plugin.result import ToolResult
from sam3_agent.plugin.toolkit import Toolkit
from sam3_agent.plugin.work_queue import Report, WorkQueue
from sam3_agent.sanitize import MAX_ARGUMENTS, one_line, shorten
from sam3_agent.tool import tool_named

T = TypeVar("T")

FUNCTIONS: tuple[Callable[..., ToolResult], ...] = (
    Toolkit.ask_image,
    Toolkit.segment,
    Toolkit.refine,
    Toolkit.look,
    Toolkit.measure,
    Toolkit.get_masks,
)

TOOLS = {tool.name: tool for tool in map(documented_tool, FUNCTIONS)}

MAX_LINE = 200
"""Characters of a progress line."""


def run_tool(toolkit: Toolkit, name: str, arguments: str | Mapping[str, Any]) -> ToolResult:
    """The result of a call; raises ToolError or InputError with what the caller did wrong.

    arguments: raw JSON or values; an `image` may also be the content of a file.
    """
    known = tool_named(name, TOOLS)
    if known is None:
        raise ToolError(
            f"there is no tool {shorten(name, 80)!r}; the tools are: {', '.join(TOOLS)}"
        )
    tool = TOOLS[known]
    if isinstance(arguments, str):
        checked = tool.checked(arguments)
    else:
        _check_length(arguments)
        image = arguments.get("image")
        if isinstance(image, bytes):
            arguments = {**arguments, "image": toolkit.session(image).handle}
        checked = tool.fitting(arguments)
    result: ToolResult = getattr(toolkit, known)(**checked)
    return result


def _check_length(arguments: Mapping[str, Any]) -> None:
    """Raises ToolError for long or deep arguments; the image has a limit of its own."""
    rest = {name: value for name, value in arguments.items() if name != "image"}
    try:
        length = len(json.dumps(rest, skipkeys=True, default=lambda value: ""))
    except (ValueError, RecursionError) as error:
        raise ToolError("the arguments are nested too deeply") from error
    if length > MAX_ARGUMENTS:
        raise ToolError(
            f"the arguments beside the image have more than {MAX_ARGUMENTS:,} characters"
        )


async def stream_tool(
    queue: WorkQueue,
    toolkit: Toolkit,
    name: str,
    arguments: Callable[[], Mapping[str, Any]],
    render: Callable[[ToolResult], T],
) -> AsyncGenerator[str | T, None]:
    """The progress lines of a call that runs in the queue, at the end its rendered result.

    arguments, render: called in the worker's thread, since parsing and encoding may take long.
    Raises CallError.
    """

    def work(report: Report) -> T:
        watched = replace(toolkit, watch=lambda event: report(_progress(event)))
        return render(run_tool(watched, name, arguments()))

    with call_errors():
        async with contextlib.aclosing(queue.stream(work)) as steps:
            async for step in steps:
                if step is not None:
                    yield step


def _progress(event: Event) -> str | None:
    """One line for an event of an ask; None for those that say nothing new."""
    match event:
        case TurnStarted():
            return f"turn {event.turn} of {event.max_turns}"
        case ToolStarted():
            return one_line(f"{event.call.name} {event.call.arguments}", MAX_LINE)
        case ToolFinished():
            return one_line(event.message.text, MAX_LINE)
        case PlannerReplied():
            return one_line(event.message.text, MAX_LINE) or None
    return None
