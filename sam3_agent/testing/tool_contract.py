"""What every tool has to keep."""

import json
import re
from typing import Any

import numpy as np

from sam3_agent import Conclusion, Observation, Scene, Tool, ToolError
from sam3_agent.tool import ToolFunction, checked_tool


class ToolContract:
    """Tests of a tool: derive a class and override `tool`, `scene` and `arguments`.

    arguments: those of a call that works on the scene.
    """

    arguments: dict[str, Any]

    def tool(self) -> Tool | ToolFunction:
        """The tool, or the plain function that it is made of."""
        raise NotImplementedError

    def scene(self) -> Scene:
        """A new scene, such as `Scene(image, FakeSegmenter(...))`, with the masks that it needs."""
        raise NotImplementedError

    def test_it_has_a_name_and_a_description(self) -> None:
        tool = checked_tool(self.tool())
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", tool.name)  # what all providers take
        assert tool.description

    def test_its_schema_is_one_that_every_provider_takes(self) -> None:
        schema = json.loads(json.dumps(checked_tool(self.tool()).parameters))
        assert schema["type"] == "object"
        assert set(schema["required"]) <= schema["properties"].keys()
        words = set(re.findall(r'"([\w$]+)":', json.dumps(schema)))
        assert not words & {"$ref", "$defs", "allOf", "oneOf", "title", "default", "const"}

    def test_a_right_call_gives_text_and_pictures(self) -> None:
        result = checked_tool(self.tool()).run(self.scene(), json.dumps(self.arguments))
        assert isinstance(result, Observation | Conclusion)
        assert result.text.encode()
        for picture in result.pictures if isinstance(result, Observation) else ():
            assert picture.dtype == np.uint8
            assert picture.ndim == 3
            assert picture.shape[2] == 3

    def test_the_example_in_its_error_messages_would_be_taken(self) -> None:
        tool = checked_tool(self.tool())
        assert tool.checked(json.dumps(tool.example())) is not None

    def test_a_wrong_call_is_refused_with_a_right_one(self) -> None:
        tool = checked_tool(self.tool())
        wrong = ["{", "[1]", '{"no_such_argument": 1}', '{"a": 1, "a": 2}', "[" * 10_000]
        wrong += ["{}"] if tool.parameters["required"] else []
        wrong += [json.dumps({name: {"x": {}} for name in self.arguments})] * bool(self.arguments)
        for arguments in wrong:
            assert tool.name in _refusal(tool, self.scene(), arguments)


def _refusal(tool: Tool, scene: Scene, arguments: str) -> str:
    """Why a tool refuses a call."""
    try:
        tool.run(scene, arguments)
    except ToolError as error:
        return str(error)
    raise AssertionError(f"{tool.name} took {arguments[:80]}")
