"""The arguments of a tool: a pydantic model made from a signature, and its JSON schema.

Models send whole numbers as `"[1, 2]"`, `["1"]`, `[1.0]` or `1`. What can mean only one thing is
taken, on top of what pydantic's lax mode takes:

- a list as text: JSON, Python, lines, or numbers with commas between them ("1, 2"); text without
  a comma is a list of one, text with one is refused: "a large, red car" is one, "car, dog" two;
- one value for a list of such values, one point for a list of points;
- "", "null" and "none" for an argument that may be left out and is no text.

True is no number, 1.5 no whole number, and a number no text.
"""

import ast
import functools
import inspect
import io
import json
import re
import tokenize
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from sam3_agent.warning_filters import without_warnings

_CONFIG = ConfigDict(allow_inf_nan=False, protected_namespaces=())

_LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "pattern": "as in {}",
}
"""What OpenAI's strict mode or Gemini does not take in a schema, in words."""

M = TypeVar("M", bound=BaseModel)


class _Finite(BaseModel):
    model_config = _CONFIG


_NUMBER = r"[-+]?[\d.]+(?:[eE][-+]?\d+)?"
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and halves of surrogate pairs."""

_NUMBERS = re.compile(rf"{_NUMBER}(?:[\s,]+{_NUMBER})*")


def arguments_model(
    function: Callable[..., Any], descriptions: Mapping[str, str] | None = None
) -> type[BaseModel]:
    """The model of a function's parameters but the first, which is the scene.

    descriptions: of parameters, by name, besides what `Field` says.

    Parameters are str, int, float, bool, a Literal of strings, a BaseModel of those, lists, or one
    of several of these, each with `Annotated[..., Field(...)]` where more is to be said; "or None"
    needs a default of None.
    """
    hints, known = get_type_hints(function, include_extras=True), descriptions or {}
    fields: dict[str, Any] = {
        parameter.name: (
            Annotated[
                _lax(hints[parameter.name]),
                AfterValidator(_printable),
                *([Field(description=known[parameter.name])] if parameter.name in known else ()),
            ],
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in list(inspect.signature(function).parameters.values())[1:]
    }
    return create_model(function.__name__, __config__=_CONFIG | {"extra": "forbid"}, **fields)


@functools.cache
def lax_model(model: type[M], inner: bool = False) -> type[M]:
    """A subclass of the model that takes what can mean only one thing, as tools do.

    inner: it is the model of an item of a list.
    """
    hints = get_type_hints(model, include_extras=True)
    fields: dict[str, Any] = {
        name: (
            Annotated[_lax(hints[name], inner), AfterValidator(_printable)],
            ... if field.is_required() else field.default,
        )
        for name, field in model.model_fields.items()
    }
    return create_model(model.__name__, __base__=(model, _Finite), **fields)  # type: ignore[arg-type]


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, as short as providers take it.

    No titles, defaults or references; null is not offered for what may be left out.
    """
    return compact(model.model_json_schema())


def compact(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema of pydantic's without titles, defaults, references, and limits that not every
    provider takes: those are in the descriptions, and the check of arguments keeps them.
    """
    return _compact(schema, schema.get("$defs", {}))


_LEFT_OUT = ("$defs", "$ref", "title", "default", "additionalProperties", "type", "anyOf")
"""Keywords that are left out of a compact schema, or written anew."""


def _compact(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:  # the docstring of a class is no description of this argument
        referred = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**referred, "description": None, **schema}
    rest = {
        name: value for name, value in schema.items() if name not in _LEFT_OUT and value is not None
    }
    options = [_compact(one, definitions) for one in schema.get("anyOf", ())]
    options = [one for one in options if one != {"type": "null"}]
    if len(options) == 1:
        return _described({**options[0], **rest}, [options[0].get("description")])
    compact: dict[str, Any] = {"anyOf": options} if options else {"type": schema["type"]}
    limits = [words.format(rest.pop(name)) for name, words in _LIMITS.items() if name in rest]
    compact |= rest
    if "items" in rest:
        compact["items"] = _compact(rest["items"], definitions)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        compact |= {
            "properties": {name: _compact(one, definitions) for name, one in properties.items()},
            "required": list(schema.get("required", ())),
        }
    if "const" in compact:  # a Literal of one word, for providers that know only enum
        compact["enum"] = [compact.pop("const")]
    return _described(compact, limits)


def _described(schema: dict[str, Any], more: Sequence[str | None]) -> dict[str, Any]:
    """The schema with more in its description."""
    parts = [*dict.fromkeys(part for part in (schema.get("description"), *more) if part)]
    if len(parts) > 1:
        parts = [part.rstrip(".") for part in parts]
    return {**schema, "description": "; ".join(parts)} if parts else schema


def _lax(hint: Any, inner: bool = False) -> Any:
    """A type hint that takes more than pydantic's lax mode; inner: of an item of a list."""
    metadata: list[Any] = []
    if get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
    origin, args = get_origin(hint), get_args(hint)
    validators: list[Any] = []
    if origin in (Union, types.UnionType):
        if types.NoneType in args and str not in args:
            validators.append(BeforeValidator(_nothing))
        hint = Union[tuple(_lax(one, inner) for one in args)]  # noqa: UP007
    elif origin is list:
        validators.append(BeforeValidator(partial(_listed, item=args[0], inner=inner)))
        hint = types.GenericAlias(list, (_lax(args[0], inner=True),))
    elif hint in (int, float):
        validators.append(BeforeValidator(_no_truth))
        validators += [AfterValidator(_bounded)] if hint is float else []
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        validators.append(BeforeValidator(_from_json))
        hint = lax_model(hint, inner)
    # what a Field says comes first: pydantic writes limits behind a validator under other names
    return Annotated[(hint, *metadata, *validators)] if metadata or validators else hint


def _nothing(value: Any) -> Any:
    """None for words that say that nothing is given."""
    return (
        None if isinstance(value, str) and value.strip() in ("", "null", "none", "None") else value
    )


def _printable(value: Any) -> Any:
    """The value; ValueError for a control character in it, or in a list's item."""
    for one in value if isinstance(value, list) else ():
        _printable(one)
    found = _NO_TEXT.search(value) if isinstance(value, str) else None
    if found:
        raise ValueError(f"it has the character U+{ord(found[0]):04X}, which is no text")
    return value


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


def _bounded(value: float) -> float:
    if abs(value) >= 1e300:
        raise ValueError("it is too large")
    return value


def _from_json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _listed(value: Any, item: Any, inner: bool) -> Any:
    """What stands for a list, as a list.

    item: the hint of its items. inner: it is itself an item. One value is then no list: else a list
    of numbers would be a list of lists.
    """
    of_lists = get_origin(item) is list
    if isinstance(value, str):
        return _list_in(value.strip(), item, inner)
    if inner:
        return value
    if isinstance(value, (int, float, dict)) and not of_lists:
        return [value]
    if isinstance(value, list) and value:
        if of_lists and not any(isinstance(one, (list, str)) for one in value):
            return [value]  # one point
        first = value[0]
        # ["[\"a\", \"b\"]"]: the whole list as the text of its only item
        if item is str and len(value) == 1 and isinstance(first, str) and first.startswith("["):
            return _list_in(first, item, inner)
    return value


def _list_in(text: str, item: Any, inner: bool) -> Any:
    """The list that a text stands for; ValueError where that is open."""
    if text.startswith(("[", "(")):
        value = _literal(text)
        return _listed(list(value) if isinstance(value, tuple) else value, item, inner)
    # strings with commas between them, without the brackets
    if text.startswith(('"', "'")):
        return _literal(f"[{text}]")
    if text.startswith("{") and item is not str:
        return [_from_json(text)]
    if item is str:
        # a bulleted list: each line is an item, unless commas leave it open what one is
        lines = [re.sub(r"\A\s*[-*•]\s+", "", line).strip() for line in text.splitlines()]
        if len(lines) > 1 and not re.search(r"[,;{<>|]", text):
            return [line for line in lines if line]
        if re.search(r"[,;\n{<>|]", text):
            raise ValueError("it may be one or several: give a list")
        return [text]
    # what is left is a list of numbers: "1, 2", "1 2", or "" for none
    if not _NUMBERS.fullmatch(text or "0"):
        raise ValueError("it is no list")
    numbers = re.split(r"[\s,]+", text) if text else []
    return [numbers] if get_origin(item) is list and not inner else numbers


def _literal(text: str) -> Any:
    """The value of a text that begins like a list, in JSON or in Python."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        refuse_joined_strings(text)
        # 1if 1if 1if ...: a warning for each number
        with without_warnings():
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError("it begins like a list and cannot be read as one") from None


def refuse_joined_strings(source: str) -> None:
    """Raise ValueError for Python with a comma left out: 'red car' 'dog' would be one phrase."""
    try:
        # line breaks inside brackets (NL) do not keep two strings from being joined
        tokens = [
            token.type
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type != tokenize.NL
        ]
    except tokenize.TokenError as error:
        raise ValueError(str(error)) from None
    if (tokenize.STRING, tokenize.STRING) in pairwise(tokens):
        raise ValueError("two strings have no comma between them")
