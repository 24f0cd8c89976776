"""Tools and their results in the formats of the model providers' SDKs."""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from sam3_agent.errors import InputError
from sam3_agent.plugin.result import ToolResult
from sam3_agent.plugin.result_size import fit
from sam3_agent.tool import Tool

Format: TypeAlias = Literal["openai", "openai-responses", "gemini", "anthropic"]


def schemas(format: Format, tools: Sequence[Tool]) -> list[Any]:  # noqa: A002
    """The tools as the `tools` argument of a provider's SDK."""
    if format == "openai":
        return [{"type": "function", "function": _described(tool, "parameters")} for tool in tools]
    if format == "openai-responses":
        # strict is on by default there, and refuses arguments that may be left out
        return [
            {"type": "function", **_described(tool, "parameters"), "strict": False}
            for tool in tools
        ]
    if format == "gemini":
        declared = [_described(tool, "parameters_json_schema") for tool in tools]
        return [{"function_declarations": declared}]
    if format == "anthropic":
        return [_described(tool, "input_schema") for tool in tools]
    raise _unknown(format)


def content(result: ToolResult, format: Format) -> Any:  # noqa: A002
    """The result of a model's call in a provider's format.

    openai: the text of a `tool` message, which cannot hold a picture. openai-responses: the
    `output` of a function_call_output. gemini: the arguments of a FunctionResponse (Gemini 3 and
    later read the picture in it). anthropic: the `content` of a tool_result.
    """
    sized = fit(result, pictures="off" if format == "openai" else "full")
    text, files = sized.text, sized.pictures
    if format == "openai":
        return text
    if format == "openai-responses":
        urls = [file.data_url for file in files]
        pictures = [{"type": "input_image", "image_url": url, "detail": "auto"} for url in urls]
        return [{"type": "input_text", "text": text}, *pictures]
    if format == "gemini":
        blobs = [
            {"inline_data": {"mime_type": file.media_type, "data": file.base64}} for file in files
        ]
        return {"response": {"result": text}, **({"parts": blobs} if blobs else {})}
    if format == "anthropic":
        sources = [
            {"type": "base64", "media_type": file.media_type, "data": file.base64} for file in files
        ]
        return [{"type": "text", "text": text}, *({"type": "image", "source": s} for s in sources)]
    raise _unknown(format)


def _unknown(format: str) -> InputError:  # noqa: A002
    known = ", ".join(get_args(Format))
    return InputError(f"there is no format {format!r}; choose one of {known}")


def _described(tool: Tool, parameters: str) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        parameters: json.loads(json.dumps(tool.parameters)),
    }
