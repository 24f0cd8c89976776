"""The tools for any assistant: as schemas, as plain functions, over MCP and over REST.

import sam3_agent.plugin as plugin

plugin.tools(format="openai")  # what the model may call
plugin.call("ask_image", '{"image": "photo", "query": "the leftmost car"}',
            images={"photo": "street.jpg"})
"""

import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, overload

from sam3_agent.agent import Agent
from sam3_agent.errors import InputError, ToolError
from sam3_agent.images import ImageSource
from sam3_agent.plugin.image_loader import ImageLoader
from sam3_agent.plugin.plain_functions import async_function, failed, plain_function
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
    try:
        return run_tool(_toolkit(images, toolkit), name, arguments)
    except (ToolError, InputError) as error:
        return failed(error)


Function: TypeAlias = Callable[..., dict[str, Any]]
AsyncFunction: TypeAlias = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


@overload
def functions(
    images: Mapping[str, ImageSource] | None = None,
    toolkit: Toolkit | None = None,
    *,
    pictures: bool = False,
    asynchronous: Literal[False] = False,
) -> list[Function]: ...
@overload
def functions(
    images: Mapping[str, ImageSource] | None = None,
    toolkit: Toolkit | None = None,
    *,
    pictures: bool = False,
    asynchronous: Literal[True],
) -> list[AsyncFunction]: ...
def functions(
    images: Mapping[str, ImageSource] | None = None,
    toolkit: Toolkit | None = None,
    *,
    pictures: bool = False,
    asynchronous: bool = False,
) -> list[Function] | list[AsyncFunction]:
    """The tools as plain functions with signatures and Google-style docstrings, for frameworks.

    images, toolkit: as for `call`. Arguments are checked as in `call`, and threads may share the
    functions. Each returns JSON values, see `ToolResult.to_dict`, without the masks' pixels and
    within the limits of a result over MCP. A call that cannot run, also since the planner or
    segmenter fails, returns the status "failed" and a text that says why.
    pictures: the values also hold `pictures`, a list of JPEG files as data URLs.
    asynchronous: coroutine functions, for frameworks that call a function on their event loop.
    """
    own = _toolkit(images, toolkit)
    if asynchronous:
        return [async_function(own, name, pictures) for name in TOOLS]
    return [plain_function(own, name, pictures) for name in TOOLS]


def _toolkit(images: Mapping[str, ImageSource] | None, toolkit: Toolkit | None) -> Toolkit:
    """The toolkit, or the process's own, with the images that a caller may name."""
    toolkit = toolkit or _DEFAULT.toolkit()
    return replace(toolkit, images=images or toolkit.images)


class _Default:
    """The toolkit that calls without one share, made at the first of them; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._toolkit: Toolkit | None = None

    def toolkit(self) -> Toolkit:
        with self._lock:  # two toolkits would not know each other's handles
            self._toolkit = self._toolkit or Toolkit.of(Agent())
            return self._toolkit


_DEFAULT = _Default()
