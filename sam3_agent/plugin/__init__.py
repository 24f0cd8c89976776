"""The tools for any assistant: as schemas, as plain functions, over MCP and over REST.

import sam3_agent.plugin as plugin

plugin.tools(format="openai")  # what the model may call
plugin.call("ask_image", '{"image": "photo", "query": "the leftmost car"}',
            images={"photo": "street.jpg"})
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sam3_agent.agent import Agent
from sam3_agent.errors import InputError, ToolError
from sam3_agent.images import ImageSource
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.provider_schemas import Format, content, schemas
from sam3_agent.plugin.result import Mark, ToolResult
from sam3_agent.plugin.tool_calls import TOOLS, run_tool
from sam3_agent.plugin.toolkit import Toolkit

__all__ = ["ImageLoader", "Mark", "ToolResult", "Toolkit", "call", "content", "functions", "tools"]


def tools(format: Format = "openai") -> list[Any]:  # noqa: A002
    """The tools as the `tools` argument of a provider's SDK."""
    return schemas(format, list(TOOLS.values()))


def call(
    name: str,
    arguments: str | Mapping[str, Any],
    images: Mapping[str, ImageSource] | None = None,
    toolkit: Toolkit | None = None,
) -> ToolResult:
    """Run a tool that a model has called.

    arguments: as the model gave them, raw JSON or values. images: the pictures that the model may
    use, by name; besides these it may use handles of earlier results and https URLs, but no files.
    toolkit: by default that of an Agent with the environment's models.

    What the model did wrong comes back as a ToolResult with status "failed" that says what to do;
    ModelError is raised when the planner or segmenter fails.
    """
    toolkit = toolkit or _default_toolkit()
    try:
        return run_tool(replace(toolkit, images=images or toolkit.images), name, arguments)
    except (ToolError, InputError) as error:
        return ToolResult("", 0, 0, f"Error: {error}", status="failed")


def functions(
    images: Mapping[str, ImageSource] | None = None, toolkit: Toolkit | None = None
) -> list[Callable[..., ToolResult]]:
    """The tools as plain functions with signatures and docstrings, for agent frameworks."""
    toolkit = toolkit or _default_toolkit()
    toolkit = replace(toolkit, images=images or toolkit.images)
    return [getattr(toolkit, name) for name in TOOLS]


@functools.cache
def _default_toolkit() -> Toolkit:
    return Toolkit.of(Agent())
