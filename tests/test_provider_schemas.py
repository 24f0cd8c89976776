"""Tool schemas as OpenAI's strict mode, Gemini and Anthropic take them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from sam3_agent import Observation, Scene, Tool, ToolError
from sam3_agent.model.providers.gemini_format import gemini_tool
from sam3_agent.model.providers.openai_format import chat_tool
from sam3_agent.model.scripted_planner import ScriptedPlanner
from sam3_agent.plugin.provider_schemas import Format, schemas
from sam3_agent.plugin.tool_calls import TOOLS as PLUGIN_TOOLS
from sam3_agent.prompts import fill
from sam3_agent.registry import tools as agent_tools
from sam3_agent.tools.judge import JUDGE, PREFER, REPORT, Judge

Wire = dict[str, Any]

COMMON = {"type", "description", "enum", "items", "anyOf", "properties", "required"}
LIMITS = {"minItems", "maxItems", "minimum", "maximum"}
KEYWORDS = {
    "openai": {*COMMON, *LIMITS, "additionalProperties", "pattern", "format", "multipleOf"},
    "gemini": {*COMMON, *LIMITS, "additionalProperties", "format", "title", "prefixItems"},
    "anthropic": {*COMMON, *LIMITS, "additionalProperties", "pattern", "format"},
}
"""What each provider documents (OpenAI: structured outputs), without references and unions of
types. Anthropic's strict mode drops limits into descriptions itself."""

TYPES = {"string", "number", "integer", "boolean", "object", "array"}


class Corner(BaseModel):
    """A model inside the arguments, which pydantic itself would refer to."""

    x: float
    y: Annotated[float, Field(description="down", ge=0, le=100)]


def nested(
    scene: Scene,
    corners: Annotated[list[Corner], Field(description="Of the area.", max_length=4)],
    label: Annotated[
        str | None, Field(description="A name.", max_length=9, pattern="^[a-z]+$")
    ] = None,
    share: Annotated[float, Field(gt=0, lt=1, multiple_of=0.25)] = 0.5,
    mode: Literal["fast", "slow"] = "fast",
    only: list[int] | None = None,
) -> Observation:
    """A tool with all kinds of arguments."""
    return Observation("")


def every_tool() -> list[Tool]:
    """What planners, verifiers and users of the plugin are offered."""
    verifier = Judge(ScriptedPlanner([]), fill)
    return [
        *agent_tools(),
        *verifier.tools(),
        *(schema.tool() for schema in (JUDGE, REPORT, PREFER)),
        *PLUGIN_TOOLS.values(),
        Tool.from_function(nested),
    ]


def declared(kind: Format) -> Callable[[Sequence[Tool]], list[Wire]]:
    """What the plugin declares in a provider's format."""

    def declare(tools: Sequence[Tool]) -> list[Wire]:
        written = schemas(kind, tools)
        return list(written[0]["function_declarations"] if kind == "gemini" else written)

    return declare


DECLARED: dict[str, tuple[str, Callable[[Sequence[Tool]], list[Wire]]]] = {
    "OpenAIPlanner": ("openai", lambda tools: [chat_tool(tool) for tool in tools]),
    "GeminiPlanner": ("gemini", lambda tools: [gemini_tool(tool) for tool in tools]),
    "plugin openai": ("openai", declared("openai")),
    "plugin openai-responses": ("openai", declared("openai-responses")),
    "plugin gemini": ("gemini", declared("gemini")),
    "plugin anthropic": ("anthropic", declared("anthropic")),
}


def parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all schemas inside it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    for one in [*inner, *([schema["items"]] if "items" in schema else [])]:
        yield from parts(one)


@pytest.mark.parametrize("name", DECLARED)
def test_every_tool_is_declared_with_what_its_provider_takes(name: str) -> None:
    provider, declare = DECLARED[name]
    tools = every_tool()
    for tool, wire in zip(tools, declare(tools), strict=True):
        declaration = wire.get("function", wire)
        assert (declaration["name"], declaration["description"]) == (tool.name, tool.description)
        (schema,) = (value for value in declaration.values() if isinstance(value, dict))
        assert schema["type"] == "object", "Anthropic takes no union at the top"
        for part in parts(schema):
            assert set(part) <= KEYWORDS[provider], (tool.name, part)
            assert "anyOf" in part or part["type"] in TYPES, (tool.name, part)
            assert part.get("type") != "array" or "items" in part, (tool.name, part)
            assert set(part.get("required", ())) <= set(part.get("properties", ()))
        assert json.loads(json.dumps(schema)) == schema


def test_a_limit_that_a_provider_does_not_take_is_described_and_checked() -> None:
    tool = Tool.from_function(nested)
    properties = tool.parameters["properties"]
    assert properties["label"] == {
        "type": "string",
        "description": "A name; at most 9 characters; as in ^[a-z]+$",
    }
    assert properties["share"]["description"] == "more than 0; less than 1; a multiple of 0.25"
    with pytest.raises(ToolError, match="at most 9 characters"):
        tool.checked('{"corners": [], "label": "longer than nine"}')


def test_the_gemini_sdk_reads_every_schema_without_loss() -> None:
    types = pytest.importorskip("google.genai.types")
    for tool in every_tool():
        read = types.Schema.from_json_schema(
            json_schema=types.JSONSchema.model_validate(dict(tool.parameters))
        )
        assert set(read.properties or {}) == set(tool.parameters["properties"])
        assert set(read.required or ()) == set(tool.parameters["required"])
