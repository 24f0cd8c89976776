"""A tool: a plain function of (scene, ...) whose signature becomes a model of its arguments."""

import functools
import inspect
import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sam3_agent.errors import InputError, ToolError
from sam3_agent.images import Pixels
from sam3_agent.mentions import Mention
from sam3_agent.observations import Findings
from sam3_agent.sanitize import MAX_ARGUMENTS, shorten
from sam3_agent.scene import Scene

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


@dataclass(frozen=True, eq=False)
class Observation:
    """What a planner gets back from a tool: words, pictures, and what the words say as values.

    summary: the words without a line for each mask, for callers who list the masks themselves;
    None where they are the same.
    """

    text: str
    pictures: tuple[Pixels, ...] = ()
    findings: Findings | None = None
    summary: str | None = None


@dataclass(frozen=True)
class Conclusion:
    """The planner's answer: words, the numbers of the masks that it is about, and which words
    point to which masks.

    unable: the question could not be answered at all, which is not the same as "nothing matches".
    """

    text: str
    numbers: tuple[int, ...]
    mentions: tuple[Mention, ...] = ()
    unable: bool = False


MAX_SHOWN = 80
"""Characters of a wrong value in an error."""

ToolFunction: TypeAlias = Callable[..., Observation | Conclusion | str]


@dataclass(frozen=True)
class Tool:
    """A function that a planner may call by name.

    description: the function's docstring.
    arguments: the model of its arguments, made from the signature.
    prepare: does what several calls in one reply have in common, before they run one by one.
    needs: what a segmenter must take for it, "exemplars" or "clicks" (see `SegmenterDefaults`).
    """

    name: str
    description: str
    arguments: "type[BaseModel]"
    function: ToolFunction
    prepare: Callable[[Scene, Sequence[Mapping[str, Any]]], None] | None = None
    needs: str = ""

    @classmethod
    def from_function(
        cls,
        function: ToolFunction,
        prepare: Callable[[Scene, Sequence[Mapping[str, Any]]], None] | None = None,
        needs: str = "",
    ) -> "Tool":
        """The tool of `function(scene, ...)`; see `arguments_model` for what it may take."""
        from sam3_agent.tool_schema import arguments_model  # pydantic, of which the import is slow

        model = arguments_model(function)
        about = inspect.getdoc(function) or ""
        return cls(function.__name__, about, model, function, prepare, needs)

    @functools.cached_property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema of the arguments."""
        from sam3_agent.tool_schema import json_schema

        return json_schema(self.arguments)

    def run(self, scene: Scene, arguments: str) -> Observation | Conclusion:
        """Check the raw JSON `arguments` and run; text that a function returns is an Observation.

        Raises ToolError with what is accepted, and InputError for a function that returns something
        else.
        """
        result = self.function(scene, **self.checked(arguments))
        if isinstance(result, str):
            return Observation(result)
        if not isinstance(result, Observation | Conclusion):
            raise InputError(
                f"the tool {self.name} returned {type(result).__name__}, not text, an Observation "
                "or a Conclusion"
            )
        return result

    def checked(self, arguments: str) -> dict[str, Any]:
        """The values of raw JSON `arguments`; raises ToolError with what is accepted."""
        if len(arguments) > MAX_ARGUMENTS:
            raise ToolError(
                f"the arguments of {self.name} have more than {MAX_ARGUMENTS} characters; "
                f"{self._usage()}"
            )
        try:
            values = read_json(arguments or "{}")
            if isinstance(values, str):  # JSON as a string of JSON
                values = read_json(values)
        except (ValueError, RecursionError) as error:
            raise ToolError(
                f"the arguments of {self.name} are not valid JSON ({error}); {self._usage()}"
            ) from error
        if not isinstance(values, dict):
            raise ToolError(
                f"the arguments of {self.name} must be a JSON object, "
                f"not {_kind(values)}; {self._usage()}"
            )
        return self.fitting(values)

    def fitting(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments among `values`; raises ToolError with what is accepted."""
        required, known = self.parameters["required"], self.parameters["properties"]
        # null for an argument that may be left out means that it is left out
        given = {
            name: value for name, value in values.items() if value is not None or name in required
        }
        # not left to pydantic, which makes an error of each, however many there are
        unknown = next((name for name in values if name not in known), None)
        if unknown is not None:
            name = shorten(repr(unknown), MAX_SHOWN)
            raise ToolError(
                f"{self.name} has no argument {name}, only {', '.join(known)}; {self._usage()}"
            )
        from pydantic import ValidationError

        try:
            model = self.arguments.model_validate(given)
        except ValidationError as error:
            raise ToolError(f"{self._misfit(given, error)}; {self._usage()}") from error
        return {name: getattr(model, name) for name in given}

    def _misfit(self, given: Mapping[str, Any], error: "ValidationError") -> str:
        """What is wrong with the first argument that does not fit."""
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        if name not in given:
            return f"{self.name} needs the argument {name!r}"
        value, schema = given[name], self.parameters["properties"][name]
        what = f"argument {name!r} of {self.name} is {_shown(value)}, "
        what += f"{_ARTICLES.get(_kind(value), 'a ')}{_kind(value)}"
        if "enum" in schema:
            return f"{what}, not one of {', '.join(schema['enum'])}"
        # of what is of another type pydantic states no more
        if "anyOf" in schema or first["type"].endswith("_type"):
            return what
        return f"{what}: {first['msg'].removeprefix('Value error, ')}"

    def _usage(self) -> str:
        """One line that shows a right call."""
        return f"call it like {self.name}({json.dumps(self.example())})"

    def example(self) -> dict[str, Any]:
        """Arguments that would be accepted, for messages and prompts: the required ones, or one."""
        properties = self.parameters["properties"]
        shown = self.parameters["required"] or list(properties)[:1]
        return {name: _EXAMPLES.get(name, _example_of(properties[name])) for name in shown}


def tools_by_name(tools: Iterable[Tool | ToolFunction]) -> dict[str, Tool]:
    """Tools by their names, plain functions as tools; raises InputError for anything else."""
    if isinstance(tools, str) or not isinstance(tools, Iterable):
        raise InputError(f"the tools are {tools!r:.80}; give a list of tools and functions")
    named: dict[str, Tool] = {}
    for one in tools:
        tool = checked_tool(one)
        if tool.name in named:
            raise InputError(f"two tools have the name {tool.name!r}; give one of them another")
        named[tool.name] = tool
    return named


def checked_tool(value: Any) -> Tool:
    """A tool, or a plain function as one; raises InputError with what was expected."""
    if isinstance(value, Tool):
        return value
    if not inspect.isroutine(value):
        raise InputError(
            f"{value!r:.80} is no tool; give a function such as `def area(scene, number: int) -> "
            "Observation`, or Tool.from_function(function)"
        )
    if inspect.iscoroutinefunction(value):
        raise InputError(
            f"the function {value.__name__} cannot be a tool, it is async: give one that returns "
            "an Observation, and call asyncio.run in it"
        )
    try:
        return Tool.from_function(value)
    except Exception as error:  # whatever pydantic or a broken annotation raises
        raise InputError(
            f"the function {value.__name__} cannot be a tool ({error}); its first parameter is the "
            "scene, and every other one has a type, such as `number: int`"
        ) from error


def tool_named(name: str, known: Collection[str]) -> str | None:
    """The known tool that a planner means: "functions.segment" and " segment " are `segment`."""
    if name in known:
        return name
    # models write namespaces ("functions.") and their own special tokens around names
    last = re.split(r"[.:/]", name.split("<|")[0].strip())[-1]
    return last if last in known else None


def read_json(text: str) -> Any:
    """The value of a JSON text; ValueError also for a key that comes twice, whose meaning is open.

    RecursionError when it is nested too deeply.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
            raise ValueError(f"the key {shorten(repr(twice), MAX_SHOWN)} comes twice")
        return values

    return json.loads(text, object_pairs_hook=once)


_EXAMPLES: dict[str, Any] = {
    "image": "img_0123456789abcdef01234567",
    "query": "the leftmost red car",
    "phrases": ["red car", "dog"],
    "numbers": [1, 2],
    "text": "Two dogs.",
    "points": [[50, 40]],
}
_ARTICLES = {"object": "an ", "null": ""}


def _example_of(schema: Mapping[str, Any]) -> Any:
    if "anyOf" in schema:
        return _example_of(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "array":
        return [_example_of(schema["items"])]
    if schema["type"] == "object":
        return {name: _example_of(one) for name, one in schema["properties"].items()}
    return {"string": "text", "integer": 1, "number": 0.5, "boolean": True}[schema["type"]]


def _kind(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "whole number", float: "number", list: "list"}
    return names.get(type(value), "null" if value is None else "object")


def _shown(value: Any) -> str:
    try:
        return shorten(json.dumps(value), MAX_SHOWN)
    except RecursionError:
        return "[[…"
    except (TypeError, ValueError):  # no JSON: a caller in Python may give any value
        return shorten(" ".join(reprlib.repr(value).split()), MAX_SHOWN)
