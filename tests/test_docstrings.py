"""Each argument of the plugin's tools is described on its own, in schemas and docstrings alike."""

import inspect
from typing import Any, get_args

import docstring_parser
import pytest

from sam3_agent import plugin
from sam3_agent.plugin.docstrings import documented_tool, parsed
from sam3_agent.plugin.provider_schemas import Format
from sam3_agent.plugin.tool_calls import FUNCTIONS, TOOLS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: one.__name__)
def test_a_parser_of_googles_docstrings_reads_what_the_schema_says(function: Any) -> None:
    tool = TOOLS[function.__name__]
    read = docstring_parser.parse(function.__doc__, docstring_parser.DocstringStyle.GOOGLE)
    described = {one.arg_name: " ".join((one.description or "").split()) for one in read.params}
    schema = tool.parameters["properties"]
    assert list(described) == list(schema) == list(inspect.signature(function).parameters)[1:]
    for name, text in described.items():
        assert schema[name]["description"] == text
    whole = "\n\n".join(filter(None, (read.short_description, read.long_description)))
    assert tool.description == whole


@pytest.mark.parametrize("form", get_args(Format))
def test_every_argument_has_its_own_description_type_limits_and_example(form: Format) -> None:
    written: list[Any] = plugin.tools(format=form)
    declared = written[0]["function_declarations"] if form == "gemini" else written
    for one in declared:
        tool = one.get("function", one)
        assert "Example: " not in tool["description"]
        (schema,) = (value for value in tool.values() if isinstance(value, dict))
        for name, argument in schema["properties"].items():
            assert "Example: " in argument["description"], (tool["name"], name)
            assert argument["type"], (tool["name"], name)
            if argument["type"] == "array":
                assert argument["maxItems"] >= argument["minItems"], (tool["name"], name)
            if argument["type"] == "number":
                assert argument["maximum"] > argument["minimum"], (tool["name"], name)


def test_a_docstring_that_describes_other_arguments_is_refused() -> None:
    def stale(scene: Any, numbers: list[int]) -> None:
        """Count.

        Args:
            number: Of a mask,
                one of them.

        Returns:
            Nothing.
        """

    assert parsed(inspect.getdoc(stale) or "") == ("Count.", {"number": "Of a mask, one of them."})
    with pytest.raises(ValueError, match="stale describes"):
        documented_tool(stale)
