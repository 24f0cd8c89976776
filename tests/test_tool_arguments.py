"""Arguments as models really send them: what can mean only one thing is taken, the rest refused."""

import json
import math
import time
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from sam3_agent import Observation, Scene, Tool, ToolError
from sam3_agent.plugin.provider_schemas import schemas
from sam3_agent.plugin.tool_calls import TOOLS as PLUGIN_TOOLS
from sam3_agent.registry import tools

TOOLS = {tool.name: tool for tool in tools()}


NUMBERS = {
    "a list as JSON text": ("[4, 5]", [4, 5]),
    "numbers as text": (["4", " 5 "], [4, 5]),
    "whole floats": ([4.0, "5.0"], [4, 5]),
    "one number": (4, [4]),
    "one float": (4.0, [4]),
    "one number as text": ("4", [4]),
    "numbers with commas": ("4,5, 6", [4, 5, 6]),
    "numbers with blanks": ("4 5", [4, 5]),
    "a tuple of Python": ("(4, 5)", [4, 5]),
    "an empty list as text": ("[]", []),
    "no text for no numbers": ("", []),
}
PHRASES = {
    "a phrase": ("red car", ["red car"]),
    "phrases as JSON text": ('["red car", "van, parked"]', ["red car", "van, parked"]),
    "phrases as Python text": ("['cup', 'it\\'s']", ["cup", "it's"]),
    "a quoted phrase": ('"red car"', ["red car"]),
    "quoted phrases": ('"cup", "van"', ["cup", "van"]),
    "JSON text in a list": (['["cup", "van"]'], ["cup", "van"]),
    "a phrase like a number": ('["7"]', ["7"]),
}
POINTS = {
    "one point": ([50, 40], [[50, 40]]),
    "one point as text": ("50, 40", [[50, 40]]),
    "points as text": ("[[50, 40], [1, 2]]", [[50, 40], [1, 2]]),
    "points as texts": (["50,40", "[1, 2]"], [[50, 40], [1, 2]]),
}
DOG = {"phrases": ["dog"]}
SINGLE = {
    "a float as text": ("segment", DOG | {"threshold": "0.3"}, DOG | {"threshold": 0.3}),
    "true as text": ("segment", DOG | {"counting": "true"}, DOG | {"counting": True}),
    "False as text": ("segment", DOG | {"counting": "False"}, DOG | {"counting": False}),
    "null": ("segment", DOG | {"threshold": None, "counting": None}, DOG),
    "the word null": ("segment", DOG | {"region": "null"}, DOG | {"region": None}),
    "a region as text": ("look", {"region": "0,0,50,50.5"}, {"region": [0, 0, 50, 50.5]}),
    "a region of texts": ("look", {"region": ["0", "0", "50", 5]}, {"region": [0, 0, 50, 5]}),
    "an example": ("segment_like", {"positive": "3"}, {"positive": [3]}),
    "examples of both kinds": (
        "segment_like",
        {"positive": ["3", "[1, 2, 3, 4]"]},
        {"positive": [3, [1, 2, 3, 4]]},
    ),
}
TAKEN = {
    **{k: ("measure", {"numbers": a}, {"numbers": b}) for k, (a, b) in NUMBERS.items()},
    **{k: ("segment", {"phrases": a}, {"phrases": b}) for k, (a, b) in PHRASES.items()},
    **{k: ("segment_at", {"points": a}, {"points": b}) for k, (a, b) in POINTS.items()},
    **SINGLE,
}


@pytest.mark.parametrize(("name", "given", "taken"), TAKEN.values(), ids=TAKEN.keys())
def test_what_can_mean_only_one_thing_is_taken(
    name: str, given: dict[str, Any], taken: dict[str, Any]
) -> None:
    for arguments in (json.dumps(given), json.dumps(json.dumps(given))):
        checked = TOOLS[name].checked(arguments)
        assert checked == taken
        assert not {type(one) for one in checked.get("numbers", ())} - {int}


REFUSED = {
    "a fraction of a mask": ("measure", {"numbers": [2.5]}, "fractional part"),
    "a fraction of a mask as text": ("measure", {"numbers": "2.5"}, "valid integer"),
    "true for a mask": ("measure", {"numbers": [True]}, "true and false are no numbers"),
    "true for one mask": ("measure", {"numbers": True}, "true and false are no numbers"),
    "true for a score": ("segment", {"phrases": ["a"], "threshold": True}, "no numbers"),
    "a range": ("measure", {"numbers": "1-3"}, "no list"),
    "a word for numbers": ("measure", {"numbers": "all"}, "no list"),
    "nested numbers": ("measure", {"numbers": [[1]]}, "a list"),
    "half a list": ("measure", {"numbers": "[1, 2"}, "begins like a list"),
    "code": ("measure", {"numbers": "[1, len('ab')]"}, "begins like a list"),
    "endless brackets": ("measure", {"numbers": "[" * 5000}, "begins like a list"),
    "one phrase or two": ("segment", {"phrases": "red car, dog"}, "one or several: give a list"),
    "an object for phrases": ("segment", {"phrases": '{"phrase": "dog"}'}, "give a list"),
    "a comma left out": ("segment", {"phrases": "['red car' 'dog']"}, "begins like a list"),
    "a bracketed word": ("segment", {"phrases": "[red car]"}, "begins like a list"),
    "numbers for phrases": ("segment", {"phrases": "[1]"}, "a string"),
    "a number for a phrase": ("segment", {"phrases": 7}, "a whole number"),
    "a word for a score": ("segment", {"phrases": ["a"], "threshold": "high"}, "valid number"),
    "infinity": ("segment", {"phrases": ["a"], "threshold": "inf"}, "finite"),
    "a large score": ("segment", {"phrases": ["a"], "threshold": 1e308}, "too large"),
    "a word for yes or no": ("segment", {"phrases": ["a"], "counting": "some"}, "boolean"),
    "a control character in JSON text": ("segment", {"phrases": '["a\\u0007"]'}, "U\\+0007"),
    "a number for text": ("answer", {"text": 3, "numbers": []}, "a whole number"),
    "null for what is needed": ("measure", {"numbers": None}, "null"),
}


@pytest.mark.parametrize(("name", "given", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_open_is_refused_with_one_line_and_an_example(
    name: str, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ToolError, match=told) as refused:
        TOOLS[name].checked(json.dumps(given))
    text = str(refused.value)
    assert len(text) < 400
    assert "\n" not in text
    example = text.rpartition(f"call it like {name}(")[2].removesuffix(")")
    assert TOOLS[name].checked(example)


def test_a_field_adds_a_description_and_limits_to_schema_and_check() -> None:
    def zoom(
        scene: Scene,
        factor: Annotated[float, Field(description="How much.", ge=1, le=8)],
        mode: Literal["fast"] = "fast",
        model_name: str | None = None,
    ) -> Observation:
        """Enlarge."""
        return Observation(f"{factor} {mode} {model_name}")

    tool = Tool.from_function(zoom)
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "factor": {"type": "number", "description": "How much.", "minimum": 1, "maximum": 8},
            "mode": {"type": "string", "enum": ["fast"]},
            "model_name": {"type": "string"},
        },
        "required": ["factor"],
    }
    assert tool.checked('{"factor": "2"}') == {"factor": 2.0}
    with pytest.raises(ToolError, match="greater than or equal to 1"):
        tool.checked('{"factor": 0.5}')


@pytest.mark.parametrize("format", ["openai", "openai-responses", "gemini", "anthropic"])
def test_schemas_hold_only_what_every_provider_takes(format: Any) -> None:  # noqa: A002
    written = json.dumps(schemas(format, [*TOOLS.values(), *PLUGIN_TOOLS.values()]))
    for word in ("$ref", "$defs", '"title"', '"default"', '"null"', '"const"', "prefixItems"):
        assert word not in written


def seconds_to_refuse(count: int) -> float:
    """CPU seconds to refuse arguments of so many keys, the last of which comes twice."""
    keys = ",".join(f'"{number:x}":1' for number in range(count))
    best = math.inf
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(ToolError, match=f"the key '{count - 1:x}' comes twice"):
            TOOLS["segment"].checked(f'{{{keys},"{count - 1:x}":2}}')
        best = min(best, time.process_time() - began)
    return best


def test_a_key_that_comes_twice_among_very_many_is_found_in_linear_time() -> None:
    # 4 times the keys: 16 times the time when each key was counted in all of them
    assert seconds_to_refuse(10_000) < 8 * seconds_to_refuse(2_500) + 0.02
